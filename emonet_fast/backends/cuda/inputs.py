"""Batches that already lie on the GPU: from any library, without a copy to the host.

Tensors come by `__dlpack__` (PyTorch, CuPy, JAX, DALI) or by `__cuda_array_interface__` (PyCUDA, Numba). The order on
streams: DLPack's producer gets our stream and makes it wait; the interface names a stream, and we wait for that one.
"""

from typing import Any

from ...errors import InputError
from ...gpu import PER_THREAD_DEFAULT, named_stream
from ...optional import need

_EXPECTED = "expected a batch [n, 3, S, S] on the GPU, uint8 or normalised float32, float16 or bfloat16"


def as_tensor(pixels: Any, device: Any, image_size: int) -> Any:
    """View pixels as a torch tensor [n, 3, S, S] of any strides that shares their memory.

    The current stream is made to wait for whatever the producer still has under way. Raises InputError when the shape,
    dtype or device is another, or the memory is not aligned to its dtype.
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
        tensor = _from_interface(pixels, device)
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


def _from_interface(pixels: Any, device: Any) -> Any:
    torch = need("torch", "the GPU engine")
    interface = pixels.__cuda_array_interface__
    try:
        tensor = torch.as_tensor(pixels, device=device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"pixels could not be taken over __cuda_array_interface__: {error}; {_EXPECTED}") from error
    if tensor.numel() and tensor.data_ptr() != interface["data"][0]:
        raise InputError(f"pixels lie on another GPU than {device}; copy them there first")
    producer = interface.get("stream")
    if producer == PER_THREAD_DEFAULT:
        # PyTorch has no name for this stream; rare enough for the plain way.
        torch.cuda.synchronize(device)
    elif producer is not None:
        torch.cuda.current_stream(device).wait_stream(named_stream(producer, device))
    return tensor
