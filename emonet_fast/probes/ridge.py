"""Ridge regression for many targets and strengths at once: one eigendecomposition for each set of training rows.

With weights W of rows, and rows X and targets y centred by their weighted means, the strength alpha gives

    beta(alpha) = (X'WX + alpha)^-1 X'Wy = V (V'X'Wy / (s + alpha)),  X'WX = V s V'         where rows >= columns
                = X'W^.5 (W^.5 XX'W^.5 + alpha)^-1 W^.5 y = X'W^.5 U (U'W^.5 y / (s + alpha))       where they are fewer

and the intercept is the mean of y less the mean of X times beta. alpha = 0 is least squares, of all solutions the one
with the smallest norm. scikit-learn's Ridge minimises the same; the tests compare. Source: Hastie, Tibshirani and
Friedman, The Elements of Statistical Learning, 3.4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluate.metrics import Floats, Ints
from ..records import Float32Array

_ROWS = 4096  # taken to float64 at once: 38 MB of 1152 numbers
_RANK = 1e-12  # of the largest eigenvalue: smaller ones are rounding


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A set of training rows of width w, ready for every strength.

    Args:
        centre: [w] weighted mean of the rows.
        directions: [w, r].
        eigenvalues: [r], at least 0.
        products: [r, T] of each of T targets.
        means: [T] weighted mean of each target.
    """

    centre: Floats
    directions: Floats
    eigenvalues: Floats
    products: Floats
    means: Floats

    def shrunk(self, alpha: float) -> Floats:
        """[r, T] what the directions are multiplied by."""
        least = _RANK * self.eigenvalues.max(initial=0.0)
        kept = self.eigenvalues > least
        below = np.where(kept, self.eigenvalues, 1.0) + alpha
        return np.where(kept[:, None], self.products / below[:, None], 0.0)

    def head(self, alpha: Sequence[float]) -> tuple[Floats, Floats]:
        """Coefficients [T, w] and intercepts [T], for the strength of each target."""
        shrunk = np.stack([self.shrunk(a)[:, t] for t, a in enumerate(alpha)], axis=1)
        weights = (self.directions @ shrunk).T
        return weights, self.means - weights @ self.centre

    def predict(self, rows: Float32Array, alphas: Sequence[float]) -> Floats:
        """[A, n, T] predictions of rows [n, w] for each of A strengths."""
        out = np.empty((len(alphas), len(rows), self.products.shape[1]))
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            along = (rows[part].astype(np.float64) - self.centre) @ self.directions
            for a, alpha in enumerate(alphas):
                out[a, part] = along @ self.shrunk(alpha) + self.means
        return out


@dataclass(frozen=True, slots=True)
class RowSums:
    """What some rows add to a sum over rows, about a centre [w]: parts of the data are added, or taken off.

    Args:
        weight: of all rows.
        x: [w] weighted sum of the rows less the centre.
        y: [T] weighted sum of the targets.
        xx: [w, w].
        xy: [w, T].
    """

    weight: float
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats

    def __add__(self, other: "RowSums") -> "RowSums":
        return RowSums(*(getattr(self, n) + getattr(other, n) for n in self.__slots__))


def sums(rows: Float32Array, targets: Floats, weights: Floats, centre: Floats) -> RowSums:
    """Of rows [n, w], targets [n, T] and weights [n]."""
    width = rows.shape[1]
    x, xx, xy = np.zeros(width), np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        about = rows[part].astype(np.float64) - centre
        weighted = about * weights[part, None]
        x += weighted.sum(axis=0)
        xx += weighted.T @ about
        xy += weighted.T @ targets[part]
    return RowSums(float(weights.sum()), x, weights @ targets, xx, xy)


def from_sums(found: RowSums, centre: Floats) -> Spectrum:
    """The spectrum of all rows in the sums."""
    shift, means = found.x / found.weight, found.y / found.weight
    inside = found.xx - found.weight * np.outer(shift, shift)
    values, vectors = np.linalg.eigh(inside)
    products = vectors.T @ (found.xy - found.weight * np.outer(shift, means))
    return Spectrum(centre + shift, vectors, np.maximum(values, 0.0), products, means)


def from_rows(rows: Float32Array, targets: Floats, weights: Floats) -> Spectrum:
    """The spectrum of fewer rows than columns: of their products with each other."""
    x = rows.astype(np.float64)
    centre, means = weights @ x / weights.sum(), weights @ targets / weights.sum()
    root = np.sqrt(weights)[:, None]
    x = (x - centre) * root
    values, vectors = np.linalg.eigh(x @ x.T)
    return Spectrum(centre, x.T @ vectors, np.maximum(values, 0.0), vectors.T @ ((targets - means) * root), means)


class Parts:
    """The spectra of all rows but those of some folds, each found once.

    Args:
        rows: [n, w] float32.
        targets: [n, T] float64.
        weights: [n], above 0.
        fold: [n] the fold of each row, 0 to folds - 1.
        folds: how many there are.
    """

    def __init__(self, rows: Float32Array, targets: Floats, weights: Floats, fold: Ints, folds: int) -> None:
        self._rows, self._targets, self._weights, self._fold = rows, targets, weights, fold
        self._folds = range(folds)
        self._centre = np.zeros(rows.shape[1])
        self._sums: list[RowSums] = []
        if 2 * len(rows) > rows.shape[1]:
            self._centre = rows.mean(axis=0, dtype=np.float64)
            parts = [fold == f for f in self._folds]
            self._sums = [sums(rows[at], targets[at], weights[at], self._centre) for at in parts]

    def without(self, *folds: int) -> Spectrum:
        """Raises ValueError where no row is left."""
        at = ~np.isin(self._fold, folds)
        if not at.any():
            raise ValueError("no row is left")
        if at.sum() < self._rows.shape[1] or not self._sums:
            return from_rows(self._rows[at], self._targets[at], self._weights[at])
        total = None
        for f in set(self._folds) - set(folds):
            total = self._sums[f] if total is None else total + self._sums[f]
        assert total is not None  # noqa: S101 - a row is left
        return from_sums(total, self._centre)
