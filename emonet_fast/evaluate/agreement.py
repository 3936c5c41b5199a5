"""Quadratic weighted kappa of every pair of raters for every emotion, and its resamples over images.

Source: `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face. A rater's agreement for an emotion is the mean over
the humans (for a human: the other humans), undefined pairs left out; overall, the mean over emotions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .metrics import LEVELS, Bools, Floats, kappa_of_sums, known, mean_known


@dataclass(frozen=True, slots=True)
class Pairwise:
    """kappa [E, R, R], symmetric, NaN where undefined and on the diagonal; images [E, R, R] both rated."""

    kappa: Floats
    images: Floats


def pairwise_kappa(levels: Floats) -> Pairwise:
    """Of levels [R, N, E] (NaN: no level). Pairs with fewer than 2 images in common are undefined."""
    kappas, images = [], []
    for e in range(levels.shape[2]):
        a = levels[:, :, e]
        m = (~np.isnan(a)).astype(np.float64)
        a = np.where(m > 0, a, 0.0)
        s = a * a
        sums = np.stack([m @ m.T, a @ m.T, m @ a.T, s @ m.T, m @ s.T, a @ a.T], axis=-1)
        kappa = np.where(sums[..., 0] >= 2, kappa_of_sums(sums), np.nan)
        np.fill_diagonal(kappa, np.nan)
        kappas.append(kappa)
        images.append(sums[..., 0])
    return Pairwise(np.array(kappas), np.array(images))


def rater_agreement(kappa: Floats, human: Bools) -> Floats:
    """[R, E] mean over the (other) humans, from kappa [E, R, R]."""
    return np.asarray(mean_known(kappa[:, :, human], axis=2)).T


def human_agreement(kappa: Floats, human: Bools) -> Floats:
    """[E] mean over humans of each one's agreement with the others."""
    return np.asarray(mean_known(rater_agreement(kappa, human)[human], axis=0))


def heat_map(kappa: Floats) -> Floats:
    """[R, R] mean over emotions, 1 on the diagonal, as the paper draws it."""
    mean = np.asarray(mean_known(kappa, axis=0))
    np.fill_diagonal(mean, 1.0)
    return mean


def model_human(kappa: Floats, human: Bools, rater: int, order: Sequence[int]) -> Floats:
    """The defined kappas of one rater with the (other) humans, human by human, emotions in `order`."""
    others = [h for h in np.flatnonzero(human).tolist() if h != rater]
    return known(np.array([kappa[e, rater, h] for h in others for e in order]))


def human_human(
    kappa: Floats, human: Bools, names: Sequence[str], order: Sequence[int], without: int | None = None
) -> Floats:
    """The defined kappas of all pairs of humans, each once, but those of one human."""
    humans = [h for h in np.flatnonzero(human).tolist() if h != without]
    pairs = [(a, b) for a in humans for b in humans if names[a] < names[b]]
    return known(np.array([kappa[e, a, b] for a, b in pairs for e in order]))


def resampled_agreement(levels: Floats, human: Bools, model: int, counts: Floats) -> tuple[Floats, Floats]:
    """Agreement of one emotion in resamples of images: [B] of rater `model` with humans, [B] of humans among them.

    levels: [R, N]; counts: [B, N].
    """
    humans = np.flatnonzero(human)
    first, second = np.triu_indices(len(humans), k=1)
    a = np.concatenate([np.full(len(humans), model), humans[first]])
    b = np.concatenate([humans, humans[second]])
    keep = a != b
    a, b = a[keep], b[keep]
    kappa = _resampled_kappa(levels, a, b, counts)
    with_humans = len(humans) - int(human[model])
    of_model = np.asarray(mean_known(kappa[:, :with_humans], axis=1))
    if len(first) == 0:
        return of_model, np.full(len(counts), np.nan)
    square = np.full((len(counts), len(humans), len(humans)), np.nan)
    square[:, first, second] = square[:, second, first] = kappa[:, with_humans:]
    return of_model, np.asarray(mean_known(mean_known(square, axis=2), axis=1))


def _resampled_kappa(levels: Floats, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], counts: Floats) -> Floats:
    """[B, P] kappas of the pairs of raters a, b [P]: counts times what `pair_sums` has for each image, sum by sum."""
    # Sums of whole numbers below 2^24 are exact in float32, whose products take half the time: 342,000 images.
    exact = np.float32 if counts.shape[1] * (LEVELS - 1) ** 2 < 2**24 else np.float64
    rated = ~np.isnan(levels.T)
    m: npt.NDArray[Any] = rated.astype(exact)
    x: npt.NDArray[Any] = np.where(rated, levels.T, 0.0).astype(exact)
    s = x * x
    drawn: npt.NDArray[Any] = counts.astype(exact)
    products = ((m, m), (x, m), (m, x), (s, m), (m, s), (x, x))
    sums = np.stack([(drawn @ (p[:, a] * q[:, b])).astype(np.float64) for p, q in products], axis=-1)
    return np.where(sums[..., 0] >= 2, kappa_of_sums(sums), np.nan)
