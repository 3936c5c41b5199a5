"""DALI beside Pillow on the CPU: pixels, scores, speed, damaged files, memory.

    python -m benchmarks.decoding --checkpoint models/synthetic-27

Contestants take turns in rounds of one run; figures are medians of the rounds and ratios of those. Needs the extras
dali and demo. `python -m benchmarks.pages` puts the figures into docs/decoding.md.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from benchmarks import measurements
from benchmarks.pictures import encoded, photograph
from benchmarks.timer import CPU, compare
from emonet_fast import Scorer
from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.decoders.base import Decoder
from emonet_fast.decoders.dali.decoder import DaliDecoder
from emonet_fast.decoders.dali.pipeline import Definition
from emonet_fast.decoders.dali.runner import Runner
from emonet_fast.decoders.dali.triage import triage
from emonet_fast.decoders.flow import by_pillow, resized
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.doctor import report
from emonet_fast.options import Options
from emonet_fast.process import memory_mb
from emonet_fast.records import Box, Picture

SPEC = Preprocess(384, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OPTIONS = Options()
WORKERS, RUN, ROUNDS, REPEATS = 2, 16, 9, 8


def untimed(stage: str) -> nullcontext[None]:
    return nullcontext()


def dali() -> DaliDecoder:
    return DaliDecoder(SPEC, OPTIONS, untimed, WORKERS)


# -- pictures ----------------------------------------------------------------------------------------------------


def portrait(seed: int, size: int = 200_000) -> bytes:
    """A 1024 x 1024 JPEG of at most `size` bytes."""
    image = photograph(1024, 1024, seed)
    return next(data for q in range(95, 10, -3) if len(data := encoded(image, quality=q)) <= size)


def pixels_of(decoder: Decoder, pictures: Iterable[Picture], batch: int = RUN) -> Iterator[tuple[Any, Any]]:
    for prepared in decoder.batches(pictures, batch, keep_rgb=False):
        by_place = {p: row for part in prepared.parts for p, row in zip(part.places, part.pixels, strict=True)}
        yield from ((row, by_place.get(i)) for i, row in enumerate(prepared.rows))


# -- speed -------------------------------------------------------------------------------------------------------


def turns(contestants: dict[str, Callable[[], Any]], images: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Images a second of each: median over rounds in which they take turns. images: of one call."""
    times = compare({name: [call] for name, call in contestants.items()}, CPU, rounds=rounds, warmup=1)
    return {name: images / taken.median for name, taken in times.items()}


def throughput() -> dict[str, Any]:
    """1024 x 1024 portraits to the network's input: the decoders, their parts, and ways not taken."""
    import torch

    torch.set_num_threads(1)
    datas = [portrait(i) for i in range(6)]
    pictures = [Picture(f"{i}", datas[i % 6]) for i in range(6 * RUN)]
    pool = ThreadPoolExecutor(WORKERS)

    def mapped(work: Callable[[Picture], Any]) -> Callable[[], Any]:
        return lambda: list(pool.map(work, pictures))

    def load(picture: Picture) -> None:
        Image.open(io.BytesIO(picture.data)).load()

    known = {picture.key: triage(picture, OPTIONS) for picture in pictures}

    def unexamined() -> None:
        with mock.patch("emonet_fast.decoders.dali.decoder.triage", lambda picture, options: known[picture.key]):
            decoded()

    def decoded() -> None:
        deque(pixels_of(dali(), pictures), maxlen=0)

    def decode_and_torch() -> None:
        def shrink(image: Any) -> Any:
            planes = torch.from_numpy(image).permute(2, 0, 1)[None]
            size = (SPEC.size, SPEC.size)
            return torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)[0].numpy()

        for images in plain("decode", datas, len(pictures)):
            deque(pool.map(shrink, images), maxlen=0)

    def drained(kind: str) -> Callable[[], Any]:
        return lambda: deque(plain(kind, datas, len(pictures)), maxlen=0)

    rates = turns(
        {
            "pillow": mapped(lambda picture: resized(by_pillow(picture, OPTIONS), SPEC, OPTIONS, False)),
            "dali": decoded,
            "dali, files not examined": unexamined,
            "pillow, decode only": mapped(load),
            "dali, decode only": drained("decode"),
            "dali, border not corrected": drained("both"),
            "dali, x then y": drained("xy"),
            "dali decode, torch resize": decode_and_torch,
        },
        len(pictures),
    )
    examined = [partial(triage, picture, OPTIONS) for picture in pictures]
    each = compare({"triage": examined}, CPU, rounds=ROUNDS)["triage"].median
    return {
        "bytes": [len(data) for data in datas],
        "workers": WORKERS,
        "rates": rates,
        "ratio": rates["dali"] / rates["pillow"],
        "triage_us": each * 1e6,
        # Of the time of all workers that a picture takes.
        "isolation_cost": each * rates["dali"] / WORKERS,
    }


