"""Losses of many heads at once, each over the rows that have a label of it.

- mae, mse: the absolute and the squared difference of score and label.
- ordinal: over all levels k of the scale, the cross-entropy of "the label is above k" with the logistic function of
  slope (score - threshold k), with the thresholds fixed halfway between the levels, so that a score stays on the scale.
  A label between two levels, as a mean of annotators, is above the upper one by its fraction. This is the all-threshold
  loss of Rennie and Srebro (2005), Loss functions for preference levels, with fixed thresholds.
- bce: the same with one threshold, at which yes and no are equally likely. The score of a new head is the log-odds of
  yes. Heads that go on from others keep their scale: what makes log-odds of their scores is fitted once (Platt 1999),
  and stays as it is while they learn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..optional import need
from ..records import Float64Array
from .stack import PURPOSE, Standard

_SLOPE = 2.0  # of ordinal, for each level: a score one level off is taken to be wrong by 7 to 1
_LEAST_SLOPE = 1e-3
_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Link:
    """From scores, as heads give them, to the log-odds of being above each of K levels.

    Args:
        slope: [H] float64.
        thresholds: [H, K] float64, on the scale of scores; NaN beyond a head's levels.
        levels: [H, K] float64: a label is above level k by (label - level) / step, at least 0 and at most 1.
        step: [H] float64 between two levels.
    """

    slope: Float64Array
    thresholds: Float64Array
    levels: Float64Array
    step: Float64Array

    @classmethod
    def ordinal(cls, scales: Float64Array) -> "Link":
        """scales: [H, 2], lowest and highest level, whole numbers."""
        low, high = scales.T
        levels = low[:, None] + np.arange(int((high - low).max()))
        levels[levels >= high[:, None]] = np.nan
        return cls(np.full(len(low), _SLOPE), levels + 0.5, levels, np.ones(len(low)))

    @classmethod
    def yes_no(cls, scales: Float64Array) -> "Link":
        """Scores that are log-odds themselves."""
        low, high = scales.T
        return cls(np.ones(len(low)), np.zeros((len(low), 1)), low[:, None], high - low)

    def fitted(self, scores: Float64Array, targets: Float64Array, weights: Float64Array) -> "Link":
        """With the slope and threshold [H] by which scores [N, H] tell shares of yes best: Newton's steps (Platt 1999).

        targets: [N, H] labels; what has the weight 0 is of no matter.
        """
        share = np.clip((np.nan_to_num(targets) - self.levels[:, 0]) / self.step, 0, 1)
        weights = weights / weights.sum(axis=0)
        centre = (weights * scores).sum(axis=0)
        spread = np.sqrt((weights * (scores - centre) ** 2).sum(axis=0)) + 1e-12
        x = (scores - centre) / spread
        a, b = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for _ in range(_ROUNDS):
            p = 1 / (1 + np.exp(-(a * x + b)))
            error, curve = weights * (p - share), weights * p * (1 - p) + 1e-9 * weights
            ga, gb = (error * x).sum(axis=0) + 1e-3 * a, error.sum(axis=0)
            haa, hab, hbb = (curve * x * x).sum(axis=0) + 1e-3, (curve * x).sum(axis=0), curve.sum(axis=0)
            det = haa * hbb - hab * hab
            a, b = a - (hbb * ga - hab * gb) / det, b - (haa * gb - hab * ga) / det
        slope = np.maximum(a, _LEAST_SLOPE) / spread  # a score must not come to mean its opposite
        return Link(slope, (centre - b / slope)[:, None], self.levels, self.step)

    def standardised(self, standard: Standard) -> "Link":
        """For scores that are shifted and scaled."""
        shift, spread = standard.shift, standard.spread
        thresholds = (self.thresholds - shift[:, None]) / spread[:, None]
        levels = (self.levels - shift[:, None]) / spread[:, None]
        return Link(self.slope * spread, thresholds, levels, self.step / spread)

    def loss(self, heads: Any, scores: Any, targets: Any) -> Any:
        """[h, B] of scores and labels [h, B], of these heads of all H."""
        torch = need("torch", PURPOSE)
        slope, thresholds, levels, step = (
            torch.from_numpy(array[heads]).to(scores.device, torch.float32)
            for array in (self.slope, self.thresholds, self.levels, self.step)
        )
        total = torch.zeros_like(scores)
        counts = (~torch.isnan(levels)).sum(dim=1, keepdim=True)
        for k in range(levels.shape[1]):
            there = ~torch.isnan(levels[:, k : k + 1])
            above = ((targets - levels[:, k : k + 1].nan_to_num()) / step[:, None]).clamp(0, 1)
            odds = slope[:, None] * (scores - thresholds[:, k : k + 1].nan_to_num())
            total = total + there * torch.nn.functional.binary_cross_entropy_with_logits(odds, above, reduction="none")
        return total / counts


def head_losses(kind: str, scores: Any, targets: Any, weights: Any, heads: Any, link: Link | None) -> Any:
    """[h] weighted means over B rows of scores, labels and weights [h, B]; 0 where no row has a weight.

    heads: [h] which of the link's heads they are. link: None for mae and mse.
    """
    if link is not None:
        each = link.loss(heads, scores, targets)
    else:
        each = (scores - targets).abs() if kind == "mae" else (scores - targets).square()
    return (each * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-12)
