"""From which cosine two embeddings are of one picture, and how long it takes to find every such pair.

    python -m benchmarks.duplicates CHECKPOINT...   # cosines of re-encoded photographs, and of different ones
    python -m benchmarks.duplicates --rows 200000   # seconds and memory of near_duplicates on made embeddings

The photographs are those of `benchmarks.pictures`. CHECKPOINT is what `emonet-fast score --checkpoint` takes; those of
`emonet-fast synthetic` are untrained.
"""

import argparse
import io
import resource
import time
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from PIL import Image, ImageOps

from benchmarks.pictures import photographs
from emonet_fast import Scorer
from emonet_fast.records import Float32Array
from emonet_fast.splits import DUPLICATE, near_duplicates

WIDTH = 1152
# The spread of made embeddings along their directions, as powers of the direction's number: like an encoder's (half of
# it lies in a few directions), and the worst case, where no direction says more than another.
SPECTRA = {"falling": -0.5, "flat": 0.0}


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    """Encodes a picture as JPEG, and reads it back."""

    def encode(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        return Image.open(out).convert("RGB")

    return encode


def cropped(share: float) -> Callable[[Image.Image], Image.Image]:
    """Cuts this share of each side off a picture, half at either end."""

    def cut(image: Image.Image) -> Image.Image:
        x, y = (round(side * share / 2) for side in image.size)
        return image.crop((x, y, image.width - x, image.height - y))

    return cut


VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 75": jpeg(75),
    "JPEG of quality 30": jpeg(30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "5% cut off each side": cropped(0.05),
    "20% cut off each side": cropped(0.2),
    "mirrored": ImageOps.mirror,
}


def units(scorer: Scorer, images: list[Image.Image]) -> Float32Array:
    """[N, hidden] embeddings of length 1."""
    values = scorer(images, embeddings=True).embeddings
    assert values is not None
    out: Float32Array = values / np.linalg.norm(values, axis=1, keepdims=True)
    return out


def cosines(checkpoint: str) -> Iterator[tuple[str, Float32Array]]:
    """What was done to the photographs, and the cosines with the originals; at last those of different photographs."""
    originals = list(photographs())
    with Scorer(checkpoint) as scorer:
        made = [change(image) for change in VARIANTS.values() for image in originals]
        values = units(scorer, originals + made)
    first, rest = values[: len(originals)], values[len(originals) :].reshape(len(VARIANTS), len(originals), -1)
    for name, variant in zip(VARIANTS, rest, strict=True):
        yield name, np.einsum("nw,nw->n", first, variant)
    yield "another photograph", np.array([first[i] @ first[j] for i, j in combinations(range(len(first)), 2)])


def made_embeddings(rows: int, power: float) -> Float32Array:
    """[rows, WIDTH]: about one direction, spread by the power; a tenth are copies of others with a little noise."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, WIDTH + 1, dtype=np.float32) ** power
    values = rng.standard_normal((rows, WIDTH), dtype=np.float32)
    values *= spread
    values[:, 0] += 2 * np.linalg.norm(spread)
    copies = rows // 10
    values[:copies] = values[rows - copies :] + 0.02 * rng.standard_normal((copies, WIDTH), dtype=np.float32) * spread
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--spectrum", choices=SPECTRA, nargs="+", default=list(SPECTRA))
    options = parser.parse_args()
    for checkpoint in options.checkpoints:
        print(f"\n{checkpoint}: cosine with the original\n\n| picture | lowest | median | highest |\n|---|---|---|---|")
        for name, found in cosines(checkpoint):
            print(f"| {name} | {found.min():.4f} | {np.median(found):.4f} | {found.max():.4f} |")
    for name in options.spectrum if options.rows else ():
        values = made_embeddings(options.rows, SPECTRA[name])
        begun = time.perf_counter()
        groups = near_duplicates(values)
        took = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name}: {options.rows} rows x {WIDTH} at {DUPLICATE}: {took:.1f} s, {len(np.unique(groups))} groups, "
            f"peak {peak:.2f} GiB with the {values.nbytes / 2**30:.2f} of the embeddings"
        )


if __name__ == "__main__":
    main()
