"""What a DALI run gives: decoded pictures where DALI has them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...records import UInt8Array


@dataclass(frozen=True, slots=True)
class Output:
    """One DALI output.

    Args:
        places: of its pictures in the run.
        tensors: DALI's TensorList, which keeps the memory.
    """

    places: tuple[int, ...]
    tensors: Any

    def on_host(self) -> list[UInt8Array]:
        """Each picture's array [h, w, 3], which keeps its memory. A list's `at` copies, its tensors do not."""
        on_cpu = self.tensors.as_cpu()
        return [np.asarray(on_cpu[i]) for i in range(len(on_cpu))]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run.

    Args:
        outputs: what DALI gave, mostly one.
        failed: places of samples that DALI cannot decode.
    """

    outputs: tuple[Output, ...]
    failed: tuple[int, ...]
