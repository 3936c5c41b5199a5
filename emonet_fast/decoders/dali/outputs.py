"""What a run gives: rows of pixels where DALI has them, or where the exact resize put them."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ...records import UInt8Array


class Batch:
    """A run's rows in one tensor, for other libraries over DLPack; keeps DALI's memory for as long as it lives.

    tensor: DALI's or PyTorch's. The consumer's stream goes to whose it is, which makes that wait for the data: nothing
    waits for the whole device.
    """

    def __init__(self, tensors: Any, tensor: Any) -> None:
        self._tensors, self._tensor = tensors, tensor

    def __dlpack__(self, **options: Any) -> Any:  # the protocol's own signature
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


@dataclass(frozen=True, slots=True)
class Output:
    """One DALI output: rows of pixels, and their places in the run. tensors: DALI's TensorList, keeps the memory."""

    places: tuple[int, ...]
    tensors: Any

    def on_host(self) -> list[UInt8Array]:
        """Each row's array, where DALI has put it: it keeps that memory. A list's `at` copies, its tensors do not."""
        on_cpu = self.tensors.as_cpu()
        return [np.asarray(on_cpu[i]) for i in range(len(on_cpu))]

    def batch(self) -> Batch:
        """The rows for other libraries, over DLPack; all of one shape."""
        return Batch(self.tensors, self.tensors.as_tensor())


@dataclass(frozen=True, slots=True)
class Resized:
    """As Output, but resized. tensor: torch [n, 3, S, S] uint8. tensors: what it is made from.

    The kernel may still have to read those when this is made: the batch keeps them until its scores are there.
    """

    places: tuple[int, ...]
    tensors: Any
    tensor: Any

    def on_host(self) -> list[UInt8Array]:
        """Each row's array [3, S, S]."""
        return list(self.tensor.cpu().numpy())

    def batch(self) -> Batch:
        """The rows for other libraries, over DLPack."""
        return Batch(self.tensors, self.tensor)


Rows: TypeAlias = Output | Resized


@dataclass(frozen=True, slots=True)
class Result:
    """outputs: what DALI gave, mostly one. failed: places of samples that DALI cannot decode."""

    outputs: tuple[Rows, ...]
    failed: tuple[int, ...]
