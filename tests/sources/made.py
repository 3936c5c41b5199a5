"""Small pictures and archives for the tests of sources and decoding."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import pictures
from emonet_fast.options import Options

OPTIONS = Options()


def gradient(height: int = 24, width: int = 32) -> np.ndarray:
    """[H, W, 3] uint8, every corner of another colour."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x * y) % 256], -1).astype(np.uint8)


def encoded(rgb: np.ndarray | Image.Image | None = None, kind: str = "PNG", **settings: object) -> bytes:
    """A picture (the gradient by default) as a file's bytes."""
    return pictures.encoded(gradient() if rgb is None else rgb, kind, **settings)


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    """A tar of regular files with these names, hostile ones too."""
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
