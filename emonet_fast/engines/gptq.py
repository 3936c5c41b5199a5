"""Rounds a layer's weights to e4m3 with regard to its inputs: each weight makes up for those rounded before it.

Rounding to nearest makes the error of each weight smallest. What counts is the error of the layer's output,
trace(E C E^T) with E = W - W8 and C the covariance of the inputs. Where inputs vary together, one weight can take back
the error of another. Source: Frantar et al., "GPTQ", arXiv 2210.17323, in the order of falling variance.

It is written once for numpy's arrays and PyTorch's tensors: `xp` is the one module or the other.
"""

from collections.abc import Callable
from typing import Any

# Added to the covariance's diagonal as a share of its mean, so that directions which the calibration pictures hardly
# show are not traded for those which they show.
_DAMPING = 0.01
# So many columns are rounded before their errors go to the rest of the matrix: by one product instead of many.
_COLUMNS = 128


class Rounding:
    """Rounds the weights of all matrices that share their inputs, whose covariance [in, in] is float32.

    `nearest` rounds float32 values to the nearest of e4m3, as float32. `xp` is numpy or torch, the kind of all arrays.
    """

    def __init__(self, covariance: Any, nearest: Callable[[Any], Any], xp: Any) -> None:
        self._nearest, self._xp = nearest, xp
        self._order = (-covariance.diagonal()).argsort()
        self._carry = _carry(covariance[self._order][:, self._order], xp)

    def __call__(self, weight: Any, scale: Any) -> Any:
        """Round weight [out, in] with scale [out] or [1], both float32, to codes [out, in]: e4m3's values as float32.

        Code times scale is the weight that the product sees.
        """
        xp, carry = self._xp, self._carry
        rest = (weight / scale.reshape(-1, 1))[:, self._order]  # in units of the codes
        codes = xp.empty_like(rest)
        for start in range(0, rest.shape[1], _COLUMNS):
            end = min(start + _COLUMNS, rest.shape[1])
            block, errors = rest[:, start:end], xp.empty_like(rest[:, start:end])
            for j in range(end - start):
                row = carry[start + j, start:end]
                codes[:, start + j] = self._nearest(block[:, j])
                errors[:, j] = (block[:, j] - codes[:, start + j]) / row[j]
                block[:, j + 1 :] -= xp.outer(errors[:, j], row[j + 1 :])
            rest[:, end:] -= errors @ carry[start:end, end:]
        unsorted = xp.empty_like(codes)
        unsorted[:, self._order] = codes
        return unsorted


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
