"""Rounds a layer's weights to e4m3 with regard to its inputs: each weight makes up for those rounded before it.

Rounding to nearest makes the error of each weight smallest. What counts is the error of the layer's output,
trace(E C E^T) with E = W - W8 and C the covariance of the inputs. Where inputs vary together, one weight can take back
the error of another. Source: Frantar et al., "GPTQ", arXiv 2210.17323, in the order of falling variance.

It is written once for numpy's arrays and PyTorch's tensors: `xp` is the one module or the other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

# Added to the covariance's diagonal as a share of its mean, so that directions which the calibration pictures hardly
# show are not traded for those which they show.
_DAMPING = 0.01
# So many columns are rounded before their errors go to the rest of the matrix: by one product instead of many.
_COLUMNS = 128


class Rounding:
    """Rounds the weights of layers of one shape together, column by column: a GPU then has few launches, not many.

    Each layer's codes are those that it would get alone, to the bit.

    Args:
        covariances: of each layer's inputs, [in, in] float32. They are taken one after the other, so that a generator
            can give each one up.
        nearest: rounds float32 values to the nearest of e4m3, as float32.
        xp: numpy or torch, the kind of all arrays.
    """

    def __init__(self, covariances: Iterable[Any], nearest: Callable[[Any], Any], xp: Any) -> None:
        self._nearest, self._xp = nearest, xp
        self._layers = [_ordered(covariance, xp) for covariance in covariances]

    def __call__(self, weights: Sequence[Any], scales: Sequence[Any]) -> Any:
        """Round weights [out, in] with scales [out] or [1], float32, to codes [layers, out, in]: e4m3's values.

        Codes are float32 too. Code times scale is the weight that the product sees.
        """
        xp, layers = self._xp, self._layers
        rest = xp.stack(list(weights))  # in units of the codes; rounded columns become the codes
        for i, (order, _) in enumerate(layers):
            rest[i] = (rest[i] / scales[i].reshape(-1, 1))[:, order]
        for start in range(0, rest.shape[2], _COLUMNS):
            end = min(start + _COLUMNS, rest.shape[2])
            block, errors = rest[:, :, start:end], xp.empty_like(rest[:, :, start:end])
            rows = xp.stack([carry[start:end, start:end] for _, carry in layers])
            for j in range(end - start):
                codes = self._nearest(block[:, :, j])
                errors[:, :, j] = (block[:, :, j] - codes) / rows[:, j, j, None]
                block[:, :, j] = codes
                block[:, :, j + 1 :] -= errors[:, :, j, None] * rows[:, None, j, j + 1 :]
            # One product a layer: a batched one may sum in another order.
            for i, (_, carry) in enumerate(layers):
                rest[i, :, end:] -= errors[i] @ carry[start:end, end:]
        for i, (order, _) in enumerate(layers):
            unsorted = xp.empty_like(rest[i])
            unsorted[:, order] = rest[i]
            rest[i] = unsorted
        return rest


def _ordered(covariance: Any, xp: Any) -> tuple[Any, Any]:
    """The order in which a layer's columns are rounded, and what they carry on, see _carry."""
    order = (-covariance.diagonal()).argsort()
    return order, _carry(covariance[order][:, order], xp)


def _carry(covariance: Any, xp: Any) -> Any:
    """The Cholesky factor of the inverse covariance: row j over its diagonal is what the columns after j take on.

    Upper triangular, float32, computed in float64: massive activations make its condition bad.
    """
    matrix = xp.asarray(covariance, dtype=xp.float64)
    mean = float(matrix.diagonal().mean())
    # No variance at all: nothing to trade, and any positive diagonal rounds to nearest.
    at = xp.arange(len(matrix))
    matrix[at, at] += _DAMPING * mean if mean > 0 else 1.0
    inverse = xp.linalg.inv(matrix)
    return xp.asarray(xp.linalg.cholesky(inverse).T, dtype=xp.float32)
