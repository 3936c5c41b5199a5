"""Which face crops are scored, and which take over the scores of their track's last scored crop."""

from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from ..records import Face
from .overlap import boxes_of, overlaps


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """When a track's face is scored again. The default scores every face.

    Args:
        every: score a track in every so many sampled frames at least; None leaves that out.
        change: score a track whenever its box changed by more than this since the last scored crop, as 1 minus
            intersection over union; None leaves that out.

    Raises:
        OptionError: when `every` is below 1, `change` is not within 0..1, or both are None.
    """

    every: int | None = 1
    change: float | None = None

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise OptionError(f"score_every is {self.every}; expected 1 or more frames")
        if self.change is not None and not 0 <= self.change <= 1:
            raise OptionError(f"score_change is {self.change}; expected 0 to 1")
        if self.every is None and self.change is None:
            raise OptionError("neither score_every nor score_change is given; expected one of them")

    @property
    def scores_all(self) -> bool:
        """Whether every face is scored."""
        return self.every == 1

    def due(self, face: Face, last: Face, frames: int) -> bool:
        """Whether a track's face is scored again; `last` was scored, so many sampled `frames` ago."""
        if self.every is not None and frames >= self.every:
            return True
        if self.change is None:
            return False
        shared = float(overlaps(boxes_of([face]), boxes_of([last]))[0, 0])
        return bool(np.float64(1 - shared) > self.change)
