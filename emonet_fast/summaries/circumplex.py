"""Valence and arousal of the 40 emotions, by a published table of emotion words, for checkpoints without such heads.

    derived = sum of weight x coordinate over the emotions below, weight = softmax of their mean-subtracted scores

Source of the coordinates: J. A. Russell and A. Mehrabian (1977), Evidence for a three-factor theory of emotions,
Journal of Research in Personality 11, 273-294: mean ratings of pleasure and arousal of 151 terms, each on -1..1.
"""

from ..arithmetic import softmax
from ..records import Float64Array

SOURCE = "Russell and Mehrabian 1977, doi:10.1016/0092-6566(77)90037-X; softmax-weighted mean over 27 emotions"
DERIVED = ("valence_derived", "arousal_derived")
# The emotion's own word in the table; the mean of two such words; else the words of its synonyms in the annotation
# guide that the table has (contentment: relaxed; doubt: suspicious, skeptical; disappointment: regretful; emotional
# numbness: detached, bored; sexual lust: sexually excited). Thirteen emotions have no word there.
COORDINATES: dict[str, tuple[float, float]] = {
    "elation": (0.50, 0.42),
    "contentment": (0.68, -0.46),
    "thankfulness_gratitude": ((0.61 + 0.64) / 2, (0.10 + 0.16) / 2),
    "affection": (0.64, 0.35),
    "hope_enthusiasm_optimism": (0.51, 0.23),
    "triumph": (0.69, 0.57),
    "pride": (0.77, 0.38),
    "interest": (0.64, 0.51),
    "awe": (0.18, 0.40),
    "astonishment_surprise": ((0.16 + 0.40) / 2, (0.88 + 0.67) / 2),
    "concentration": (0.42, 0.28),
    "sexual_lust": (0.58, 0.62),
    "doubt": ((-0.25 - 0.22) / 2, (0.42 + 0.21) / 2),
    "fear": (-0.64, 0.60),
    "distress": (-0.61, 0.28),
    "confusion": (-0.53, 0.27),
    "embarrassment": (-0.46, 0.54),
    "shame": (-0.57, 0.01),
    "disappointment": (-0.52, 0.02),
    "sadness": (-0.63, -0.27),
    "contempt": ((-0.23 - 0.24) / 2, 0.31),
    "disgust": (-0.60, 0.35),
    "anger": (-0.51, 0.59),
    "pain": (-0.58, 0.41),
    "helplessness": (-0.71, 0.42),
    "fatigue_exhaustion": (-0.18, -0.57),
    "emotional_numbness": ((-0.37 - 0.65) / 2, (-0.26 - 0.62) / 2),
}


def missing(names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of DERIVED a checkpoint of these heads can get: it has the 27 emotions, and no head of its own for it."""
    if not set(COORDINATES) <= set(names):
        return ()
    return tuple(name for name in DERIVED if name.removesuffix("_derived") not in names)


def derive(subtracted: Float64Array, names: tuple[str, ...], wanted: tuple[str, ...]) -> Float64Array:
    """[n, len(wanted)] of -1..1 from mean-subtracted scores [n, D], whose columns are `names`."""
    weights = softmax(subtracted[:, [names.index(slug) for slug in COORDINATES]])
    places = [DERIVED.index(name) for name in wanted]
    return weights @ [[at[place] for place in places] for at in COORDINATES.values()]
