"""What the server costs beside the scorer in it, and what it bears: `make bench-serving`, some minutes.

    python -m benchmarks.serving [--locust PROGRAM] [--only rate latency soak crowd stop] [--requests 10000]

rate     rows a second through HTTP with 32 clients, and of Scorer on the same pictures, in turns
latency  one picture over loopback, beside Scorer's own time for it, in turns
soak     10,000 requests, 5% damaged, 2% cut off, 1% too large; memory and what is left afterwards
crowd    the same load with and without 200 idle and 50 slow connections beside it
stop     SIGTERM in the middle of the load, five times: what became of the requests that the server had taken

The load comes from locust, in an environment of its own (.venv-others/locust), to this machine alone: it is well kept,
and its clients are Python, so that one can leave in the middle of a request. oha sends one request again and again.
`rate` uses two layers of full width; the others use a tiny network in float32, so that the server has most to do. Every
answer is held to what Scorer says.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import measurements
from benchmarks.others import HOME
from benchmarks.pictures import encoded, face
from emonet_fast import Scorer
from emonet_fast.testing.synthetic import write_synthetic
from tests.tiny import write_tiny

LOAD = Path(__file__).with_name("serving_load.py")
CLIENTS, ROUNDS, PAIRS, SECONDS, STOPS = 32, 3, 150, 120, 5
LIMIT = 300_000  # bytes of a request
IDLE, SLOW = 200, 50
FP32 = ("--precision", "fp32")


def locust() -> str:
    """The program, installed where it is not yet."""
    program = HOME / "locust" / "bin" / "locust"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME / "locust")], check=True)
        subprocess.run(
            [str(program.with_name("python")), "-m", "pip", "install", "--quiet", "locust>=2.40"], check=True
        )
    return str(program)


@contextmanager
def server(checkpoint: Path, cache: Path, *more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own: its URL once it takes pictures, and the process."""
    command = [sys.executable, "-m", "emonet_fast", "serve", "-c", str(checkpoint), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--cache-dir", str(cache), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        while httpx.get(f"{url}/readyz").status_code != 200:
            time.sleep(0.1)
        yield url, process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()


def load(program: str, url: str, pictures: Path, requests: int, **shares: float) -> dict[str, Any]:
    """What locust counted and measured: at most so many requests, and SECONDS a thousand of them."""
    output = pictures / "counts.json"
    facts = {"REQUESTS": requests, "PICTURES": pictures, "KNOWN": pictures / "known.json", "OUTPUT": output}
    facts |= {"LIMIT": LIMIT, **shares}
    limit = SECONDS * max(1, requests // 1000)
    command = [program, "-f", str(LOAD), "--headless", "--only-summary", "--host", url, "-u", str(CLIENTS)]
    done = subprocess.run(
        [*command, "-r", str(CLIENTS), "--run-time", f"{limit}s", "--json", "--stop-timeout", "60"],
        capture_output=True, text=True, timeout=limit + 120, check=False,
        env={**os.environ, **{f"LOAD_{name}": str(value) for name, value in facts.items()}},
    )  # fmt: skip
    if not output.exists():
        raise RuntimeError(done.stderr[-2000:])
    counted: dict[str, Any] = json.loads(output.read_text())
    good = next((one for one in json.loads(done.stdout) if one["name"] == "good"), None)
    if good is None:
        return counted
    times = sorted(float(ms) for ms, number in good["response_times"].items() for _ in range(number))
    seconds = good["last_request_timestamp"] - good["start_time"]
    return counted | {"rate": good["num_requests"] / seconds, "p50_ms": statistics.median(times)}


def known(checkpoint: Path, folder: Path, precision: str = "fp32") -> None:
    """What Scorer says of the pictures, for the load to compare with."""
    with Scorer(checkpoint, precision=precision, cache_dir=folder) as scorer:
        scores = scorer([path.read_bytes() for path in sorted(folder.glob("*.jpg"))], progress=False)
    rows = [dict(zip(scores.names, row.tolist(), strict=True)) for row in scores.raw]
    (folder / "known.json").write_text(json.dumps(rows))


def scorer_rate(scorer: Scorer, pictures: list[bytes], rows: int) -> float:
    """Rows a second of a call."""
    began = time.perf_counter()
    assert scorer([pictures[i % len(pictures)] for i in range(rows)], progress=False).ok.all()
    return rows / (time.perf_counter() - began)


def milliseconds(call: Any) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def rate(program: str, checkpoint: Path, folder: Path, rows: int) -> dict[str, Any]:
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    http, own = [], []
    known(checkpoint, folder, "auto")
    with server(checkpoint, folder) as (url, _), Scorer(checkpoint, cache_dir=folder) as scorer:
        scorer.open(pictures=None)
        scorer_rate(scorer, pictures, 20)
        for _ in range(ROUNDS):
            own.append(scorer_rate(scorer, pictures, rows))
            http.append(load(program, url, folder, rows)["rate"])
    return {"scorer": own, "http": http, "ratio": statistics.median(http) / statistics.median(own), "clients": CLIENTS}


def latency(checkpoint: Path, folder: Path) -> dict[str, Any]:
    picture = next(iter(sorted(folder.glob("*.jpg")))).read_bytes()
    with (
        server(checkpoint, folder, *FP32) as (url, _),
        Scorer(checkpoint, precision="fp32", cache_dir=folder) as scorer,
        httpx.Client() as client,
    ):
        scorer([picture], progress=False)
        jpeg = {"Content-Type": "image/jpeg"}
        own, http = [], []
        for _ in range(PAIRS):  # in turns, so that what else the machine does meets both
            own.append(milliseconds(lambda: scorer([picture], progress=False)))
            http.append(milliseconds(lambda: client.post(f"{url}/v1/score", content=picture, headers=jpeg)))
    middle = [statistics.median(side[5:]) for side in (own, http)]
    return {"scorer_ms": [middle[0]], "http_ms": [middle[1]], "overhead_ms": middle[1] - middle[0], "pairs": PAIRS}


def soak(program: str, checkpoint: Path, folder: Path, requests: int) -> dict[str, Any]:
    known(checkpoint, folder)
    with server(checkpoint, folder, *FP32, "--max-body", str(LIMIT)) as (url, process):
        load(program, url, folder, requests // 20, BAD=5, CUT=2, LARGE=1)  # what is opened once is not growth
        before = held(process.pid)
        done = load(program, url, folder, requests, BAD=5, CUT=2, LARGE=1)
        text = httpx.get(f"{url}/metrics").text
        left = float(re.findall(r"^emonet_fast_queue ([\d.]+)", text, re.M)[0])
        return done | {"before": before, "after": held(process.pid), "left": left}


@contextmanager
def standing_about(url: str) -> Iterator[None]:
    """IDLE connections that send nothing, SLOW ones that send a byte a second; what the server ends comes again."""
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"
    where = url.removeprefix("http://").split(":")
    over, there = threading.Event(), threading.Event()

    def opened(i: int) -> socket.socket:
        one = socket.create_connection((where[0], int(where[1])))
        one.sendall(b"" if i < IDLE else head)
        one.setblocking(False)
        return one

    def stand() -> None:
        every = [opened(i) for i in range(IDLE + SLOW)]
        there.set()
        while not over.wait(1):
            for i, one in enumerate(every):
                try:
                    if i >= IDLE:
                        one.send(b"x")
                    if one.recv(1000):
                        continue
                except BlockingIOError:
                    continue
                except ConnectionError:
                    pass
                one.close()
                every[i] = opened(i)
        for one in every:
            one.close()

    thread = threading.Thread(target=stand)
    thread.start()
    try:
        assert there.wait(60)
        yield
    finally:
        over.set()
        thread.join()


def crowd(program: str, checkpoint: Path, folder: Path, requests: int) -> dict[str, Any]:
    known(checkpoint, folder)
    alone, beside = [], []
    with server(checkpoint, folder, *FP32, "--patience", "5") as (url, _):
        load(program, url, folder, requests // 4)
        for _ in range(ROUNDS):  # in turns
            alone.append(load(program, url, folder, requests))
            with standing_about(url):
                beside.append(load(program, url, folder, requests))
    return {name: middle(parts) for name, parts in (("alone", alone), ("beside", beside))}


def middle(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of several loads, and the sums of what they counted."""
    counts: Counter[str] = Counter()
    for one in parts:
        counts.update(one["counts"])
    return {"counts": dict(counts)} | {name: statistics.median(p[name] for p in parts) for name in ("rate", "p50_ms")}


def stop(program: str, checkpoint: Path, folder: Path, requests: int) -> dict[str, Any]:
    known(checkpoint, folder)
    counts: Counter[str] = Counter()
    for _ in range(STOPS):
        with server(checkpoint, folder, *FP32) as (url, process):
            counts.update(load(program, url, folder, requests, STOP=process.pid)["counts"])
    return {"counts": dict(counts), "times": STOPS}


def held(process: int) -> dict[str, float]:
    """What a process holds a second later: resident MB, threads, sockets."""
    time.sleep(1)
    proc = Path(f"/proc/{process}")
    found = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    assert found is not None
    sockets = sum(str(one.readlink()).startswith("socket") for one in (proc / "fd").iterdir())
    return {"MB": int(found[1]) / 1000, "threads": len(list((proc / "task").iterdir())), "sockets": sockets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locust", help="this program instead of one of its own environment")
    parser.add_argument("--only", nargs="+", choices=("rate", "latency", "soak", "crowd", "stop"))
    parser.add_argument("--shallow", type=Path, help="a checkpoint of two layers, as this script makes one")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=300)
    options = parser.parse_args()
    program = options.locust or locust()
    with tempfile.TemporaryDirectory(prefix="emonet-fast-serving-") as name:
        folder = Path(name)
        for i in range(16):
            (folder / f"{i:02}.jpg").write_bytes(encoded(face().resize((256 + 8 * i, 256)), quality=90))
        shallow = options.shallow or folder / "shallow"
        if options.shallow is None:
            write_synthetic(shallow, heads="small", layers=2, seed=0)
        tiny = write_tiny(folder / "tiny")
        work = {
            "rate": lambda: rate(program, shallow, folder, options.rows),
            "latency": lambda: latency(tiny, folder),
            "soak": lambda: soak(program, tiny, folder, options.requests),
            "crowd": lambda: crowd(program, tiny, folder, options.requests // 10),
            "stop": lambda: stop(program, tiny, folder, options.requests // 10),
        }
        for part in options.only or work:
            figures = work[part]()
            print(part, json.dumps(figures), flush=True)
            measurements.keep("serving", {part: figures})


if __name__ == "__main__":
    main()
