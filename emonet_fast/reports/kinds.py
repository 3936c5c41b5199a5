"""The kinds of values that a page ranks emotions by, all from what is kept of rows: raw scores and softmax.

score = raw - neutral mean, z = (raw - median) / spread: both follow from raw, and their means and peaks from raw's.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..arithmetic import EMOTIONS, emotion_softmax
from ..baseline import Baseline
from ..records import Float32Array, Float64Array
from ..scores import Scores


@dataclass(slots=True)
class Kinds:
    """What is known of the E emotions of a page's rows.

    Args:
        names: `Scores.names`.
        emotions: The E slugs of `Scores.ranking`.
        has_softmax: Whether rows have softmax.
        neutral: [E] float64 neutral means; None where nothing is subtracted, or no row has scores yet.
    """

    names: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    has_softmax: bool = False
    neutral: Float64Array | None = None

    def learn(self, scores: Scores) -> None:
        """Take in what a batch of the same heads says."""
        if scores.names != self.names:
            self.names, self.has_softmax = scores.names, scores.has_softmax
            self.emotions = tuple(slug for slug in EMOTIONS if slug in scores.names)
        if self.neutral is None and scores.has_score and scores.ok.any():
            row = int(np.argmax(scores.ok))
            self.neutral = (scores.raw[row].astype(np.float64) - scores.score[row])[self.places]

    @property
    def places(self) -> list[int]:
        """The emotions' columns in `Scores.raw`."""
        return [self.names.index(slug) for slug in self.emotions]

    def tables(self, scores: Scores) -> Float64Array:
        """[N, 2E] float64 of N rows: raw scores and softmax of the emotions; NaN where there are none."""
        softmax = scores.softmax[:, [EMOTIONS.index(slug) for slug in self.emotions]]
        return np.concatenate([scores.raw[:, self.places].astype(np.float64), softmax], axis=1)

    def of_raw(self, raw: Float32Array) -> Float64Array:
        """`tables` of the raw scores [N, D] of rows that have scores."""
        own = raw[:, self.places].astype(np.float64)
        softmax = np.full(own.shape, np.nan)
        if self.has_softmax and self.neutral is not None:
            softmax = emotion_softmax(own - self.neutral, self.emotions)
        return np.concatenate([own, softmax], axis=1)

    def ranked(self, baseline: Baseline | None) -> bool:
        """Whether there is z: not without a baseline, nor against one in which no head ever moves, as of one row."""
        return baseline is not None and bool(np.isfinite(baseline.spread[self.places]).any())

    def there(self, baselines: Iterable[Baseline | None]) -> tuple[str, ...]:
        """The kinds of `Scores.kinds` that the page can show; `baselines` are those of its rows."""
        known = {
            "raw": True,
            "score": self.neutral is not None,
            "softmax": self.has_softmax,
            "z": any(map(self.ranked, baselines)),
        }
        return tuple(kind for kind, is_there in known.items() if is_there)

    def values(self, kind: str, tables: Float64Array, baseline: Baseline | None) -> Float64Array:
        """[..., E] values of a kind, of [..., 2E] `tables` of rows, or of their means or peaks."""
        count = len(self.emotions)
        shift, scale = self.scale(kind, baseline)
        return tables[..., count:] if kind == "softmax" else (tables[..., :count] - shift) / scale

    def scale(self, kind: str, baseline: Baseline | None) -> tuple[Float64Array, Float64Array]:
        """What is subtracted from raw scores, and what they are then divided by, [E] each."""
        if kind == "z" and baseline is not None:
            return baseline.median[self.places], baseline.spread[self.places]
        zero = np.zeros(len(self.emotions))
        return zero if kind != "score" or self.neutral is None else self.neutral, zero + 1
