"""How far scores agree with what a data set says of its own pictures, where that names emotions."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...datasets.labels import annotations, emotion_slug
from ...errors import DataError

# So many values without a single emotion, and a column is taken for something else (an age, a prompt).
_TRIES = 200


class LabelAgreement:
    """Ranks of a column's emotions among all E emotions of their rows.

    A label that holds experts' ratings counts as the emotion that they rate highest on average. The attribute `strange`
    counts the values that name no emotion. `ranks` [E, E] counts the rows whose label is the first index and stood at
    the place of the second, 0 the strongest.
    """

    def __init__(self, emotions: tuple[str, ...]) -> None:
        self.strange = 0
        self.ranks = np.zeros((len(emotions), len(emotions)), np.int64)
        self._index = {name: i for i, name in enumerate(emotions)}
        self._slug = lru_cache(10_000)(_slug)

    @property
    def rows(self) -> int:
        return int(self.ranks.sum())

    def add(self, labels: Sequence[Any], order: npt.NDArray[np.intp]) -> None:
        """Take in N values of the column, and [N, E] indices of emotions, strongest first."""
        if not self.rows and self.strange >= _TRIES:
            return
        for label, row in zip(labels, order, strict=True):
            if label is None or label == "":
                continue
            emotion = self._index.get(self._slug(label)) if isinstance(label, str) else None
            if emotion is None:
                self.strange += 1
            else:
                self.ranks[emotion, int(np.flatnonzero(row == emotion)[0])] += 1

    def within(self, places: int, emotion: int | None = None) -> float:
        """The share of rows whose label is among the strongest `places`, NaN without rows.

        `emotion` counts the rows with this label alone.
        """
        ranks = self.ranks.sum(axis=0) if emotion is None else self.ranks[emotion]
        return float(ranks[:places].sum() / ranks.sum()) if ranks.sum() else float("nan")

    def mean_rank(self, emotion: int) -> float:
        """The mean place of one emotion in its rows, 1 the strongest; NaN without rows."""
        ranks = self.ranks[emotion]
        return float((ranks * np.arange(1, len(ranks) + 1)).sum() / ranks.sum()) if ranks.sum() else float("nan")


def _slug(label: str) -> str:
    """The emotion that a label names, or that experts rate highest; "" if there is none, or no single one."""
    try:
        if not label.lstrip().startswith(("[", "{")):
            return emotion_slug(label) or ""
        answers, _ = annotations(label, "label")
    except DataError:
        return ""
    sums: Counter[str] = Counter()
    for ratings in answers.values():
        sums.update(ratings)
    strongest = max(sums.values(), default=0.0)
    names = [slug for slug, value in sums.items() if value == strongest]
    return names[0] if strongest > 0 and len(names) == 1 else ""
