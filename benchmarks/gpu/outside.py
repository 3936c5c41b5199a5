"""What happens outside the process that measures: tests, the checkpoint, parts of their own; and the result files."""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from benchmarks.gpu.context import Context, describe, without_paths

ROOT = Path(__file__).parents[2]
CHECK = ("-m", "benchmarks.gpu.check")
# The pictures that the synthetic checkpoint is calibrated on; other ones than those it is checked with.
CALIBRATION_PICTURES, CALIBRATION_SEED = 24, 20_000
# Packages that a machine for this check need not have: a test file that imports one is left out, and named.
_MISSING = re.compile(r"No module named '(hypothesis|PIL|skimage|pandas|openvino|onnx|pyarrow|click|tqdm|jinja2)")


def run_limited(command: list[str], log: Path, limit: float) -> int | None:
    """The exit status, None where it ran past `limit`; all that it started is ended then. Output goes to `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def tail(log: Path, lines: int = 25) -> list[str]:
    """The end of a log, without this machine's paths."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    return [without_paths(line)[:300] for line in text.splitlines()[-lines:]]


# -- tests -------------------------------------------------------------------------------------------------------


def pytest(tests: list[str], folder: Path, limit: float) -> tuple[dict[str, Any], float]:
    """(results, seconds). A file that cannot be collected (a package is missing) is named and loses only itself."""
    began = time.monotonic()
    log, xml = folder / "tests.log", folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    # The installed package is imported before pytest puts the checkout at the head of the path.
    command += ["-p", "emonet_fast", f"--junitxml={xml}", *tests]
    status = run_limited(command, log, limit)
    found: dict[str, Any] = {"status": "ok" if status == 0 else "failed", "selected": tests}
    if xml.exists():
        found |= counted(xml)
        if status in (1, 2) and not found["bad"]:
            found["status"] = "ok"  # nothing but files left out, which the summary names
    if status is None:
        found["error"] = f"stopped after {limit:.0f} s"
    if status != 0:
        found["tail"] = tail(log)
        print(log.read_text("utf-8", "replace")[-6000:], file=sys.stderr, flush=True)
    return found, time.monotonic() - began


def counted(xml: Path) -> dict[str, Any]:
    suite = next(ElementTree.parse(xml).getroot().iter("testsuite"))  # noqa: S314 - pytest's own file
    numbers = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    bad, left_out = [], []
    for test in suite.iter("testcase"):
        for kind in ("failure", "error"):
            for found in test.iter(kind):
                missing = _MISSING.search(found.text or "")
                if kind == "error" and missing:
                    left_out.append(f"{test.get('classname') or test.get('name')} (no {missing[1]})")
                    continue
                first = (found.get("message") or "").strip().splitlines()
                bad.append(f"{test.get('classname')}::{test.get('name')}: {first[0][:200] if first else kind}")
    numbers["errors"] -= len(left_out)
    numbers["tests"] -= len(left_out)
    passed = numbers["tests"] - numbers["failures"] - numbers["errors"] - numbers["skipped"]
    text = f"{passed} passed, {numbers['failures']} failed, {numbers['errors']} errors, {numbers['skipped']} skipped"
    if left_out:
        text += f"; left out: {', '.join(left_out)}"
    return {**numbers, "passed": passed, "bad": bad, "left_out": left_out, "summary": text}


# -- the checkpoint ----------------------------------------------------------------------------------------------


