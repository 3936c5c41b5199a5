"""Stored scores in few figures: of each track, video, folder, participant or condition; see docs/summaries.md."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import codebook
from ..baseline import Baseline
from ..errors import DataError, OptionError
from ..population import baseline_of
from ..population.stored import StoredScores
from ..records import Float64Array, Status
from .functionals import Functionals
from .labels import Labels
from .readings import ABOVE, Readings
from .spool import GroupSpool
from .tables import QUANTILES, Summary, make_summary

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Summary", "summarise"]


def summarise(
    scores: str | Path | Sequence[str | Path],
    by: str | Sequence[str] | None = None,
    *,
    participants: str | Path | None = None,
    kind: str = "raw",
    above: float | None = None,
    unit: str | Sequence[str] | None = None,
    max_gap: float = float("inf"),
    baseline: Baseline | str | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Summary:
    """The figures of stored scores, group by group; docs/summaries.md defines each of them.

    Args:
        scores: files (.parquet, .csv, .jsonl, .xlsx) and folders of bulk, all of one checkpoint and precision.
        by: what groups are: columns of the scores or of `participants`, "folder", "video" or "track"; [] puts all rows
            into one group; None takes tracks where there are, else [].
        participants: a CSV of key and more columns, such as participant and condition; rows that it does not name are
            left out.
        kind: "raw", "score", "softmax" or "z": which value of each head.
        above: what share_above is the share above of; None takes 1 (raw, score), 0.1 (softmax), 2 (z).
        unit: what intervals are over, as `by`; None takes participants where there are, else tracks, else rows.
        max_gap: seconds; samples further apart do not follow each other.
        baseline: of the same checkpoint, for z and for the strongest emotion; "self" takes these scores.
        progress: called with the number of rows of each block that was read.

    Raises:
        DataError: when a file cannot be read, lacks a column, is not like the others, or no row has scores.
        OptionError: when an argument cannot work.
    """
    places = [Path(place) for place in ([scores] if isinstance(scores, str | Path) else scores)]
    if not max_gap > 0:
        raise OptionError(f"max_gap is {max_gap}; expected seconds above 0")
    if above is not None and not math.isfinite(above):
        raise OptionError(f"above is {above}; expected a finite value")
    if kind == "z" and baseline is None:
        raise OptionError("kind is z, and there is no baseline; give one, or 'self' for these scores")
    stored = StoredScores(places, anonymous=baseline is None)
    if baseline == "self":
        baseline = baseline_of(places)
    elif not isinstance(baseline, Baseline | None):
        raise OptionError(f"baseline is {baseline!r}; expected a Baseline, or 'self'")
    readings = Readings(stored.names, stored.neutral_mean, kind, baseline, stored.metadata)
    labels = Labels(stored, by, unit, None if participants is None else Path(participants))
    taken = {column.name for table in ("figures", "groups") for column in codebook.kinds(table)}.intersection(labels.by)
    if taken:
        raise OptionError(f"column {min(taken)!r} of by is a figure's name in the table; rename it in the scores")
    threshold, width = ABOVE[kind] if above is None else above, len(readings.dimensions)
    figures = Functionals(width, threshold, max_gap, labels.timed)
    missed: Counter[int] = Counter()
    with closing(GroupSpool(len(stored.names), lambda raw: readings(raw)[0])) as spool:
        for status, raw, columns in stored.rows(labels.reads):
            group, cell = labels(columns, len(status))
            ok, named = status == Status.OK, group >= 0
            missed.update(group[~ok | ~named].tolist())
            chosen, raw = ok & named, raw[named[ok]]
            if len(raw):
                x, strongest = readings(raw)
                seconds = _seconds(columns["seconds"])[chosen] if labels.timed else None
                figures.add(group[chosen], cell[chosen], x, strongest, seconds)
                spool.add(group[chosen], raw)
            progress(len(status))
        if participants is not None and not labels.groups:
            raise DataError(
                f"{participants} names no row of {', '.join(map(str, places))}; expected keys of pictures or videos, "
                "or the ends of their paths"
            )
        if not figures.moments.rows.sum():
            raise DataError(f"no row of {', '.join(map(str, places))} has scores and a group; expected some that have")
        figures.finish(len(labels.groups))
        counts = figures.moments.rows[: len(labels.groups)].astype(np.intp)
        found = spool.quantiles(counts, width, QUANTILES)
    return make_summary(stored, labels, readings, figures, found, threshold, missed, places)


def _seconds(column: "pyarrow.Array") -> Float64Array:
    import pyarrow as pa

    try:
        seconds: Float64Array = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise DataError(f"column 'seconds' holds {column.type}; expected numbers") from None
    return seconds
