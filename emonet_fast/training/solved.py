"""Heads of one layer that are solved for, not trained by steps: the ridge regression of `probes`."""

import numpy as np

from ..probes.cross import cross_validate
from ..probes.result import strengths_table
from ..splits import split_rows
from .loop import Step, Trained
from .prepared import Dealt

RIDGE, FOLDS = "ridge", 5


def solve(dealt: Dealt, seed: int, step: Step = lambda done, total, words: None) -> Trained:
    """Ridge regression of each head; folds choose its strength. The rows that stop other heads teach these, too.

    Args:
        dealt: the rows; those that judge take no part.
        seed: of the folds, which share no person, source or picture.
        step: called after each set of heads with labels in the same rows.

    Raises:
        DataError: as of split_rows and cross_validate.
    """
    examples = dealt.examples
    rows = np.sort(np.concatenate([examples.training, examples.stopping]))
    fold = np.zeros(len(examples.values), np.intp)
    fold[rows] = split_rows(None, {"cluster": dealt.clusters[rows].tolist()}, folds=FOLDS, seed=seed).part
    targets = examples.targets.copy()
    targets[dealt.judging] = np.nan
    names = examples.names
    probe = cross_validate(
        examples.values, targets, examples.weights, names, fold, step=lambda done, total: step(done, total, RIDGE)
    )
    facts = {
        "layout": f"{RIDGE}: {examples.values.shape[1]}-1",
        "loss": "mse, with the penalty of ridge, solved in closed form",
        "strength of the penalty": f"of each head by {FOLDS} folds of {len(rows):,} rows",
        "rows that stop heads": "none: they teach, too",
        "seed": str(seed),
        "computed by": f"NumPy {np.__version__}",
    }
    none = np.empty((0, len(names)))
    return Trained(probe.heads, {}, none, none, facts, (strengths_table(probe),), probe.notes)
