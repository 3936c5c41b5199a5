"""From raw head outputs to scores: the published arithmetic, and the checks of what goes in and comes out.

    score   = float64(float32 raw) - neutral mean of the head (mean-subtracted)
    softmax = softmax over the 40 emotions' score, temperature 1 (extra dimensions get none)

Source: the published outputs of EmpathicInsight-Face, reproduced to 1.2e-7.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from . import taxonomy
from .errors import OptionError
from .records import Float32Array, Float64Array, Status
from .text import listed

LIKELY_RANGE = (-20.0, 20.0)
EMOTIONS: tuple[str, ...] = tuple(d.slug for d in taxonomy.EMOTIONS)
_NAMED = 10  # emotions named in one note
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


def missing_note(slugs: tuple[str, ...]) -> list[str]:
    """One note that names the emotions without a head, where some of the 40 have none."""
    missing = [s for s in EMOTIONS if s not in slugs]
    if not missing:
        return []
    return [f"no head for {len(missing)} of the 40 emotions ({listed(missing, _NAMED)}): no softmax"]


def scaling_note(raw: Float32Array) -> list[str]:
    """One note where rows of [N, D] `raw` lie outside LIKELY_RANGE, which counts them and names the worst value."""
    low, high = LIKELY_RANGE
    outside = (raw < low) | (raw > high)  # NaN compares false
    if not outside.any():
        return []
    worst = float(raw[outside][np.argmax(np.abs(raw[outside]))])
    rows = int(outside.any(axis=1).sum())
    return [f"{rows} of {len(raw)} rows have raw scores outside {low:g}..{high:g} (worst {worst:.4g}): {SCALING}"]


def checked_slugs(names: Sequence[str], values: Float32Array) -> tuple[str, ...]:
    """The columns' slugs, one for each column of `values`. Raises OptionError when names do not fit."""
    slugs = tuple(taxonomy.find(n).slug for n in names)
    if values.ndim != 2 or values.shape[1] != len(slugs):
        raise OptionError(f"raw has shape {values.shape}; expected [N, {len(slugs)}], one column a name")
    if "" in slugs:
        raise OptionError(f"names holds {names[slugs.index('')]!r}; expected a name with letters or digits")
    if len(set(slugs)) != len(slugs):
        raise OptionError(f"names occur twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
    return slugs


def checked_embeddings(embeddings: Float32Array, n: int) -> Float32Array:
    """[N, W] float32. Raises OptionError when there is not one row for each of n."""
    vectors = np.asarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != n:
        raise OptionError(f"embeddings has shape {vectors.shape}; expected [{n}, width], one row for each of raw")
    return vectors


def fail_rows_not_finite(
    values: Float32Array, vectors: Float32Array | None, states: list[Status], reasons: list[str]
) -> None:
    """Turn "ok" rows with NaN or infinities into "failed", in place."""
    finite = {"the engine gave a value that is not finite": np.isfinite(values).all(axis=1)}
    if vectors is not None:
        finite["embeddings are not finite"] = np.isfinite(vectors).all(axis=1)
    for fault, good in finite.items():
        for i in np.flatnonzero(~good):
            if states[i] == Status.OK:
                states[i] = Status.FAILED
                reasons[i] = "; ".join(filter(None, [reasons[i], fault]))


def checked_means(slugs: tuple[str, ...], neutral_means: Mapping[str, float]) -> Float64Array:
    """[D] neutral means of these columns. Raises OptionError when one is missing, not finite, or given twice."""
    by_slug: dict[str, float] = {}
    for name, mean in neutral_means.items():
        slug, value = taxonomy.find(name).slug, float(mean)
        if not math.isfinite(value):
            raise OptionError(f"neutral_means gives {slug!r} as {value}; expected a finite number")
        if by_slug.setdefault(slug, value) != value:
            raise OptionError(f"neutral_means gives {slug!r} twice: {by_slug[slug]} and {value}")
    missing = [s for s in slugs if s not in by_slug]
    if missing:
        raise OptionError(f"neutral_means lacks {missing}; expected a mean for each of {len(slugs)} heads")
    return np.array([by_slug[s] for s in slugs], dtype=np.float64)
