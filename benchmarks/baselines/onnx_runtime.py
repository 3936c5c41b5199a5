"""`onnxruntime`: ONNX Runtime on the very graph that our CPU engine compiles, float32.

    python benchmarks/baselines/onnx_runtime.py PICTURES --checkpoint C

The CUDA provider on a GPU, where the installed package has it.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from benchmarks.baselines.alone import joined, main, rgb  # noqa: E402
from emonet_fast.backends.base import Outputs  # noqa: E402
from emonet_fast.checkpoint import open_checkpoint  # noqa: E402
from emonet_fast.checkpoint.spec import Checkpoint  # noqa: E402
from emonet_fast.graph import build_model  # noqa: E402
from emonet_fast.options import default_cache_dir  # noqa: E402
from emonet_fast.preprocess import resize  # noqa: E402


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
    with tempfile.NamedTemporaryFile(dir=checkpoint.path.parent, suffix=".onnx") as file:
        onnx.save(build_model(checkpoint, part), file.name)
        return onnxruntime.InferenceSession(file.name, providers=[provider])


if __name__ == "__main__":
    main(OnnxRuntime, __doc__)
