"""Scores: raw [n, H] to mean-subtracted scores, softmax over the 40 emotions and the five strongest of each row.

Baseline: a dict a picture and scipy's softmax, as published scripts do. Side: Scores.from_raw and Scores.top.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks import fairness
from benchmarks.harness import Case, Run
from benchmarks.workshop import Workshop
from emonet_fast import Scores, taxonomy

TOP = 5
# Both sides are float64; sums of 40 terms.
SAME = 1e-12


def cases(shop: Workshop) -> Iterator[Case]:
    for n in (1000,) if shop.quick else (1, 1000):
        yield Case(
            group=f"scores: {n} rows",
            inputs=lambda n=n: inputs(n),
            sides={"dict a picture": published, "Scores": ours},
            judge=judge,
            images=n,
            check=2,
            info={"rows": n},
        )


def test_scores(side: Any) -> None:
    side()


def inputs(n: int) -> list[Any]:
    return list(np.random.default_rng(0).normal(1, 1.5, (4, n, len(taxonomy.DIMENSIONS))).astype(np.float32))


def means() -> dict[str, float]:
    values = np.random.default_rng(1).normal(size=len(taxonomy.DIMENSIONS))
    return {d.slug: float(v) for d, v in zip(taxonomy.DIMENSIONS, values, strict=True)}


def judge(outputs: Mapping[str, list[Any]]) -> Mapping[str, fairness.Verdict]:
    """Shares of the strongest emotions, in their order: another emotion would have another share."""
    return fairness.values(outputs, SAME, "shares of the strongest")


def published() -> Run:
    from scipy.special import softmax

    neutral = means()
    names = [d.slug for d in taxonomy.DIMENSIONS]
    emotions = [d.slug for d in taxonomy.EMOTIONS]

    def run(raw: Any) -> Any:
        rows = []
        for row in raw:
            scores = {name: float(value) - neutral[name] for name, value in zip(names, row, strict=True)}
            shares = dict(zip(emotions, softmax([scores[name] for name in emotions]), strict=True))
            rows.append([share for _, share in sorted(shares.items(), key=lambda item: -item[1])[:TOP]])
        return rows

    return run


def ours() -> Run:
    neutral = means()
    names = [d.name for d in taxonomy.DIMENSIONS]
    return lambda raw: [[share for _, share in row] for row in Scores.from_raw(raw, names, neutral).top(TOP)]
