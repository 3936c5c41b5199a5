"""A writer whose weights are copies in a file of their own, in whatever types its graph needs."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from .writer import ALIGNMENT, GraphWriter, external_tensor

_KINDS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(ml_dtypes.bfloat16): TensorProto.BFLOAT16,
    np.dtype(ml_dtypes.float8_e4m3fn): TensorProto.FLOAT8E4M3FN,
}


class StoringWriter(GraphWriter):
    """A GraphWriter that writes weights to `data`, which the graph will know as the file `location`.

    `dtype` is the type that float weights and constants have at this place of the graph.
    """

    def __init__(self, checkpoint: Checkpoint, data: BinaryIO, location: str) -> None:
        super().__init__(checkpoint)
        self.file = SafetensorsFile(checkpoint.path)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._data, self._location = data, location

    def weight(self, name: str, shape: Sequence[int] | None = None, rows: tuple[int, int] | None = None) -> str:
        label = name if rows is None else f"{name}[{rows[0]}:{rows[1]}]"
        if label not in self.initializers:
            values = self.file.array(name)
            values = values if rows is None else values[rows[0] : rows[1]]
            self.stored(label, values.astype(self.dtype).reshape(shape if shape is not None else values.shape))
        return label

    def inline(self, label: str, array: npt.NDArray[Any]) -> str:
        """Add a small initializer, which is stored in the graph itself."""
        if label not in self.initializers:
            kind = _KINDS[array.dtype]
            self.initializers[label] = helper.make_tensor(label, kind, array.shape, array.tobytes(), raw=True)
        return label

    def stored(self, label: str, array: npt.NDArray[Any]) -> str:
        """Add an initializer whose values go to the file of weights."""
        if label in self.initializers:
            return label
        self._data.write(b"\0" * (-self._data.tell() % ALIGNMENT))
        place = (self._location, self._data.tell(), array.nbytes)
        self.initializers[label] = external_tensor(label, _KINDS[array.dtype], array.shape, *place)
        self._data.write(np.ascontiguousarray(array).tobytes())
        return label
