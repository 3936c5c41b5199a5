"""Packed checkpoints with one thing wrong, to see that it shows."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from emonet_fast.checkpoint.pack import write_packed
from emonet_fast.checkpoint.packed_metadata import Description
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.checkpoint.tensors import Entry, SafetensorsFile


def repacked(checkpoint: Checkpoint, path: Path, **changes: Any) -> Path:
    """The same weights under a changed description (l2_normalise, preprocess, names, ...)."""
    file = SafetensorsFile(checkpoint.path)
    known = {f.name: getattr(checkpoint, f.name) for f in fields(Description)}
    entries = [Entry(n, i.shape, lambda n=n: [file.array(n)]) for n, i in checkpoint.tensors.items()]
    write_packed(path, replace(Description(**known), **changes), entries)
    return path
