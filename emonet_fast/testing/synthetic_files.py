"""The writer of safetensors files of which no more than one tensor is ever held, without PyTorch.

It gives the same bytes for the same tensors: no dates, no order that depends on the run.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ..checkpoint.tensors import safetensors_header
from ..records import Float32Array


class SafetensorsStream:
    """Writes float32 tensors to a safetensors file as they come, in the order of `shapes`.

    The header needs shapes only, so no more than one tensor is ever held.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._waiting = dict(shapes)
        self._file = path.open("wb")
        self._file.write(safetensors_header(shapes, {"format": "pt"}, alignment=8))

    def put(self, name: str, tensor: Float32Array) -> None:
        """Write the next tensor. Raises ValueError if it is not the one announced for this place."""
        expected = next(iter(self._waiting.items()), None)
        if expected != (name, tensor.shape):
            raise ValueError(f"next tensor is {name} {tensor.shape}; the header announced {expected}")
        del self._waiting[name]
        np.ascontiguousarray(tensor, "<f4").tofile(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._file.close()
        if kind is None and self._waiting:
            raise ValueError(f"tensors announced and never written: {list(self._waiting)}")
