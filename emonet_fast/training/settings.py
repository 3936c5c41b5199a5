"""What a training is asked for, and the rows that it learns from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ..records import Float32Array
from ..text import counted, listed_have

LOSSES = ("mae", "mse", "bce", "ordinal")
PRECISIONS = ("auto", "fp32", "bf16")
_MOST_BATCH, _LEAST_BATCH = 1024, 16
_STEPS_AN_EPOCH = 64  # at least, where there are rows enough
_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 1200, 12, 40


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a head.

    Args:
        hidden: outputs of the Linear layers before the last, which has one.
        dropout: after each of them, as published: 0.2 in Large, 0.1 in Small.
        learning_rate: the highest of the schedule, for new heads.
    """

    hidden: tuple[int, ...]
    dropout: float
    learning_rate: float


LAYOUTS: Mapping[str, Layout] = {
    "small": Layout((128, 32), 0.1, 2e-3),
    "large": Layout((1024, 512, 256), 0.2, 5e-4),
    "linear": Layout((), 0.0, 1e-2),
}


@dataclass(frozen=True, slots=True)
class Training:
    """How heads are trained. Everything here is ours but the sizes and the dropout; docs/training.md says why.

    Args:
        layout: of LAYOUTS.
        loss: of LOSSES.
        epochs: at most so many; None takes what makes some 1,200 steps, between 12 and 40 epochs.
        seed: of the first weights, the order of rows and dropout.
        patience: a head stops after so many epochs without a lower loss on the stopping part.
        batch_size: rows of a step; None takes a power of 2 from 16 to 1,024, so that an epoch has 64 steps or more.
        learning_rate: None takes the layout's, a third of it where heads go on from others.
        weight_decay: of AdamW.
        precision: of the products: "fp32", "bf16" (weights and sums stay float32), or "auto".
        device: as of PyTorch.

    Raises:
        OptionError: for a value that cannot work.
    """

    layout: str = "small"
    loss: str = "mae"
    epochs: int | None = None
    seed: int = 0
    patience: int = 5
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.01
    precision: str = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, value, words in (
            ("layout", self.layout, LAYOUTS), ("loss", self.loss, LOSSES), ("precision", self.precision, PRECISIONS),
        ):  # fmt: skip
            if value not in words:
                raise OptionError(f"{name} is {value!r}; expected one of {', '.join(words)}")
        for name, count in (("epochs", self.epochs), ("patience", self.patience), ("batch_size", self.batch_size)):
            if count is not None and count < 1:
                raise OptionError(f"{name} is {count}; expected 1 or more")
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed is {self.seed}; expected a whole number from 0 to 2**63 - 1")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise OptionError(f"learning_rate is {self.learning_rate}; expected a number above 0")

    def batch_of(self, rows: int) -> int:
        """Rows of a step, of so many rows of training."""
        if self.batch_size is not None:
            return min(self.batch_size, rows)
        power = 1 << max(rows // _STEPS_AN_EPOCH, 1).bit_length() - 1
        return min(max(power, _LEAST_BATCH), _MOST_BATCH, rows)

    def epochs_of(self, rows: int) -> int:
        """How many epochs, of so many rows of training."""
        steps = math.ceil(rows / self.batch_of(rows))
        return self.epochs or min(max(math.ceil(_STEPS / steps), _LEAST_EPOCHS), _MOST_EPOCHS)


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows to learn from.

    Args:
        values: [N, width] float32 embeddings as the heads take them: of norm 1, where these do.
        targets: [N, H] float32, NaN where there is no label.
        weights: [N, H] float32, at least 0; what has no label counts nothing.
        names: H heads.
        scales: of each head, the lowest and highest label.
        training: rows to learn from.
        stopping: rows that decide when a head stops.
    """

    values: Float32Array
    targets: Float32Array
    weights: Float32Array
    names: tuple[str, ...]
    scales: tuple[tuple[float, float], ...]
    training: npt.NDArray[np.int64]
    stopping: npt.NDArray[np.int64]

    def check(self, loss: str) -> None:
        """Raise DataError where a head has too few labels in a part, or labels that a loss cannot take."""
        for rows, part in ((self.training, "the part to learn from"), (self.stopping, "the part that stops heads")):
            labels = self.targets[rows]
            counts = ((~np.isnan(labels)) & (self.weights[rows] > 0)).sum(axis=0)
            if (counts == 0).any():
                raise DataError(
                    f"{_named(self.names, counts == 0)} no labels in {part} ({counted(len(rows), 'row')}); "
                    "expected some. "
                    "Give more data, hold out another part, or leave these heads out"
                )
        labels = self.targets[self.training]
        spread = np.nanmax(labels, axis=0) - np.nanmin(labels, axis=0)
        if (spread == 0).any():
            raise DataError(
                f"{_named(self.names, spread == 0)} one and the same label in all of "
                f"{counted(len(self.training), 'row')} to "
                "learn from; expected several, as yes and no. Give more data, or leave these heads out"
            )
        if loss in ("bce", "ordinal"):
            self._check_scales(loss)

    def _check_scales(self, loss: str) -> None:
        low, high = np.array(self.scales, np.float64).T
        with np.errstate(invalid="ignore"):
            outside = ((self.targets < low) | (self.targets > high)).any(axis=0) | ~np.isfinite(high - low)
            broken = (low % 1 != 0) | (high % 1 != 0) | (high - low > 100)
        if outside.any():
            raise DataError(f"{_named(self.names, outside)} labels outside their scale; the loss {loss} needs one")
        if loss == "ordinal" and broken.any():
            raise DataError(
                f"{_named(self.names, broken)} a scale that is not of whole levels, which ordinal counts. "
                "Take mae, or give another scale"
            )


def _named(names: tuple[str, ...], which: npt.NDArray[np.bool_]) -> str:
    return listed_have(name for name, one in zip(names, which, strict=True) if one)
