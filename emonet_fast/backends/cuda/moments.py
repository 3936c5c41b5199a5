"""What the layers' inputs are like over the calibration pictures: the mean, and how they vary together."""

from dataclasses import dataclass
from typing import Any

from ...optional import need

# How much more than the differences between tokens those between whole pictures count, see Moments.
BETWEEN_PICTURES = 16.0


@dataclass(frozen=True, slots=True)
class Moments:
    """A layer's inputs: mean [in] and covariance [in, in], float32.

    covariance: over all tokens, and BETWEEN_PICTURES times that of the pictures' mean inputs. What differs from
    token to token mostly averages out in the pooling head; what a whole picture has in common does not, and is
    what tells pictures apart.
    """

    mean: Any
    covariance: Any


class Collector:
    """Gathers the inputs [pictures x tokens, in] of one layer, batch after batch.

    Sums are taken about the first batch's mean: where a channel's mean is a thousand times its deviation, as that
    of a massive activation, float32 would lose the deviation otherwise.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._origin: Any = None
        self._products: Any = 0.0
        self._means: list[Any] = []

    def add(self, x: Any) -> None:
        """x: whole pictures, one after the other."""
        x = x.float()
        if self._origin is None:
            self._origin = x.mean(0)
        x = x - self._origin
        self._products = self._products + x.t() @ x
        self._means.append(x.view(-1, self._tokens, x.shape[1]).mean(1))

    def moments(self) -> Moments:
        """Of all that was added; two pictures or more."""
        torch = need("torch", "the GPU engine")
        means = torch.cat(self._means)
        mean = means.mean(0)
        apart = means - mean
        covariance = self._products / (len(means) * self._tokens) - torch.outer(mean, mean)
        covariance += BETWEEN_PICTURES * (apart.t() @ apart) / (len(means) - 1)
        return Moments(self._origin + mean, covariance)
