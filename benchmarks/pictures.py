"""The pictures of the benchmarks, the tests and the demo (extra `demo`).

Benchmarks and tests take scikit-image's photographs, public domain or CC0. The demo takes two portraits, both works of
the US government and so in the public domain: the astronaut Eileen Collins (NASA) of scikit-image, and Rear Admiral
Grace Hopper (US Navy) of matplotlib.

`python -m benchmarks.pictures DIR` writes the portraits into a folder, whole and cropped, and prints their paths.
"""

import io
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.faces import face_crop
from emonet_fast.preprocess import crop
from emonet_fast.records import Face, Float32Array, UInt8Array

NAMES = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "rocket.jpg",
)

# By name: package, path within it, and the face's box as YuNet finds it.
PORTRAITS = {
    "astronaut": ("skimage", "data/astronaut.png", Face(181, 66, 86, 113)),
    "grace-hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", Face(174, 112, 183, 226)),
}


def normalise(pixels: UInt8Array, spec: Preprocess) -> Float32Array:
    """[..., 3, H, W] uint8 to float32 (x * rescale_factor - mean) / std, as engines do inside their graph."""
    mean = np.array(spec.mean, np.float32)[:, None, None]
    std = np.array(spec.std, np.float32)[:, None, None]
    scaled = pixels.astype(np.float32) * np.float32(spec.rescale_factor)
    out: Float32Array = (scaled - mean) / std
    return out


def paths() -> list[Path]:
    """The photographs' paths in the installed package."""
    folder = Path(str(files("skimage") / "data"))
    return [folder / name for name in NAMES]


@cache
def photographs() -> tuple[Image.Image, ...]:
    """The photographs, RGB. The second one has no colours."""
    return tuple(Image.open(path).convert("RGB") for path in paths())


def photograph(width: int, height: int, seed: int, noise: float = 6.0) -> Image.Image:
    """One of the photographs at that size, with a camera's noise: its file gets as large as a real one's.

    Args:
        width: in pixels.
        height: in pixels.
        seed: of the noise; also picks the photograph.
        noise: standard deviation in levels of 255.
    """
    image = photographs()[seed % len(NAMES)].resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).normal(0, noise, (height, width, 1))
    return Image.fromarray((np.asarray(image, np.float32) + grain).clip(0, 255).astype(np.uint8))


def face() -> Image.Image:
    """The astronaut's head, 260 x 260."""
    return photographs()[0].crop((90, 0, 350, 260))


def encoded(picture: Image.Image | np.ndarray, kind: str = "JPEG", **settings: Any) -> bytes:
    """A picture, or its pixels [H, W, 3] or [H, W], as the bytes of a file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


def write_portraits(folder: Path) -> list[Path]:
    """Write each of PORTRAITS whole, and the crop that `--faces` scores of it. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (package, path, face) in PORTRAITS.items():
        whole = Image.open(str(files(package) / path)).convert("RGB")
        cropped = Image.fromarray(crop(np.asarray(whole), face_crop(face)))
        for image, part in ((whole, "whole"), (cropped, "face")):
            written.append(folder / f"{name}-{part}.png")
            image.save(written[-1])
    return written


if __name__ == "__main__":
    print(*write_portraits(Path(sys.argv[1])), sep="\n")
