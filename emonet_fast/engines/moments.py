"""What the layers' inputs are like over the calibration pictures: their mean, and how they vary together.

It is written once for numpy's arrays and PyTorch's tensors, with the methods that both have.
"""

from dataclasses import dataclass
from typing import Any

# How much more than the differences between tokens those between whole pictures count, see Moments.
BETWEEN_PICTURES = 16.0


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of a layer's inputs.

    What differs from token to token mostly averages out in the pooling head. What a whole picture has in common does
    not, and it is what tells pictures apart: it counts more in the covariance.

    Args:
        mean: [in] float32.
        covariance: [in, in] float32: that over all tokens, plus BETWEEN_PICTURES times that of the pictures' means.
    """

    mean: Any
    covariance: Any


class MomentsCollector:
    """Gathers the inputs [pictures x tokens, in] of one layer, float32, batch after batch.

    Sums are taken about the first batch's mean. Where a channel's mean is a thousand times its deviation, as for a
    massive activation, float32 would lose the deviation otherwise.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._origin: Any = None
        self._products: Any = 0.0
        self._means: list[Any] = []

    def add(self, x: Any) -> None:
        """Add the inputs x [pictures x tokens, in] of whole pictures, one after the other."""
        if self._origin is None:
            self._origin = x.mean(0)
        x = x - self._origin
        self._products += x.T @ x
        self._means += list(x.reshape(-1, self._tokens, x.shape[1]).mean(1))

    def moments(self) -> Moments:
        """Return the moments of all that was added: two pictures or more."""
        count = len(self._means)
        mean = sum(self._means) / count
        covariance = self._products / (count * self._tokens)
        covariance -= mean[:, None] * mean[None, :]
        for one in self._means:
            apart = one - mean
            covariance += (BETWEEN_PICTURES / (count - 1)) * (apart[:, None] * apart[None, :])
        return Moments(self._origin + mean, covariance)
