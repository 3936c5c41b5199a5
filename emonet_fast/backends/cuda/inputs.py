"""Batches that already lie on the GPU: from any library, without a copy to the host.

Tensors come by `__dlpack__` (PyTorch, CuPy, JAX, DALI) or by `__cuda_array_interface__` (PyCUDA, Numba). The order on
streams: DLPack's producer gets our stream and makes it wait; the interface names a stream, and we wait for that one.
Where it names none, as PyCUDA's never does, the caller must, or all of the GPU's work is waited for.
"""

import logging
from typing import Any

from ...driver import in_another_context
from ...errors import InputError
from ...gpu import PER_THREAD_DEFAULT, named_stream
from ...optional import need
from ..staging import OTHER_CONTEXT, UNNAMED_STREAM
from .streams import ALONE

_log = logging.getLogger("emonet_fast")

_EXPECTED = "expected a batch [n, 3, S, S] on the GPU, uint8 or normalised float32, float16 or bfloat16"


def as_tensor(pixels: Any, device: Any, image_size: int, *, ready: bool = True) -> Any:
    """View pixels as a torch tensor [n, 3, S, S] of any strides that shares their memory.

    The current stream is made to wait for whatever the producer still has under way. `ready` tells that the caller has
    named the stream on which the pixels become ready. Raises InputError when the shape, dtype, device or CUDA context
    is another, or the memory is not aligned to its dtype.
    """
    torch = need("torch", "the GPU engine")
    if isinstance(pixels, torch.Tensor):
        tensor = pixels
    elif hasattr(pixels, "__dlpack__"):
        try:
            # Hands the current stream to the producer, which makes it wait for the data.
            tensor = torch.from_dlpack(pixels)
        except (BufferError, RuntimeError, TypeError) as error:
            raise InputError(f"pixels could not be taken over DLPack: {error}; {_EXPECTED}") from error
    elif hasattr(pixels, "__cuda_array_interface__"):
        tensor = _from_interface(pixels, device, ready)
    else:
        raise InputError(
            f"pixels is {type(pixels).__name__}, without __dlpack__ or __cuda_array_interface__; {_EXPECTED}"
        )
    if tensor.device != device:
        raise InputError(f"pixels lie on {tensor.device}, the engine on {device}; copy them there first")
    if tensor.ndim != 4 or tuple(tensor.shape[1:]) != (3, image_size, image_size):
        raise InputError(f"pixels have shape {list(tensor.shape)}; {_EXPECTED} with S = {image_size}")
    if tensor.dtype not in (torch.uint8, torch.float32, torch.float16, torch.bfloat16):
        raise InputError(f"pixels have dtype {str(tensor.dtype).removeprefix('torch.')}; {_EXPECTED}")
    if tensor.data_ptr() % tensor.element_size():
        raise InputError(
            f"pixels begin at an address that is not a multiple of {tensor.element_size()} bytes; "
            "expected memory aligned to its dtype: copy them first"
        )
    return tensor


def _from_interface(pixels: Any, device: Any, ready: bool) -> Any:
    torch = need("torch", "the GPU engine")
    interface = pixels.__cuda_array_interface__
    address = interface["data"][0]
    if device.type == "cuda" and in_another_context(address, device.index):
        raise InputError(f"pixels {OTHER_CONTEXT}")
    try:
        tensor = torch.as_tensor(pixels, device=device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"pixels could not be taken over __cuda_array_interface__: {error}; {_EXPECTED}") from error
    if tensor.numel() and tensor.data_ptr() != address:
        raise InputError(f"pixels lie on another GPU than {device}; copy them there first")
    producer = interface.get("stream")
    if producer is not None and producer != PER_THREAD_DEFAULT:
        torch.cuda.current_stream(device).wait_stream(named_stream(producer, device))
    elif producer is not None or not ready:
        # PyTorch has no name for the per-thread default stream; rare enough for the plain way.
        if producer is None:
            _log.warning(UNNAMED_STREAM)
        # No thread may capture meanwhile.
        with ALONE:
            torch.cuda.synchronize(device)
    return tensor
