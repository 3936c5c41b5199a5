"""How far scores agree with what a data set says of its own pictures, where that names emotions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...datasets.labels import annotations, emotion_slug
from ...errors import DataError

# So many values without a single emotion, and a column is taken for something else (an age, a prompt).
_TRIES = 200


@dataclass
class LabelAgreement:
    """Ranks of a column's emotions among all emotions of their rows.

    A label that holds experts' ratings counts as the emotion that they rate highest on average.

    Args:
        emotions: E column names.
        strange: How many values name no emotion.
        ranks: [E, E] int64, rows whose label is the first index and stood at the place of the second, 0 the strongest.
    """

    emotions: tuple[str, ...]
    strange: int = 0
    ranks: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        self.ranks = np.zeros((len(self.emotions), len(self.emotions)), np.int64)
        self._index = {name: i for i, name in enumerate(self.emotions)}
        self._known: dict[Any, int | None] = {}

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
            emotion = self._emotion(label)
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

    def _emotion(self, label: Any) -> int | None:
        if not isinstance(label, str):
            return None
        if label not in self._known:
            if len(self._known) > 10_000:  # texts that are all different
                self._known.clear()
            self._known[label] = self._index.get(_slug(label) or "")
        return self._known[label]


def _slug(label: str) -> str | None:
    """The emotion that a label names, or that experts rate highest; None if there is none, or no single one."""
    try:
        if not label.lstrip().startswith(("[", "{")):
            return emotion_slug(label)
        answers, _ = annotations(label, "label")
    except DataError:
        return None
    sums: dict[str, float] = {}
    for ratings in answers.values():
        for slug, value in ratings.items():
            sums[slug] = sums.get(slug, 0.0) + value
    strongest = max(sums.values(), default=0.0)
    names = [slug for slug, value in sums.items() if value == strongest]
    return names[0] if strongest > 0 and len(names) == 1 else None
