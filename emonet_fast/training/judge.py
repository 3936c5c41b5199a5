"""What trained heads are worth on rows that they have not seen, with their loss curves: an evaluation's result."""

from collections.abc import Mapping

import numpy as np

from ..checkpoint.heads import Layers
from ..evaluate.charts import lines_png
from ..evaluate.held_out import held_out_figures
from ..evaluate.result import Chart, Result
from ..probes.result import heads_chart
from .loop import Trained
from .prepared import Dealt
from .stack import scores_of


def judged(
    trained: Trained, heads: Mapping[str, Layers], prepared: Dealt, facts: Mapping[str, str], meaning: str
) -> Result:
    """Figures of the heads on the judging rows, which neither taught nor stopped them.

    Args:
        trained: how they were trained.
        heads: those to judge, by name, as they are written.
        prepared: the rows.
        facts: what was trained on what, by name.
        meaning: what a score is, see evaluate.held_out.
    """
    examples, rows = prepared.examples, prepared.judging
    figures, table = held_out_figures(
        examples.names,
        scores_of({name: heads[name] for name in examples.names}, examples.values[rows]).astype(np.float64),
        examples.targets[rows].astype(np.float64),
        prepared.clusters[rows],
        examples.scales,
        meaning,
    )
    epochs = np.arange(1, len(trained.stopping) + 1)
    curves = {"on rows to learn from": trained.learning, "on rows that stop heads": trained.stopping}
    losses = Chart(
        "losses",
        f"Loss ({trained.facts['loss']}) of each head after each epoch",
        "Thin lines are heads, the thick one is their median. A line ends where its head stopped.",
        lambda: lines_png(epochs, curves, "epoch"),
    )
    return Result(
        "train",
        "Trained heads",
        {**facts, **prepared.facts, **trained.facts},
        figures,
        (table, *trained.tables),
        (heads_chart(table), losses) if len(epochs) > 1 else (heads_chart(table),),
        (*prepared.notes, *trained.notes),
    )
