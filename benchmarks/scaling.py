"""How cost grows: with batch size, heads, image size, images and faces a picture.

    python -m benchmarks.scaling [--checkpoint C] [--images 100000] [--only PART ...]

Each curve is measured up to what the machine takes, and fitted by a + b x. `python -m benchmarks.pages` puts the fits,
and the prediction that follows from them, into docs/scaling.md. Parts whose cost is not the network's run on a tiny
network, so that it shows. Ten minutes on two cores.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measurements
from benchmarks.gpu.checkpoints import tiny
from benchmarks.head_graph import compiled_heads
from benchmarks.pictures import encoded, photograph
from benchmarks.run import SHALLOW
from benchmarks.run import checkpoint as shallow
from benchmarks.timer import CPU, compare
from benchmarks.workshop import Workshop, network
from emonet_fast import Scorer
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint, Preprocess
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.decoders.flow import by_pillow, resized
from emonet_fast.options import Options
from emonet_fast.process import memory_mb
from emonet_fast.records import Box, Picture

BATCHES = (1, 2, 4, 8)
HEADS = {"small": (1, 4, 16, 44, 100, 200, 400), "large": (1, 4, 16, 40, 100)}
WIDTHS = {"small": (1152, 128, 32, 1), "large": (1152, 1024, 512, 256, 1)}
SIDES = (128, 256, 512, 1024, 2048, 4096)
FACES = (1, 2, 4, 8, 16, 32, 64)
SPEC = Preprocess(384, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def prepared(picture: Picture) -> object:
    """The network's input of one picture, by Pillow."""
    return resized(by_pillow(picture, Options()), SPEC, Options(), False)


def fit(xs: Sequence[float], ys: Sequence[float]) -> dict[str, float]:
    """a + b x, both at least 0, with the least squares of the relative errors; `worst` is the largest of these."""
    x, y = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    columns = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    a, b = np.linalg.lstsq(columns, np.ones_like(x), rcond=None)[0]
    if a < 0:  # through the origin
        a, b = 0.0, float((x / y).sum() / ((x / y) ** 2).sum())
    elif b < 0:  # it does not grow
        a, b = float((1 / y).sum() / ((1 / y) ** 2).sum()), 0.0
    worst = float(np.abs((a + b * x) / y - 1).max())
    return {"a": float(a), "b": float(b), "worst": worst}


def curve(what: str, unit: str, points: Sequence[tuple[float, float]], **facts: Any) -> dict[str, Any]:
    """points: (x, seconds). unit: of x."""
    return {"what": what, "unit": unit, "points": points, "fit": fit(*zip(*points, strict=True)), **facts}


def timed(calls: dict[float, Callable[[], Any]], rounds: int = 5) -> list[tuple[float, float]]:
    """(x, median seconds), the sizes in turns."""
    times = compare({str(x): [call] for x, call in calls.items()}, CPU, rounds=rounds, warmup=1, shortest=0.02)
    return [(x, times[str(x)].median) for x in calls]


# -- the curves --------------------------------------------------------------------------------------------------


def batches(checkpoint: str) -> Iterator[dict[str, Any]]:
    """Seconds of an engine call over the images in it."""
    shop = Workshop(CPU, {"large": checkpoint}, quick=True)
    depth = shop.depth("large")
    for backend, precision in shop.engines():
        calls = {}
        for n in BATCHES:
            (pixels,) = shop.pixels("large", 1, n)
            calls[float(n)] = partial(network(shop.scorer("large", backend, precision, n)), pixels)
        yield curve(f"engine call, {backend} {precision}, {depth} layers", "images a batch", timed(calls))
        shop.release()


def heads(base: Checkpoint, folder: Path) -> Iterator[dict[str, Any]]:
    """Seconds for one embedding's scores over the number of heads: our graph, and one call a head as published."""
    from benchmarks.gpu.published import mlp

    embedding = np.random.default_rng(0).normal(size=(1, 1152)).astype(np.float32)
    for variant, counts in HEADS.items():
        ours, theirs = {}, {}
        for count in counts:
            checkpoint, layers = random_heads(base, folder, WIDTHS[variant], count)
            ours[float(count)] = partial(compiled_heads(checkpoint, 1), embedding)
            alone = [mlp([(w[h], b[h]) for w, b in layers]) for h in range(count)]
            theirs[float(count)] = partial(one_by_one, alone, torch.from_numpy(embedding))
        yield curve(f"heads, {variant}, our graph fp32", "heads", timed(ours))
        yield curve(f"heads, {variant}, one call a head", "heads", timed(theirs))


