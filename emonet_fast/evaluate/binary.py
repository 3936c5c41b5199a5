"""EmoNet-Face Binary: how well scores tell the emotions that experts see from those that they do not.

The agreement table is the paper's (`statistics/analysis-binary.ipynb` of LAION-AI/emonet-face). The rest is ours:
scikit-learn's definitions of ROC AUC, average precision and F1.
"""

from dataclasses import dataclass

import numpy as np

from .align import align
from .annotations import Answers
from .metrics import BOOTSTRAPS, SEED, Bools, Floats, Ints, count_chunks
from .predictions import SLUGS, Predictions
from .ranking import average_precision, best_f1, curve, f1_at, roc_auc

TRIPLE = 3
MEASURES = ("auc", "average_precision", "best_f1", "fixed_f1")


@dataclass(frozen=True, slots=True)
class Detection:
    """How well scores find one choice of pairs, for each of the 40 emotions.

    Args:
        positives: [40] number of positive pairs.
        negatives: [40] number of negative pairs.
        value: [40] of each measure in MEASURES.
        resampled: [B, 40] of each measure in B resamples.
        threshold: [40] threshold of the best F1.
    """

    positives: Ints
    negatives: Ints
    value: dict[str, Floats]
    resampled: dict[str, Floats]
    threshold: Floats


@dataclass(frozen=True, slots=True)
class BinaryFigures:
    """The figures of Binary.

    Args:
        answers: the experts' answers.
        agreement: see `agreement_table`.
        clear: triple-positive against true-negative pairs.
        all: every pair, positive by majority.
        ties: number of pairs without a majority.
        fixed: threshold of the fixed F1.
        notes: what a reader must know.
    """

    answers: Answers
    agreement: dict[str, Ints]
    clear: Detection
    all: Detection
    ties: int
    fixed: float
    notes: tuple[str, ...]


def agreement_table(answers: Answers) -> dict[str, Ints]:
    """[40] numbers of pairs of image and emotion with more than one answer, by the notebook's rule.

    Two or three equal answers agree, 2:1 is partial, 1:1 disagrees, more than three answers are other.
    """
    n, yes = answers.total, answers.yes
    same = (yes == 0) | (yes == n)
    kinds = {
        "pairs": n > 1,
        "agreement": ((n == 2) | (n == TRIPLE)) & same,
        "partial": (n == TRIPLE) & ~same,
        "disagreement": (n == 2) & ~same,
        "other": n > TRIPLE,
    }
    return {kind: np.bincount(answers.emotion[at], minlength=len(SLUGS)) for kind, at in kinds.items()}


def overall_shares(agreement: dict[str, Ints]) -> dict[str, float]:
    """The kinds of `agreement_table` as shares of all pairs; NaN without any."""
    n = int(agreement["pairs"].sum()) or float("nan")
    return {kind: int(counts.sum()) / n for kind, counts in agreement.items() if kind != "pairs"}


def binary_figures(
    predictions: Predictions,
    answers: Answers,
    *,
    fixed: float = 1.0,
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> BinaryFigures:
    """Compare predictions with experts' yes-or-no answers.

    fixed: threshold of the fixed F1; truncation, as in the paper's kappa, begins to see an emotion at 1. bootstraps:
    resamples of pairs, within each emotion, for each interval.
    """
    values, notes = align(predictions, answers.images, partial)
    scores = values[answers.image, answers.emotion]
    scored = ~np.isnan(scores)
    triple = (answers.total == TRIPLE) & (answers.yes == TRIPLE)
    none = answers.yes == 0
    majority = 2 * answers.yes > answers.total
    return BinaryFigures(
        answers=answers,
        agreement=agreement_table(answers),
        clear=_detect(scores, answers.emotion, triple, scored & (triple | none), fixed, bootstraps),
        all=_detect(scores, answers.emotion, majority, scored, fixed, bootstraps),
        ties=int((2 * answers.yes == answers.total).sum()),
        fixed=fixed,
        notes=notes,
    )


def _detect(scores: Floats, emotion: Ints, positive: Bools, use: Bools, fixed: float, bootstraps: int) -> Detection:
    """Every measure of every emotion; one generator for all emotions, in the guide's order."""
    size = len(SLUGS)
    rng = np.random.default_rng(SEED)
    value = {m: np.full(size, np.nan) for m in MEASURES}
    resampled = {m: np.full((bootstraps, size), np.nan) for m in MEASURES}
    threshold = np.full(size, np.nan)
    for e in range(size):
        at = use & (emotion == e)
        if not at.any():
            continue
        s, p = scores[at], positive[at]
        whole, (threshold[e],) = _measures(s, p, np.ones((1, len(s))), fixed)
        parts = [_measures(s, p, counts, fixed)[0] for counts in count_chunks(rng, len(s), bootstraps)]
        for m in MEASURES:
            value[m][e] = whole[m][0]
            resampled[m][:, e] = np.concatenate([part[m] for part in parts])
    positives, negatives = (np.bincount(emotion[use & of_kind], minlength=size) for of_kind in (positive, ~positive))
    return Detection(positives, negatives, value, resampled, threshold)


def _measures(scores: Floats, positive: Bools, counts: Floats, fixed: float) -> tuple[dict[str, Floats], Floats]:
    at = curve(scores, positive, counts)
    best, threshold = best_f1(at)
    values = (roc_auc(at), average_precision(at), best, f1_at(at, fixed))
    return dict(zip(MEASURES, values, strict=True)), threshold
