"""What launchers have in common: checks of tensors, the GPU, and how a row is split into blocks of powers of two."""

import functools
from collections.abc import Sequence

import torch

from .aot import Launch
from .precision import INTERPRETED

E4M3 = torch.float8_e4m3fn
"""The only FP8 format here: activations and weights need its mantissa more than e5m2's range."""


@functools.cache
def capability_of(device: torch.device) -> int:
    """The GPU's compute capability, 90 for 9.0. On the CPU the interpreter stands for an H100, a 9.0."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def check_matrix(name: str, tensor: torch.Tensor, rows: int, columns: int, dtypes: Sequence[torch.dtype]) -> None:
    """Raises ValueError where a matrix is not [rows, columns] with contiguous rows of one of these dtypes.

    The distance between rows is free.
    """
    if tensor.dtype not in dtypes:
        raise ValueError(f"{name}: expected {' or '.join(map(str, dtypes))}, got {tensor.dtype}")
    if tuple(tensor.shape) != (rows, columns):
        raise ValueError(f"{name}: expected the shape [{rows}, {columns}], got {list(tensor.shape)}")
    if columns > 1 and tensor.stride(1) != 1:
        raise ValueError(f"{name}: the values of a row must be contiguous, got the strides {tensor.stride()}")
    if tensor.shape[0] > 1 and tensor.stride(0) < columns:
        raise ValueError(f"{name}: rows overlap, got the strides {tensor.stride()}")


def check_vector(name: str, tensor: torch.Tensor, size: int) -> None:
    """Raises ValueError where a vector is not a contiguous [size] of float32."""
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name}: expected torch.float32, got {tensor.dtype}")
    if tuple(tensor.shape) != (size,):
        raise ValueError(f"{name}: expected the shape [{size}], got {list(tensor.shape)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name}: must be contiguous, got the strides {tensor.stride()}")


def check_rows(
    x: torch.Tensor,
    dtypes: Sequence[torch.dtype],
    out: torch.Tensor,
    out_dtypes: Sequence[torch.dtype],
    scales: torch.Tensor | None,
) -> tuple[int, int]:
    """Check the input and the output of a kernel that takes one row at a time; returns (rows, columns).

    An e4m3 output has one float32 scale a row, another output has none. Raises ValueError where anything does not fit.
    """
    if x.dim() != 2 or not x.shape[1]:
        raise ValueError(f"x: expected the shape [rows, columns], got {list(x.shape)}")
    rows, columns = x.shape
    check_matrix("x", x, rows, columns, dtypes)
    check_matrix("out", out, rows, columns, out_dtypes)
    if (out.dtype == E4M3) != (scales is not None):
        came = "none" if scales is None else "some"
        raise ValueError(f"scales: expected for an e4m3 output and for no other, got {came} with out of {out.dtype}")
    if scales is not None:
        check_vector("scales", scales, rows)
    return rows, columns


def check_device(tensors: dict[str, torch.Tensor | None]) -> None:
    """Raises ValueError unless all tensors are on the current CUDA device, or on the CPU in Triton's interpreter."""
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        raise ValueError(
            f"all tensors must be on one device, got {', '.join(f'{n} on {d}' for n, d in devices.items())}"
        )
    device = next(iter(devices.values()))
    if device.type == "cuda":
        if device.index != torch.cuda.current_device():
            raise ValueError(
                f"tensors are on {device}, the current device is {torch.cuda.current_device()}: "
                "call inside torch.cuda.device(...)"
            )
    elif device.type != "cpu" or not INTERPRETED:
        raise ValueError(
            f"tensors are on {device}: a kernel needs a CUDA device, or CPU tensors under TRITON_INTERPRET=1 set "
            "before the import; elsewhere use the file's `reference`"
        )


def blocks(columns: int, smallest: int = 1) -> tuple[int, int]:
    """Split `columns` into (main, tail): the largest power of two in it, and the next power of two above the rest.

    Triton's blocks are powers of two. 1152 as one block would be 2048, of which 44% are idle; 1024 + 128 has no idle
    lane. Without a rest the tail is 0, else at least `smallest`. What the tail has too much must be masked.
    """
    main = 1 << (columns.bit_length() - 1)
    rest = columns - main
    return main, max(smallest, 1 << (rest - 1).bit_length()) if rest else 0


def row_launch(columns: int) -> Launch:
    """Choose blocks and warps for rows of `columns` values, which are held in registers.

    Warps are a power of two near columns / 1024, from 1 to 16. A lane then holds 32 to 64 values: enough bytes under
    way for the memory's latency, and far from spilling (up to 8192 columns). Up to 2046 columns a row is summed by
    shuffles in one warp, without a barrier. The choice depends on the columns only, so that a row is summed in the same
    order in every batch.
    """
    main, tail = blocks(columns)
    thousands = (main + tail) // 1024
    warps = max(1, min(16, 1 << max(0, thousands.bit_length() - 1)))
    return Launch({"COLUMNS": columns, "MAIN": main, "TAIL": tail}, warps)
