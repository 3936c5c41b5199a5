"""What launchers have in common: checks of tensors, the GPU, and how a row is split into blocks of powers of two."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .aot import Variant, compiler_options
from .rounding import INTERPRETED

E4M3 = torch.float8_e4m3fn
"""The only FP8 format here: activations and weights need its mantissa more than e5m2's range."""


@functools.cache
def capability_of(device: torch.device) -> int:
    """The GPU's compute capability, 90 for 9.0. On the CPU the interpreter stands for an H100, a 9.0."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def check_matrix(
    name: str, tensor: torch.Tensor, rows: int | None, columns: int, dtypes: Sequence[torch.dtype]
) -> None:
    """Check a matrix [rows, columns] whose rows are contiguous. The distance between rows is free.

    Args:
        name: for the error.
        tensor: the matrix.
        rows: None for any number.
        columns: of the matrix.
        dtypes: those that it may have.

    Raises:
        ValueError: when shape, dtype or layout is another.
    """
    _check_dtype(name, tensor, dtypes)
    expected = f"[{'any' if rows is None else rows}, {columns}]"
    if tensor.dim() != 2 or tensor.shape[1] != columns or rows not in (None, tensor.shape[0]):
        raise ValueError(f"{name}: expected the shape {expected}, got {list(tensor.shape)}")
    if columns > 1 and tensor.stride(1) != 1:
        raise ValueError(f"{name}: the values of a row must be contiguous, got the strides {tensor.stride()}")
    if tensor.shape[0] > 1 and tensor.stride(0) < columns:
        raise ValueError(f"{name}: rows overlap, got the strides {tensor.stride()}")


def check_vector(name: str, tensor: torch.Tensor, size: int, dtypes: Sequence[torch.dtype]) -> None:
    """Check a contiguous vector [size].

    Raises:
        ValueError: when shape, dtype or layout is another.
    """
    _check_dtype(name, tensor, dtypes)
    if tuple(tensor.shape) != (size,):
        raise ValueError(f"{name}: expected the shape [{size}], got {list(tensor.shape)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name}: must be contiguous, got the strides {tensor.stride()}")


def _check_dtype(name: str, tensor: torch.Tensor, dtypes: Sequence[torch.dtype]) -> None:
    if tensor.dtype not in dtypes:
        raise ValueError(f"{name}: expected {' or '.join(map(str, dtypes))}, got {tensor.dtype}")


def check_rows(
    x: torch.Tensor,
    dtypes: Sequence[torch.dtype],
    out: torch.Tensor,
    out_dtypes: Sequence[torch.dtype],
    scales: torch.Tensor | None,
) -> tuple[int, int]:
    """Check the input and the output of a kernel that takes one row at a time; returns (rows, columns).

    An e4m3 output has one float32 scale a row, another output has none.

    Raises:
        ValueError: when shapes, dtypes or layouts do not fit, or an e4m3 output has no scales, or the reverse.
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
        check_vector("scales", scales, rows, [torch.float32])
    return rows, columns


def check_device(tensors: dict[str, torch.Tensor | None]) -> None:
    """Check that all tensors are on the current CUDA device, or all on the CPU under Triton's interpreter.

    Raises:
        ValueError: when they are on several devices, on a CUDA device that is not the current one, or on the CPU
            without the interpreter.
    """
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


@dataclass(frozen=True)
class RowLaunch:
    """How a kernel that takes one row a program is launched."""

    columns: int
    main: int
    tail: int
    warps: int

    @property
    def constants(self) -> dict[str, int]:
        """The kernel's compile-time arguments."""
        return {"COLUMNS": self.columns, "MAIN": self.main, "TAIL": self.tail}

    @property
    def options(self) -> dict[str, int | bool]:
        """The compiler's options."""
        return compiler_options(self.warps, 1)

    def variant(self, name: str, kernel: Any, types: Mapping[str, str], absent: Collection[str] = ()) -> Variant:
        """A variant of `kernel` with this launch.

        Args:
            name: tells it from the kernel's other variants.
            kernel: the Triton function.
            types: the types of the runtime arguments, in the kernel's order.
            absent: the arguments that are None.
        """
        signature = dict(types) | dict.fromkeys([*absent, *self.constants], "constexpr")
        constants = self.constants | dict.fromkeys(absent)
        divisible = tuple(name for name, kind in signature.items() if kind not in ("constexpr", "fp32"))
        minimum = 89 if types["out"] == "*fp8e4nv" else 80
        return Variant(name, kernel, signature, constants, self.warps, 1, divisible, minimum)


def row_launch(columns: int) -> RowLaunch:
    """Choose blocks and warps for rows of `columns` values, which are held in registers.

    Warps are a power of two near columns / 1024, from 1 to 16. A lane then holds 32 to 64 values: enough bytes under
    way for the memory's latency, and far from spilling (up to 8192 columns). Up to 2046 columns a row is summed by
    shuffles in one warp, without a barrier. The choice depends on the columns only, so that a row is summed in the same
    order in every batch.
    """
    main, tail = blocks(columns)
    thousands = (main + tail) // 1024
    return RowLaunch(columns, main, tail, max(1, min(16, 1 << max(0, thousands.bit_length() - 1))))
