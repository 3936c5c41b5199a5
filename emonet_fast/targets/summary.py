"""What labels hold, for people: how many of each name, how far annotators agree, what did not join."""

import numpy as np

from .. import taxonomy
from ..evaluate.metrics import BOOTSTRAPS, NO_INTERVAL
from ..evaluate.result import Cell, Result, Table
from ..text import counted
from .labelled import lone_labels
from .record import Targets, agreement

TITLE = "Labels"


def labels_table(targets: Targets, bootstraps: int = BOOTSTRAPS) -> Table:
    """A row for each head: labels, their mean and spread, the share of yes, alpha with its interval."""
    alphas = agreement(targets, bootstraps)
    rows: list[tuple[Cell, ...]] = []
    for h, name in enumerate(targets.names):
        values = targets.values[:, h][~np.isnan(targets.values[:, h])].astype(np.float64)
        low, high = targets.scales[name]
        row = taxonomy.find(name).name, len(values), f"{low:g} to {high:g}", values.mean(), values.std()
        alpha, bounds = alphas.get(name, (float("nan"), NO_INTERVAL))
        rows.append((*row, alpha, *bounds))
    lead = "Alpha is Krippendorff's, at the interval level, of pictures that at least two annotators labelled."
    columns = ("head", "labels", "scale", "mean", "spread", "alpha", "alpha low", "alpha high")
    return Table("labels", "Each name", lead, columns, tuple(rows), digits=2)


def labels_result(targets: Targets, joined: str = "", notes: tuple[str, ...] = ()) -> Result:
    """Everything that labels say of themselves. joined: how many rows of embeddings have some, in words."""
    told = targets.annotators
    facts = {
        "labels": targets.source,
        "pictures": f"{len(targets.keys):,}",
        "annotators": "one, or not named" if told is None else str(told.number),
        "groups": ", ".join(f"{counted(len(set(v)), k)}" for k, v in targets.groups.items()),
        "joined": joined,
    }
    alone = lone_labels(targets.values, ~np.isnan(targets.values), targets.names)
    alone = [f"{words}, and nothing else to tell it from: no head can be made of that" for words in alone]
    return Result("labels", TITLE, facts, tables=(labels_table(targets),), notes=(*targets.notes, *notes, *alone))
