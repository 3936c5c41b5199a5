"""Rounding a layer's weights to e4m3 with regard to its inputs: each weight makes up for those rounded before it.

Rounding to nearest makes the error of each weight smallest. What counts is the error of the layer's output,
trace(E C E^T) with E = W - W8 and C the covariance of the inputs: where inputs vary together, the error of one weight
can be taken back by another. Source: Frantar et al., "GPTQ", arXiv 2210.17323, in the order of falling variance.
"""

from typing import Any

from ...optional import need
from .linear import E4M3_MAX

# Added to the covariance's diagonal as a share of its mean: directions that the calibration pictures hardly show
# are not to be traded for those that they show.
_DAMPING = 0.01
# Columns that are rounded before the rest of the matrix hears of it: one product then instead of many.
_COLUMNS = 128


def round_weights(weight: Any, scale: Any, covariance: Any) -> Any:
    """weight [out, in] float32, scale [out] float32, covariance [in, in] -> codes [out, in] float8_e4m3fn.

    Code times scale is the weight that the product sees.
    """
    torch = need("torch", "the GPU engine")
    order = torch.argsort(covariance.diagonal(), descending=True)
    carry = _carry(covariance[order][:, order])
    rest = (weight / scale.unsqueeze(1))[:, order]  # in units of the codes
    codes = torch.empty_like(rest)
    for start in range(0, rest.shape[1], _COLUMNS):
        end = min(start + _COLUMNS, rest.shape[1])
        block, errors = rest[:, start:end], torch.empty_like(rest[:, start:end])
        for j in range(end - start):
            row = carry[start + j, start:end]
            codes[:, start + j] = _nearest(block[:, j])
            errors[:, j] = (block[:, j] - codes[:, start + j]) / row[j]
            block[:, j + 1 :] -= torch.outer(errors[:, j], row[j + 1 :])
        rest[:, end:] -= errors @ carry[start:end, end:]
    found = torch.empty_like(codes)
    found[:, order] = codes
    return found.to(torch.float8_e4m3fn)


def _carry(covariance: Any) -> Any:
    """Row j over its diagonal: what of column j's error the columns after it take on. Upper triangular, float32.

    The Cholesky factor of the inverse covariance, in float64: massive activations make its condition bad.
    """
    torch = need("torch", "the GPU engine")
    matrix = covariance.double()
    mean = matrix.diagonal().mean()
    # No variance at all: nothing to trade, and any positive diagonal rounds to nearest.
    matrix.diagonal().add_(_DAMPING * mean if mean > 0 else 1.0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
    return torch.linalg.cholesky(inverse, upper=True).float()


def _nearest(values: Any) -> Any:
    """float32 values rounded to e4m3, to nearest; what lies beyond the largest code becomes the largest."""
    torch = need("torch", "the GPU engine")
    return values.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float()
