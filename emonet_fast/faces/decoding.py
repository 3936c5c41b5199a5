"""YuNet's 12 outputs to boxes, and non-maximum suppression.

At stride s the cell in row r and column c gives

    score  = sqrt(clip(cls, 0, 1) x clip(obj, 0, 1))
    centre = ((c + dx) s, (r + dy) s)        size = (exp(dw) s, exp(dh) s)        with bbox = (dx, dy, dw, dh)
    landmark k = ((c + kps[2k]) s, (r + kps[2k + 1]) s)

Source: Wu, Peng, Yu: YuNet, Machine Intelligence Research 2023, and OpenCV's FaceDetectorYN, which this equals.
"""

from collections.abc import Mapping

import numpy as np

from ..records import Float32Array, Float64Array
from .geometry import overlaps

STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
# So many of the strongest candidates go into suppression, which bounds its n x n table.
MAX_CANDIDATES = 1000
_MAX_EXPONENT = 10.0  # exp(10) x 32 pixels is wider than any picture; only a broken model gives more


def candidates(
    outputs: Mapping[str, Float32Array], index: int, width: int, height: int, min_score: float
) -> Float64Array:
    """Rows (x, y, width, height, score, 10 landmark coordinates) of picture `index`: [n, 15], strongest first.

    The 12 outputs are arrays [batch, cells, k], of an input of width x height. Rows that are not finite are dropped.
    """
    rows = []
    for stride in STRIDES:
        cls, obj, bbox, kps = (outputs[f"{kind}_{stride}"][index] for kind in WIDTHS)
        score = np.sqrt(np.clip(cls[:, 0].astype(np.float64), 0, 1) * np.clip(obj[:, 0].astype(np.float64), 0, 1))
        kept = np.flatnonzero(score >= min_score)
        bbox, kps = bbox[kept].astype(np.float64), kps[kept].astype(np.float64)  # few of the cells have a face
        columns = width // stride
        cell = np.stack([kept % columns, kept // columns], axis=1)
        size = np.exp(np.minimum(bbox[:, 2:], _MAX_EXPONENT)) * stride
        centre = (cell + bbox[:, :2]) * stride
        marks = (np.tile(cell, 5) + kps) * stride
        rows.append(np.concatenate([centre - size / 2, size, score[kept, None], marks], axis=1))
    every: Float64Array = np.concatenate(rows)
    every = every[np.isfinite(every).all(axis=1)]
    strongest: Float64Array = every[np.argsort(-every[:, 4], kind="stable")][:MAX_CANDIDATES]
    return strongest


def suppress(rows: Float64Array, threshold: float) -> Float64Array:
    """The rows, strongest first, without those that overlap a stronger one of the result by more than this IoU."""
    table = overlaps(rows[:, :4], rows[:, :4])
    free = np.ones(len(rows), bool)
    kept = []
    for i in range(len(rows)):
        if free[i]:
            kept.append(i)
            free &= table[i] <= threshold
    return rows[kept]