def one_by_one(alone: Sequence[Any], x: Any) -> Any:
    with torch.inference_mode():
        return torch.cat([head(x) for head in alone], dim=1)


def random_heads(base: Checkpoint, folder: Path, widths: Sequence[int], count: int) -> tuple[Checkpoint, list[Any]]:
    """Heads of random weights in a file of their own, as a checkpoint that has nothing else."""
    from safetensors.torch import save_file

    from benchmarks.gpu.context import random_heads as drawn

    layers = drawn(count, widths, torch.Generator().manual_seed(count))
    tensors = {
        f"heads.{i}.{k}": t.contiguous()
        for i, pair in enumerate(layers)
        for k, t in zip(("weight", "bias"), pair, strict=True)
    }
    path = folder / f"heads-{widths[1]}-{count}.safetensors"
    save_file(tensors, path)
    names = tuple(f"head_{i}" for i in range(count))
    known = replace(base, path=path, names=names, head_widths=tuple(widths), tensors=SafetensorsFile(path).infos)
    return known, layers


def sizes() -> Iterator[dict[str, Any]]:
    """Seconds to decode and resize a square JPEG over its pixels, Pillow, one core."""
    calls = {}
    for side in SIDES:
        picture = Picture("0", encoded(photograph(side, side, 0), quality=80))
        calls[side**2 / 1e6] = partial(prepared, picture)
    yield curve("decode and resize, pillow", "megapixels", timed(calls))


def images(scorer: Scorer, most: int) -> Iterator[dict[str, Any]]:
    """Seconds of a run over its images, beside the network: 64 x 64 JPEGs on a tiny network; memory after each run."""
    data = encoded(photograph(64, 64, 0))
    counts = [n for n in (100, 1000, 10_000, 100_000) if n <= most]
    points, memory = [], []
    for n in counts:
        began = time.perf_counter()
        for _ in scorer.batches(Picture(f"{i}", data) for i in range(n)):
            pass
        points.append((float(n), time.perf_counter() - began))
        memory.append(round(memory_mb().get("now", 0.0), 1))
    yield curve("a run without its network", "images", points, memory_mb=memory)


def faces(scorer: Scorer) -> Iterator[dict[str, Any]]:
    """Seconds a 1920 x 1080 JPEG over the boxes in it, beside the network: decoded once, each box cut and resized."""
    data = encoded(photograph(1920, 1080, 0), quality=85)
    calls = {}
    for count in FACES:
        boxes = tuple(Box(x, y, x + 200, y + 200) for x, y in [(20 * i, 10 * i) for i in range(count)])
        picture = Picture("0", data, boxes=boxes)
        calls[float(count)] = lambda picture=picture: list(scorer.batches([picture]))
    yield curve("a picture without its network", "faces in it", timed(calls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("batches", "heads", "sizes", "images", "faces")
    parser.add_argument("--checkpoint", help="of the batch curve (one of one layer is made)")
    parser.add_argument("--images", type=int, default=100_000, help="at most (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emonet-fast-scaling-") as name:
        folder = Path(name)
        tiny(folder / "tiny")
        base = open_checkpoint(folder / "tiny", folder / "cache")
        with Scorer(base.path, device="cpu", precision="fp32", cache_dir=folder / "cache") as scorer:
            every: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
                "batches": lambda: batches(options.checkpoint or str(shallow("small", SHALLOW))),
                "heads": lambda: heads(base, folder),
                "sizes": sizes,
                "images": lambda: images(scorer.open(), options.images),
                "faces": lambda: faces(scorer.open()),
            }
            for part in options.only:
                print(f"{part} ...", file=sys.stderr, flush=True)
                curves = list(every[part]())
                measurements.keep("scaling", {part: curves})
                for one in curves:
                    print(f"{one['what']}: {one['fit']}")


if __name__ == "__main__":
    main()
