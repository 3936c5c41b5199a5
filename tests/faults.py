"""Packed checkpoints with one thing wrong, to see that it shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from emonet_fast.checkpoint.pack import write_packed
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.checkpoint.tensors import Entry, SafetensorsFile


def repacked(checkpoint: Checkpoint, path: Path, **changes: Any) -> Path:
    """The same weights under a changed description (l2_normalise, preprocess, names, ...)."""
    file = SafetensorsFile(checkpoint.path)
    entries = [Entry(n, i.shape, lambda n=n: [file.array(n)]) for n, i in checkpoint.tensors.items()]
    write_packed(path, replace(checkpoint, **changes), entries)
    return path
