"""The EmoNet-Face taxonomy: 40 emotions in 7 groups, 4 extra dimensions, and every spelling of their names.

Order of the emotions: that of the annotation guide (EmoNet-Face, LAION, NeurIPS 2025).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_GROUPS: dict[str, tuple[str, ...]] = {
    "Positive High-Energy": (
        "Amusement", "Elation", "Pleasure/Ecstasy", "Hope/Enthusiasm/Optimism", "Triumph", "Interest", "Awe",
        "Astonishment/Surprise", "Teasing",
    ),
    "Positive Low-Energy": (
        "Contentment", "Thankfulness/Gratitude", "Affection", "Relief", "Contemplation", "Pride",
    ),
    "Negative High-Energy": (
        "Fear", "Anger", "Malevolence/Malice", "Disgust", "Impatience and Irritability", "Distress",
    ),
    "Negative Low-Energy": (
        "Sadness", "Bitterness", "Contempt", "Disappointment", "Shame", "Emotional Numbness", "Doubt",
        "Jealousy & Envy", "Embarrassment", "Helplessness",
    ),
    "Cognitive States and Processes": ("Concentration", "Confusion"),
    "Physical and Exhaustive States": (
        "Pain", "Fatigue/Exhaustion", "Intoxication/Altered States of Consciousness", "Sourness",
    ),
    "Longing & Lust": ("Longing", "Sexual Lust", "Infatuation"),
}  # fmt: skip

_EMOTIONS = (
    "Amusement", "Elation", "Pleasure/Ecstasy", "Contentment", "Thankfulness/Gratitude", "Affection",
    "Infatuation", "Hope/Enthusiasm/Optimism", "Triumph", "Pride", "Interest", "Awe", "Astonishment/Surprise",
    "Concentration", "Contemplation", "Relief", "Longing", "Teasing", "Impatience and Irritability",
    "Sexual Lust", "Doubt", "Fear", "Distress", "Confusion", "Embarrassment", "Shame", "Disappointment",
    "Sadness", "Bitterness", "Contempt", "Disgust", "Anger", "Malevolence/Malice", "Sourness", "Pain",
    "Helplessness", "Fatigue/Exhaustion", "Emotional Numbness",
    "Intoxication/Altered States of Consciousness", "Jealousy & Envy",
)  # fmt: skip

_EXTRAS = {
    "Arousal": (0.0, 7.0),
    "Valence": (-3.0, 3.0),
    "Dominance": (-3.0, 3.0),
    "Emotional Vulnerability": (0.0, 5.0),
}


def file_stem(name: str) -> str:
    """Name of a head's published file without ".pth": `model_jealousy_&_envy_best`."""
    return "model_" + name.lower().replace("/", "_").replace(" ", "_") + "_best"


def slug(name: str) -> str:
    """Name of a column, of lower-case letters, digits and single underscores: `jealousy_envy`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@dataclass(frozen=True, slots=True)
class Dimension:
    """What one head measures.

    Args:
        name: official name.
        slug: name of its columns.
        group: one of the 7 groups, "" for an extra dimension.
        file_stem: published file name without its ending.
        scale: lowest and highest score that annotators could give.
    """

    name: str
    slug: str
    group: str
    file_stem: str
    scale: tuple[float, float]

    @property
    def is_emotion(self) -> bool:
        """Whether it is one of the 40 emotions, which enter the softmax."""
        return self.group != ""


def _dimension(name: str) -> Dimension:
    group = next((g for g, members in _GROUPS.items() if name in members), "")
    scale = _EXTRAS.get(name, (0.0, 7.0))
    return Dimension(name, slug(name), group, file_stem(name), scale)


EMOTIONS: tuple[Dimension, ...] = tuple(_dimension(n) for n in _EMOTIONS)
EXTRA_DIMENSIONS: tuple[Dimension, ...] = tuple(_dimension(n) for n in _EXTRAS)
DIMENSIONS: tuple[Dimension, ...] = EMOTIONS + EXTRA_DIMENSIONS
GROUPS: tuple[str, ...] = tuple(_GROUPS)
_BY_SLUG = {d.slug: d for d in DIMENSIONS}


def find(name: str) -> Dimension:
    """The dimension of any spelling: official name, slug, `model_..._best`, or a file name ending in .pth.

    A name outside the taxonomy gives a Dimension without a group, which is scored and does not enter the softmax.
    "Hopelessness" is such a name. The Binary data set writes it for "Helplessness", and its readers rename it. Here
    it stays, because a head's name decides what enters the softmax.
    """
    stem = name.removesuffix(".pth")
    bare = stem.removeprefix("model_").removesuffix("_best") if stem.startswith("model_") else stem
    key = slug(bare)
    return _BY_SLUG.get(key) or Dimension(bare, key, "", file_stem(bare), (float("-inf"), float("inf")))


def canonical_order(names: Iterable[str]) -> list[str]:
    """The slugs of these names: emotions in the guide's order, extra dimensions, then unknown ones by name."""
    rank = {d.slug: i for i, d in enumerate(DIMENSIONS)}
    return sorted((find(n).slug for n in names), key=lambda s: (rank.get(s, len(rank)), s))
