"""From raw head outputs to scores: the published arithmetic, and the note on scores outside the trained scale.

    mean_subtracted = float64(float32 raw) - neutral mean of the head
    softmax         = softmax over the 40 emotions' mean_subtracted, temperature 1 (extra dimensions get none)

Source: the published outputs of EmpathicInsight-Face, reproduced to 1.2e-7.
"""

import numpy as np

from . import taxonomy
from .records import Float32Array, Float64Array

LIKELY_RANGE = (-20.0, 20.0)
EMOTIONS: tuple[str, ...] = tuple(d.slug for d in taxonomy.EMOTIONS)
SCALING = "likely a scaling fault, such as embeddings that were not L2-normalised; do not trust these scores"


def softmax(scores: Float64Array) -> Float64Array:
    """Row-wise softmax of [N, K] at temperature 1; rows that hold NaN or an infinity give NaN."""
    if scores.shape[1] == 0:
        return scores.astype(np.float64)
    finite = np.isfinite(scores).all(axis=1, keepdims=True)
    # Row-major, or numpy sums in an order that depends on N, and a row's last bit on the rows beside it.
    known = np.ascontiguousarray(np.where(finite, scores, 0.0))
    e = np.exp(known - known.max(axis=1, keepdims=True))
    return np.where(finite, e / e.sum(axis=1, keepdims=True), np.nan)


def emotion_softmax(subtracted: Float64Array, slugs: tuple[str, ...]) -> Float64Array:
    """[N, 40] softmax of the emotions' columns of [N, D] `subtracted`; NaN where one of the 40 has no head."""
    if not set(EMOTIONS) <= set(slugs):
        return np.full((len(subtracted), len(EMOTIONS)), np.nan)
    return softmax(subtracted[:, [slugs.index(s) for s in EMOTIONS]])


def scaling_note(raw: Float32Array) -> list[str]:
    """One note where rows of [N, D] `raw` lie outside LIKELY_RANGE, which counts them and names the worst value."""
    low, high = LIKELY_RANGE
    outside = (raw < low) | (raw > high)  # NaN compares false
    if not outside.any():
        return []
    worst = float(raw[outside][np.argmax(np.abs(raw[outside]))])
    rows = int(outside.any(axis=1).sum())
    return [f"{rows} of {len(raw)} rows have raw scores outside {low:g}..{high:g} (worst {worst:.4g}): {SCALING}"]
