"""`onnxruntime`: ONNX Runtime on the very graph that our CPU engine compiles, float32.

    python -m benchmarks.baselines.onnx_runtime PICTURES --checkpoint C

The CUDA provider on a GPU, where the installed package has it.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from benchmarks.baselines.alone import joined, main, rgb
from emonet_fast.backends.base import Outputs
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.graph.model import build_model
from emonet_fast.options import default_cache_dir
from emonet_fast.preprocess import resize


class OnnxRuntime:
    """See the file's head. One image a call.

    Raises:
        RuntimeError: the device is a GPU that the installed onnxruntime cannot use.
    """

    def __init__(self, where: str, device: str = "cpu") -> None:
        checkpoint = open_checkpoint(where, default_cache_dir())
        self.spec = checkpoint.preprocess
        provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeError(f"this onnxruntime has no {provider}; install onnxruntime-gpu")
        self.session = session(checkpoint, provider)

    def scores(self, files: Sequence[bytes]) -> Outputs:
        return joined([self._run(resize(rgb(data), self.spec)[None]) for data in files])

    def network(self, pixels: Any) -> Outputs:
        return joined([self._run(pixels[i : i + 1]) for i in range(len(pixels))])

    def _run(self, pixels: Any) -> Outputs:
        embedding, raw = self.session.run(["embedding", "raw"], {"pixels": np.ascontiguousarray(pixels)})
        return Outputs(embedding, raw)


def session(checkpoint: Checkpoint, provider: str, part: str = "all") -> onnxruntime.InferenceSession:
    """The graph written beside the packed weights that it refers to: ONNX Runtime follows no link out of a folder."""
    onnxruntime.disable_telemetry_events()  # a device's id lies in ~/.cache/Microsoft since its import all the same
    with tempfile.NamedTemporaryFile(dir=checkpoint.path.parent, suffix=".onnx") as file:
        onnx.save(build_model(checkpoint, part), file.name)
        return onnxruntime.InferenceSession(file.name, providers=[provider])


if __name__ == "__main__":
    main(OnnxRuntime, __doc__)
