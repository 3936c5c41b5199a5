"""Cross-validation of probes: every row is predicted by a probe that saw neither it, nor its group, nor its answer.

The strength of a fold's probe is chosen by inner folds, which are the other folds: the probe without folds i and j says
how well each strength does on j. So k folds take k (k + 1) / 2 + 1 eigendecompositions and not k (k - 1) + k + 1, and
targets with the same rows and weights share them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..checkpoint.heads import Layers
from ..errors import DataError
from ..evaluate.metrics import Bools, Floats, Ints
from ..records import Float32Array
from ..text import listed, listed_have
from .ridge import Parts, Spectrum

# Strengths as parts of the rows' weight, as the squares of a normalised row add up to 1.
STRENGTHS = tuple(float(x) for x in 10.0 ** np.arange(-7, 0.25, 0.5))
_LEAST = 2  # rows of a name outside each fold


@dataclass(frozen=True, slots=True)
class Probe:
    """Probes of H names and what they predict of rows that they did not see.

    Args:
        heads: name -> its one Linear layer, float32.
        predicted: [M, H] float64 predictions of each row by the probe that was made without its fold; NaN where there
            is no label.
        alpha: [H] the strength of each head, as scikit-learn's Ridge takes it.
        folds_alpha: [folds, H] those of the folds' probes.
        notes: what a reader must know.
    """

    heads: dict[str, Layers]
    predicted: Floats
    alpha: Floats
    folds_alpha: Floats
    notes: tuple[str, ...]


def cross_validate(
    values: Float32Array,
    targets: Float32Array,
    weights: Float32Array,
    names: Sequence[str],
    fold: Ints,
    strengths: Sequence[float] = STRENGTHS,
    step: Callable[[int, int], None] | None = None,
) -> Probe:
    """Fit and cross-validate a linear probe of each name.

    Args:
        values: [M, width] embeddings of norm 1.
        targets: [M, H], NaN where there is no label.
        weights: [M, H], of rows; 0 counts as no label.
        names: H names.
        fold: [M] the fold of each row, 0 to k - 1.
        strengths: to choose from, each times the weight of the training rows is an alpha; (0,) is least squares.
        step: called with (sets done, sets in all).

    Raises:
        DataError: when a name has one value alone, or too few rows outside some fold, or in only one fold.
    """
    used = ~np.isnan(targets) & (weights > 0)
    _check(targets, used, names, fold)
    groups = _alike(used, weights)
    predicted = np.full(targets.shape, np.nan)
    folds = int(fold.max()) + 1
    alpha, folds_alpha = np.zeros(len(names)), np.zeros((folds, len(names)))
    heads: dict[str, Layers] = {}
    for done, columns in enumerate(groups):
        if step:
            step(done, len(groups))
        rows = np.flatnonzero(used[:, columns[0]])
        cells = rows[:, None], np.array(columns)
        part = _Fitted(
            values[rows],
            targets[cells].astype(np.float64),
            weights[rows, columns[0]].astype(np.float64),
            fold[rows],
            strengths,
        )
        predicted[cells] = part.predicted
        alpha[columns], folds_alpha[:, columns] = part.alpha, part.folds_alpha
        for at, column in enumerate(columns):
            heads[names[column]] = [(part.weights[at : at + 1], part.intercepts[at : at + 1])]
    if step:
        step(len(groups), len(groups))
    notes = _at_the_ends(names, alpha, used, weights, strengths)
    return Probe({name: heads[name] for name in names}, predicted, alpha, folds_alpha, notes)


class _Fitted:
    """The probes of T targets with the same rows and weights."""

    def __init__(
        self, values: Float32Array, targets: Floats, weights: Floats, fold: Ints, strengths: Sequence[float]
    ) -> None:
        self._values, self._targets, self._weights, self._strengths = values, targets, weights, np.array(strengths)
        self._fold, there = fold, np.unique(fold).tolist()
        parts = Parts(values, targets, weights, fold, there[-1] + 1)
        shape = len(strengths), targets.shape[1]
        total, inner = np.zeros(shape), {f: np.zeros(shape) for f in there}
        for i, j in combinations(there, 2) if len(there) > 2 else ():
            without = parts.without(i, j)
            inner[i] += self._losses(self._made(without, (i, j), j), j)
            inner[j] += self._losses(self._made(without, (i, j), i), i)
        self.predicted = np.empty_like(targets)
        self.folds_alpha = np.full((there[-1] + 1, shape[1]), np.nan)
        for f in there:
            made = self._made(parts.without(f), (f,), f)
            total += self._losses(made, f)
            # Of two folds there is nothing to choose by: the middle strength.
            best = np.argmin(inner[f], axis=0) if len(there) > 2 else np.full(shape[1], shape[0] // 2)
            self.predicted[fold == f] = np.moveaxis(made, 0, 2)[:, np.arange(shape[1]), best]
            self.folds_alpha[f] = self._strengths[best] * weights[fold != f].sum()
        self.alpha = self._strengths[np.argmin(total, axis=0)] * weights.sum()
        coefficients, intercepts = parts.without().head(self.alpha.tolist())
        self.weights, self.intercepts = coefficients.astype(np.float32), intercepts.astype(np.float32)

    def _made(self, spectrum: Spectrum, without: tuple[int, ...], scored: int) -> Floats:
        """[A, n, T] predictions of a fold for each strength."""
        left = self._weights[~np.isin(self._fold, without)].sum()
        return spectrum.predict(self._values[self._fold == scored], (self._strengths * left).tolist())

    def _losses(self, made: Floats, scored: int) -> Floats:
        """[A, T] weighted squared errors of a fold's predictions."""
        at = self._fold == scored
        return np.asarray(np.einsum("n,ant->at", self._weights[at], (made - self._targets[at]) ** 2))


def _alike(used: Bools, weights: Float32Array) -> list[list[int]]:
    """The columns that have the same rows and weights, together."""
    groups: dict[bytes, list[int]] = {}
    for column in range(used.shape[1]):
        groups.setdefault(np.where(used[:, column], weights[:, column], 0).tobytes(), []).append(column)
    return list(groups.values())


def _check(targets: Float32Array, used: Bools, names: Sequence[str], fold: Ints) -> None:
    """Raise DataError where a name cannot be learnt, or cannot be proven."""
    faults: dict[str, list[str]] = {}
    for column, name in enumerate(names):
        at = used[:, column]
        there = fold[at]
        if not at.any():
            faults.setdefault("no labels among the embeddings", []).append(name)
        elif np.ptp(targets[at, column]) == 0:
            value = f"{targets[at, column][0]:g}"
            faults.setdefault(f"the label {value} alone, and nothing else to tell it from", []).append(name)
        elif min(int((there != f).sum()) for f in np.unique(there)) < _LEAST:
            faults.setdefault("labels in one fold alone, as of one person or source", []).append(name)
    if faults:
        raise DataError(
            "; ".join(f"{listed_have(found)} {why}" for why, found in faults.items())
            + ". Give more labels, or leave these out with --label"
        )


def _at_the_ends(
    names: Sequence[str],
    alpha: Floats,
    used: Bools,
    weights: Float32Array,
    strengths: Sequence[float],
) -> tuple[str, ...]:
    if len(strengths) < 2:
        return ()
    highest = max(strengths) * (weights * used).sum(axis=0)
    weak = [name for name, a, top in zip(names, alpha, highest, strict=True) if a >= 0.999 * top]
    if not weak:
        return ()
    return (f"the strongest penalty was best for {listed(weak)}: the embeddings hardly tell it, or labels are few",)