class Making:
    """A synthetic checkpoint of the full depth with Large heads, made beside the tests in a process of its own."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder, self.dry, self.began = folder, asked.dry, time.monotonic()
        self.log, self.process = folder / "checkpoint.log", None
        if not asked.dry:
            command = [sys.executable, *CHECK, "--part", "checkpoint", "--device", "cpu", "--out", str(folder)]
            with self.log.open("wb") as out:
                self.process = subprocess.Popen(
                    [*command, "--layers", str(asked.layers)], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
                )

    def result(self, limit: float) -> tuple[Any, dict[str, Any], float]:
        """(Checkpoint or None, results, seconds since it was begun)."""
        from emonet_fast.checkpoint import open_checkpoint

        try:
            if self.process is None:
                tiny(self.folder / "published")
            elif self.process.wait(limit):
                raise RuntimeError(" / ".join(tail(self.log, 3)))
            checkpoint = open_checkpoint(self.folder / "published", self.folder / "cache")
        except Exception as error:
            if self.process is not None:
                self.process.kill()
            return None, {"status": "failed", "error": describe(error)}, time.monotonic() - self.began
        found = {"status": "ok", "layers": checkpoint.vision.num_hidden_layers, "heads": len(checkpoint.names)}
        return checkpoint, found | {"weights_hash": checkpoint.weights_hash}, time.monotonic() - self.began


def tiny(folder: Path) -> None:
    """2 layers, hidden 144 (2 heads of 72), 16 tokens, 44 heads: what the tests use too."""
    from tests.tiny import write_tiny

    write_tiny(folder, widths=(144, 32, 16, 1), attention_heads=2, intermediate=304, image=64)


def make_checkpoint(folder: Path, layers: int) -> None:
    """Write and pack it."""
    from benchmarks.gpu.pictures import pictures
    from emonet_fast.checkpoint import open_checkpoint
    from emonet_fast.testing.synthetic import write_synthetic

    drawn = pictures(CALIBRATION_PICTURES, CALIBRATION_SEED)
    write_synthetic(folder / "published", heads="large", layers=layers, pictures=drawn)
    open_checkpoint(folder / "published", folder / "cache")


# -- parts in processes of their own -----------------------------------------------------------------------------


def part_alone(options: list[str], context: Context, parts: dict[str, Any], limit: float) -> dict[str, Any]:
    """Run a part in a fresh process. What it had when its time was up is kept, with a note."""
    folder = context.cache.parent
    found, out, log = folder / "found.json", folder / "part.json", folder / "part.log"
    out.unlink(missing_ok=True)
    found.write_text(json.dumps(parts), "utf-8")
    command = [sys.executable, *CHECK, *options]
    if context.checkpoint is not None:
        command += ["--packed", str(context.checkpoint.path)]
    status = run_limited([*command, "--found", str(found), "--out", str(out)], log, limit)
    body: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.exists() else {}
    if status is None:
        return {**body, "note": f"stopped after {limit:.0f} s", **({} if body else {"status": "skipped"})}
    if status:
        print(log.read_text("utf-8", "replace")[-4000:], file=sys.stderr, flush=True)
        return {**body, "status": "failed", "error": f"exit status {status}", "tail": tail(log)}
    return body


def child(asked: argparse.Namespace, device: torch.device, parts: dict[str, Callable[[Context], Any]]) -> int:
    """The other end of part_alone and of Making."""
    if asked.part == "checkpoint":
        make_checkpoint(Path(asked.out), asked.layers)
        return 0
    from emonet_fast.checkpoint.pack import open_packed

    out = Path(asked.out)
    context = Context(
        device, asked.dry, out.parent / "cache", open_packed(Path(asked.packed)) if asked.packed else None
    )
    if context.cuda and asked.part != "memory":  # which reads the driver's figure before there is a context
        torch.cuda.set_device(device)
    context.found = json.loads(Path(asked.found).read_text("utf-8"))
    context.partial = lambda found: replace(out, json.dumps(clean(found)))
    context.partial(parts[asked.part](context))
    return 0


# -- files -------------------------------------------------------------------------------------------------------


def new_file(folder: Path, card: str, date: str) -> Path:
    """gpu-<card>-<date>.json; a second run of the day gets a number, for no run overwrites another."""
    folder.mkdir(parents=True, exist_ok=True)
    card = re.sub(r"[^a-z0-9]+", "-", card.lower().replace("nvidia", "").partition("(")[0]).strip("-")
    for number in range(1, 1000):
        path = folder / f"gpu-{card}-{date}{f'-{number}' if number > 1 else ''}.json"
        if not path.exists():
            return path
    raise FileExistsError(folder)


def replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def clean(value: Any) -> Any:
    """What JSON can hold: a number that is none becomes a text."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def where(error: BaseException) -> list[str]:
    """file:line of the frames, file names alone."""
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
