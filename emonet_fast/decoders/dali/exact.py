"""The resize on a GPU in Pillow's own arithmetic: DALI decodes and crops, our Triton kernel resizes, bit for bit.

DALI's own resize sums in float32 and leaves values a level from Pillow's where those lie near a half (pipeline.py). It
serves where PyTorch or Triton is missing: beside the engine `tensorrt` alone.
"""

from ...checkpoint.spec import Preprocess
from ...gpu import NoGpu, look, named_stream
from ...optional import need
from .border import RESAMPLES, rows_first
from .outputs import Output, Resized, Rows

# kernels.resize.FILTERS, which cannot be read without PyTorch and Triton.
EXACT_RESAMPLES = ("bilinear", "bicubic")


def exact_possible(device_id: int) -> bool:
    """Whether PyTorch (built with CUDA) and Triton are there for that GPU: what the heads' kernel asks for too."""
    return not isinstance(look(f"cuda:{device_id}"), NoGpu)


def gpu_resamples(exact: bool) -> tuple[str, ...]:
    """Filters for which DALI on a GPU equals Pillow: exactly, or by its own resize within a level."""
    return EXACT_RESAMPLES if exact else RESAMPLES


class ExactResize:
    """Resizes what a pipeline with the output "pictures" gives. device_id, stream: as of DaliDecoder; None on a CPU."""

    def __init__(self, spec: Preprocess, device_id: int | None, stream: int | None) -> None:
        torch = need("torch", "the exact resize on a GPU")
        need("triton", "the exact resize on a GPU")
        from ...kernels.resize import Resizer

        self._size = spec.size
        self._device = torch.device("cpu") if device_id is None else torch.device("cuda", device_id)
        self._stream = None
        if device_id is not None:
            self._stream = named_stream(stream or 0, self._device)
        self._resizer = Resizer(spec.size, spec.resample, self._device)

    def __call__(self, output: Rows) -> Resized:
        """The rows of a pipeline's output, resized on the stream on which they became ready."""
        from ...kernels.resize import Pixels

        if not isinstance(output, Output):
            raise TypeError(f"expected DALI's output, got {type(output).__name__}")
        found = []
        for i in range(len(output.tensors)):
            sample = output.tensors[i]
            height, width, _ = sample.shape()
            found.append(Pixels(sample.data_ptr(), height, width, rows_first(height, width, self._size)))
        if self._stream is None:
            return Resized(output.places, output.tensors, self._resizer(found))
        cuda = need("torch", "the exact resize on a GPU").cuda
        with cuda.device(self._device), cuda.stream(self._stream):
            tensor = self._resizer(found)
        return Resized(output.places, output.tensors, tensor)
