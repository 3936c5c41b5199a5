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

    def __call__(
        self, weights: Sequence[Any], scales: Sequence[Any], nearest: Callable[[Any], Any] | None = None
    ) -> Any:
        """Round weights [out, in] with scales [out] or [1], float32, to codes [layers, out, in]: e4m3's values.

        Codes are float32 too. Code times scale is the weight that the product sees. `nearest` stands in for the one
        that was given, where the same layers are rounded to other codes as well.
        """
        xp, layers, nearest = self._xp, self._layers, nearest or self._nearest
        # [layers, in, out] in units of the codes, so that a column lies in one piece; what is rounded becomes the codes
        rest = xp.stack([_columns(w, s, order) for w, s, (order, _) in zip(weights, scales, layers, strict=True)])
        for start in range(0, rest.shape[1], _COLUMNS):
            end = min(start + _COLUMNS, rest.shape[1])
            block, rows = rest[:, start:end], xp.stack([carry[start:end, start:end] for _, carry in layers])
            chosen = [order[start:end] for order, _ in layers]
            errors = xp.stack([_columns(*one) for one in zip(weights, scales, chosen, strict=True)])
            for j in range(end - start):
                codes = nearest(block[:, j])
                errors[:, j] -= codes
                block[:, j] = codes
                block[:, j + 1 :] += rows[:, j, j + 1 :, None] * errors[:, j, None]
            # One product a layer: a batched one may sum in another order.
            for i, (_, carry) in enumerate(layers):
                rest[i, end:] += carry[start:end, end:].T @ errors[i]
        codes = xp.stack(list(weights))
        for i, (order, _) in enumerate(layers):
            codes[i][:, order] = rest[i].T
        return codes


def _columns(weight: Any, scale: Any, order: Any) -> Any:
    """The columns `order` of weight [out, in] over its scales: [columns, out]."""
    return weight.T[order] / scale


def _ordered(covariance: Any, xp: Any) -> tuple[Any, Any]:
    """The order in which a layer's columns are rounded, and what they carry on, see _carry."""
    order = (-covariance.diagonal()).argsort()
    return order, _carry(covariance[order][:, order], xp)


def _carry(covariance: Any, xp: Any) -> Any:
    """What each column after j takes on of j's error (its weights less their codes): row j of the result.

    For the covariance R R^T, with R upper triangular, that is R over the diagonal of its columns: the form of Chee et
    al., "QuIP", arXiv 2307.13304, who prove it equal to GPTQ's, and which needs no inverse. float32, computed in
    float64: massive activations make the covariance's condition bad.
    """
    matrix = xp.asarray(covariance, dtype=xp.float64)
    mean = float(matrix.diagonal().mean())
    # No variance at all: nothing to trade, and any positive diagonal rounds to nearest.
    at = xp.arange(len(matrix))
    matrix[at, at] += _DAMPING * mean if mean > 0 else 1.0
    upper = xp.flip(xp.linalg.cholesky(xp.flip(matrix, (0, 1))), (0, 1))
    return xp.asarray(upper / upper.diagonal(), dtype=xp.float32)