def plain(kind: str, datas: Sequence[bytes], count: int) -> Iterator[list[Any]]:
    """Bare DALI pipelines: decode alone, or with one resize of both axes or one of each. [h, w, 3] arrays."""
    from nvidia.dali import fn, pipeline_def, types

    shrink = {"interp_type": types.INTERP_LINEAR, "antialias": True}

    @pipeline_def(batch_size=RUN, num_threads=WORKERS, device_id=None, prefetch_queue_depth=1)
    def made() -> Any:
        image = fn.decoders.image(fn.external_source(name="encoded", dtype=types.UINT8, ndim=1, no_copy=True))
        if kind == "decode":
            return image
        if kind == "both":
            image = fn.resize(image, size=[SPEC.size, SPEC.size], **shrink)
        else:
            image = fn.resize(image, resize_x=SPEC.size, mode="stretch", **shrink)
            image = fn.resize(image, resize_y=SPEC.size, mode="stretch", **shrink)
        return fn.transpose(image, perm=[2, 0, 1])

    key = (kind, RUN)
    if key not in _BUILT:
        _BUILT[key] = made()
        _BUILT[key].build()
    pipe = _BUILT[key]
    arrays = [np.frombuffer(datas[i % len(datas)], np.uint8) for i in range(RUN)]
    runs = count // RUN
    for i in range(runs + 2):
        if i < runs:
            pipe.feed_input("encoded", arrays)
            pipe.schedule_run()
        if i >= 2:
            out = pipe.outputs()[0]
            yield [out.at(j) for j in range(len(out))]


_BUILT: dict[Any, Any] = {}


def regions() -> dict[str, Any]:
    """A 400 x 400 box of a 1920 x 1080 JPEG beside all of it, by our DALI pipeline: one picture after another."""
    rows = []
    for quality, noise in ((75, 0.0), (75, 3.0), (75, 6.0), (85, 6.0), (92, 6.0)):
        data = encoded(photograph(1920, 1080, 1, noise), quality=quality)
        contestants = {"all": alone_decoded(data, None)}
        for name, (top, left) in PLACES.items():
            contestants[name] = alone_decoded(data, Box(left, top, left + 400, top + 400))
        rates = turns(contestants, REPEATS, rounds=15)
        factors = {name: rate / rates["all"] for name, rate in rates.items() if name != "all"}
        rows.append({"quality": quality, "bytes": len(data), "all_ms": 1e3 / rates["all"], "factors": factors})
    return {"rows": rows}


PLACES = {"top left": (0, 0), "upper third, middle": (160, 760), "centre": (340, 760), "bottom right": (680, 1520)}


def alone_decoded(data: bytes, box: Box | None) -> Callable[[], Any]:
    """Decodes it REPEATS times on one thread of DALI's."""
    picture = Picture("0", data, boxes=() if box is None else (box,))
    samples = [triage(picture, OPTIONS)] * REPEATS
    runner = Runner(Definition(None, len(samples), 1, regions=box is not None))

    def call() -> Any:
        runner.start(samples)
        return runner.finish().outputs[0].on_host()

    return call


# -- fidelity ----------------------------------------------------------------------------------------------------


