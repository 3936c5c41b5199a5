"""What is summarised of a row: a value of each head, the entropy of its softmax, derived valence and arousal."""

from collections.abc import Sequence

import numpy as np

from .. import taxonomy
from ..baseline import Baseline
from ..errors import OptionError
from ..records import Float32Array, Float64Array, Status
from ..scores import Scores
from .circumplex import derive, missing
from .functionals import Ids

# What share_above takes by default: the annotators' first step, four times what chance gives each of 40 emotions, and
# what is rare in a normal population.
ABOVE = {"raw": 1.0, "score": 1.0, "softmax": 0.1, "z": 2.0}


class Readings:
    """Makes what is summarised of raw scores.

    Args:
        names: D slugs of the heads.
        means: [D] float64, the neutral means; None without.
        kind: of `Scores.kinds`.
        baseline: what z is against.
        metadata: of the scores.

    Attributes:
        dimensions: (name, kind) of each of the V columns.
        strongest_by: the kind of value by which the strongest emotion is the strongest.

    Raises:
        OptionError: when these scores have no such kind, no emotion, or the baseline is of another checkpoint.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        means: Float64Array | None,
        kind: str,
        baseline: Baseline | None,
        metadata: dict[str, str],
    ) -> None:
        self._names, self._means, self.kind, self.baseline, self._metadata = names, means, kind, baseline, metadata
        none = self._scores(np.zeros((0, len(names)), np.float32))
        emotions, _ = none.ranking(kind)  # refuses a kind that is not there
        if not emotions:
            raise OptionError(f"the scores have none of the 40 emotions, only {', '.join(names[:5])}")
        self.strongest_by = none.value_kind
        self._derived = missing(names) if none.has_score else ()
        columns = [(name, kind) for name in (emotions if kind == "softmax" else names)]
        entropy = [("entropy", "bits")] if none.has_softmax else []
        self.dimensions = (*columns, *((name, "derived") for name in self._derived), *entropy)
        self._group_of = np.array([taxonomy.GROUPS.index(taxonomy.find(slug).group) for slug in emotions], np.intp)

    def __call__(self, raw: Float32Array) -> tuple[Float64Array, Ids]:
        """[n, V] float64, and [n] the places in taxonomy.GROUPS of the strongest emotions' groups; of [n, D] raw."""
        scores = self._scores(raw)
        parts: Sequence[Float64Array] = [
            {"raw": raw.astype(np.float64), "score": scores.score, "softmax": scores.softmax, "z": scores.z}[self.kind],
            derive(scores.score, self._names, self._derived) if self._derived else np.zeros((len(raw), 0)),
            bits(scores.softmax)[:, None] if scores.has_softmax else np.zeros((len(raw), 0)),
        ]
        _, ranked = scores.ranking()
        strongest = np.argmax(np.where(np.isnan(ranked), -np.inf, ranked), axis=1)
        return np.concatenate(parts, axis=1), self._group_of[strongest]

    def _scores(self, raw: Float32Array) -> Scores:
        n = len(raw)
        scores = Scores.of_checked(
            raw,
            self._names,
            self._means,
            keys=[""] * n,
            status=[Status.OK] * n,
            reason=[""] * n,
            embeddings=None,
            notes=(),
            metadata=self._metadata,
        )
        return scores if self.baseline is None else scores.against(self.baseline)


def bits(shares: Float64Array) -> Float64Array:
    """[n] Shannon entropy in bits of [n, K] shares; what is 0 adds nothing."""
    # 0 less the sum: a minus before it would write -0.0 for one share alone
    return np.asarray(0.0 - np.sum(shares * np.log2(np.where(shares > 0, shares, 1.0)), axis=1))
