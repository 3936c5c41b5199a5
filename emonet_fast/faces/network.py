"""YuNet by OpenVINO on the CPU, in float32, compiled for a few fixed sizes."""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..optional import openvino_core
from ..records import Float32Array
from .decoding import OUTPUTS, WIDTHS

# Pictures a call: with more, nothing became faster, and they cost memory.
BATCH = 4
_SIZES = (1, 2, BATCH)
# How many compiled sizes are kept: letterbox.plan gives three a scale, each for _SIZES, and there are two scales.
_MAX_COMPILED = 18


class Network:
    """12 outputs by name, [n, cells, k] float32, for [n, 3, H, W] float32 BGR 0..255, H and W multiples of 32.

    Not thread-safe. Raises CheckpointError when the file is no YuNet model that OpenVINO reads.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        path = model if isinstance(model, Path) else "the detector's model"
        self._path, self._core = path, openvino_core()
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled: dict[tuple[int, ...], Any] = {}
        try:
            self._model = self._core.read_model(str(model) if isinstance(model, Path) else model)
        except RuntimeError as error:
            raise CheckpointError(
                f"{path} is no ONNX model that OpenVINO reads ({_line(error)}); expected YuNet, "
                "such as face_detection_yunet_2023mar.onnx"
            ) from error
        names = {name for output in self._model.outputs for name in output.names}
        missing = [name for name in OUTPUTS if name not in names]
        if missing or len(self._model.inputs) != 1:
            raise CheckpointError(
                f"{path} lacks the outputs {', '.join(missing[:3])}...; expected YuNet of 2023 with 12 outputs "
                "(cls, obj, bbox and kps at strides 8, 16 and 32)"
            )

    def __call__(self, pixels: Float32Array) -> dict[str, Float32Array]:
        """The outputs of 1 to BATCH pictures."""
        n, _, height, width = pixels.shape
        size = next(size for size in _SIZES if size >= n)
        if n < size:
            pixels = np.concatenate([pixels, np.zeros((size - n, *pixels.shape[1:]), np.float32)])
        results = self._request(size, height, width).infer({0: pixels}, share_inputs=True)
        # A model of fixed size has its batch folded into the cells; both lie in memory alike.
        return {name: np.array(results[name]).reshape(size, -1, WIDTHS[name.partition("_")[0]])[:n] for name in OUTPUTS}

    def _request(self, *shape: int) -> Any:
        if shape not in self._compiled:
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            size, height, width = shape
            try:
                self._model.reshape({0: [size, 3, height, width]})
                compiled = self._core.compile_model(self._model, "CPU", self._settings)
            except RuntimeError as error:
                raise CheckpointError(f"{self._path} does not work for {width} x {height}: {_line(error)}") from error
            self._compiled[shape] = compiled.create_infer_request()
        return self._compiled[shape]


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines()[::-1] if line.strip()), type(error).__name__)[:200]