def fidelity() -> dict[str, Any]:
    """Levels between DALI and Pillow: JPEGs of many sizes and subsamplings, with boxes and without; equal pixels."""
    rng = np.random.default_rng(0)
    sizes = [(1024, 1024), (1920, 1080), (640, 480), (333, 501), (384, 384), (97, 61), (2000, 1300)]
    sizes += [tuple(int(v) for v in rng.integers(8, 1600, 2)) for _ in range(13)]
    groups: dict[str, list[Picture]] = {"whole": [], "boxes": [], "equal pixels": []}
    for i, (width, height) in enumerate(sizes):
        image = photograph(width, height, i)
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
            data = encoded(image, quality=int(rng.integers(50, 96)), subsampling=subsampling, progressive=bool(i % 2))
            groups["whole"].append(Picture(f"{i} {subsampling}", data))
            groups["boxes"].append(Picture(f"{i} {subsampling}", data, boxes=boxes_of(rng, width, height)))
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        groups["equal pixels"].append(Picture(f"{i}", encoded(pixels, "BMP")))
    return {name: levels(pictures) for name, pictures in groups.items()}


def boxes_of(rng: np.random.Generator, width: int, height: int) -> tuple[Box, ...]:
    """Three boxes around points of the picture, many of them over its edge."""
    boxes = []
    for _ in range(3):
        x, y = (int(rng.integers(0, side)) for side in (width, height))
        w, h = (int(rng.integers(4, max(5, side // 2 + 4))) for side in (width, height))
        boxes.append(Box(x - w // 2, y - h // 2, x - w // 2 + w, y - h // 2 + h))
    return tuple(boxes)


def levels(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Differences of the decoder on the CPU from Pillow."""
    want = list(pixels_of(PillowDecoder(SPEC, OPTIONS, untimed), pictures))
    got = list(pixels_of(dali(), pictures))
    if [(row.key, row.status) for row, _ in got] != [(row.key, row.status) for row, _ in want]:
        raise RuntimeError("the decoders give different rows")
    if any(triage(picture, OPTIONS) is None for picture in pictures):
        raise RuntimeError("some of the pictures are not DALI's")
    differences = [np.abs(a.astype(np.int16) - b) for (_, a), (_, b) in zip(got, want, strict=True)]
    decoder = {
        "max": max(int(one.max()) for one in differences),
        "mean_max": max(float(one.mean()) for one in differences),
        "beyond_1": sum(int((one > 1).sum()) for one in differences),
    }
    return {"rows": len(want), "values": len(want) * 3 * SPEC.size**2, "decoder": decoder}


def scores(checkpoint: str, count: int) -> dict[str, Any]:
    """fp32 scores through DALI on the CPU beside those through Pillow."""
    datas = [encoded(photograph(400 + 37 * i, 380 + 29 * i, i), quality=80) for i in range(count)]
    pictures = [Picture(f"{i}", data) for i, data in enumerate(datas)]
    pixels = {
        "pillow": np.stack([row for _, row in pixels_of(PillowDecoder(SPEC, OPTIONS, untimed), pictures)]),
        "decoder": np.stack([row for _, row in pixels_of(dali(), pictures)]),
    }
    with Scorer(checkpoint, device="cpu", precision="fp32") as scorer:
        raw = {name: scorer.score_pixels(one).raw for name, one in pixels.items()}
        notes = list(scorer.score_pixels(pixels["pillow"][:1]).notes)
    return {
        "pictures": count,
        "heads": raw["pillow"].shape[1],
        "notes": notes,
        "same_pixels": np.array_equal(pixels["pillow"], pixels["decoder"]),
        "decoder": compared(raw["pillow"], raw["decoder"]),
    }


def compared(a: Any, b: Any) -> dict[str, float]:
    from scipy.stats import spearmanr

    a, b = a.astype(np.float64), b.astype(np.float64)
    return {
        "spearman_min": float(min(spearmanr(x, y).statistic for x, y in zip(a.T, b.T, strict=True))),
        "difference_over_spread_max": float((np.abs(a - b).max(axis=0) / a.std(axis=0)).max()),
    }


# -- damaged files and memory ------------------------------------------------------------------------------------


def damaged(rng: np.random.Generator, kind: int) -> bytes:
    """A file of one of the kinds that folders hold; by far not all are unreadable."""
    image = photograph(int(rng.integers(200, 900)), int(rng.integers(200, 900)), int(rng.integers(0, 99)))
    data = encoded(image, quality=80)
    if kind == 0:
        return data[: int(rng.integers(1, len(data)))]
    if kind == 1:
        return b""
    if kind == 2:
        return b"this is a text, renamed"
    if kind in (3, 4):
        flipped = bytearray(encoded(image, quality=80, progressive=kind == 4))
        for _ in range(int(rng.integers(1, 6))):
            flipped[int(rng.integers(0, len(flipped)))] ^= 1 << int(rng.integers(0, 8))
        return bytes(flipped)
    if kind == 5:
        return encoded(image.convert("CMYK"))
    if kind == 6:
        return encoded(np.asarray(image.convert("L")).astype(np.uint16) * 257, "PNG")
    if kind == 7:
        return encoded(image, progressive=True)
    if kind == 8:
        return encoded(image.resize((1, 1)))
    return encoded(image.resize((12_000, 900)))


def corrupt(count: int = 2000) -> dict[str, Any]:
    """A run with 5% strange files beside one without: the same statuses by both decoders, and what it costs."""
    rng = np.random.default_rng(5)
    good = [encoded(photograph(700 + 9 * i, 600 + 7 * i, i), quality=80) for i in range(20)]
    bad = [damaged(rng, i % 10) for i in range(count // 20)]
    clean = [Picture(f"{i}", good[i % 20]) for i in range(count)]
    mixed = [Picture(f"{i}", bad[i // 20] if i % 20 == 7 else p.data) for i, p in enumerate(clean)]
    status: dict[str, list[tuple[str, str, str]]] = {}
    seconds: dict[str, float] = {}
    runs = {"pillow": (PillowDecoder(SPEC, OPTIONS, untimed), mixed), "dali": (dali(), mixed), "clean": (dali(), clean)}
    for name, (decoder, pictures) in runs.items():
        began = time.perf_counter()
        status[name] = [(row.key, row.status, row.reason) for row, _ in pixels_of(decoder, pictures)]
        seconds[name] = time.perf_counter() - began
    return {
        "pictures": count,
        "strange": len(bad),
        "statuses": dict(Counter(str(s) for _, s, _ in status["dali"])),
        "statuses_agree": status["dali"] == status["pillow"],
        "seconds_over_clean": seconds["dali"] / seconds["clean"],
    }


def flat(count: int) -> dict[str, Any]:
    """Resident memory over a run of `count` pictures of 40 sizes, one in 500 damaged in a way that fails a DALI run."""
    rng = np.random.default_rng(2)
    sizes = [tuple(int(v) for v in rng.integers(150, 1100, 2)) for _ in range(40)]
    datas = [encoded(photograph(w, h, i), quality=80) for i, (w, h) in enumerate(sizes)]
    broken = bytearray(encoded(photograph(300, 300, 0), "PNG"))
    broken[len(broken) // 2] ^= 255  # its structure is whole: DALI meets it
    pictures = (Picture(f"{i}", bytes(broken) if i % 500 == 499 else datas[i % 40]) for i in range(count))
    curve, began = [], time.perf_counter()
    for i, _ in enumerate(pixels_of(dali(), pictures)):
        if i % 250 == 0:
            curve.append((i, round(memory_mb()["now"], 1)))
    settled = [mb for i, mb in curve if i >= count // 4]
    return {
        "pictures": count,
        "seconds": time.perf_counter() - began,
        "curve_mb": curve,
        "after_quarter_mb": settled[0],
        "end_mb": settled[-1],
        "max_mb": max(mb for _, mb in curve),
    }


def alone(part: str, count: int) -> dict[str, Any]:
    """A part in a process of its own, whose memory nothing else has touched."""
    command = [sys.executable, "-m", "benchmarks.decoding", "--only", part, "--count", str(count), "--print"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])[part]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="for the scores; without it they are left as they were")
    parser.add_argument("--pictures", type=int, default=32, help="for the scores")
    parser.add_argument("--count", type=int, default=20_000, help="pictures of the memory run")
    names = ("throughput", "regions", "fidelity", "corrupt", "memory", "scores")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--print", action="store_true", help="print the results, write nothing")
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "fidelity": fidelity,
        "throughput": throughput,
        "regions": regions,
        "corrupt": corrupt,
        "memory": (lambda: flat(options.count)) if options.print else (lambda: alone("memory", options.count)),
    }
    if options.checkpoint:
        parts["scores"] = lambda: scores(options.checkpoint, options.pictures)
    figures = {}
    for name, measure in parts.items():
        if name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures[name] = measure()
            if not options.print:
                measurements.keep("decoding", {name: figures[name], "decoders": report()["decoders"]})
    if options.print:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
