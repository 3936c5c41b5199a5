"""z and percentile columns for tables of a run against its own rows, once all of them are scored."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..arithmetic import EMOTIONS
from ..baseline import Baseline
from ..records import Float32Array, Float64Array
from ..sinks.encoders import AddColumns
from ..timeline import NO_TRACK
from .json_rows import RAW

if TYPE_CHECKING:
    import pyarrow

# What rows are against: one population, or each person's own by (source, track).
Populations: TypeAlias = Baseline | Mapping[Hashable, Baseline]
KINDS = ("z", "percentile")
# The column that is told anew when its row gets z.
DOMINANT = "dominant_emotion"


def values_against(
    raw: Float32Array, populations: Populations, people: Sequence[Hashable] = ()
) -> tuple[Float64Array, Float64Array]:
    """z and percentile [n, D] of raw scores [n, D]; NaN for a person without a baseline."""
    if isinstance(populations, Baseline):
        return populations.z(raw), populations.percentile(raw)
    z, percentile = np.full(raw.shape, np.nan), np.full(raw.shape, np.nan)
    for person in dict.fromkeys(people):
        own = populations.get(person)
        if own is not None:
            rows = [i for i, one in enumerate(people) if one == person]
            z[rows], percentile[rows] = own.z(raw[rows]), own.percentile(raw[rows])
    return z, percentile


def adding(names: Sequence[str], populations: Populations) -> AddColumns:
    """Appends z and percentile columns to a table of rows, and tells `dominant_emotion` by z. names: D slugs."""

    def add(table: "pyarrow.Table") -> "pyarrow.Table":
        import pyarrow as pa

        raw = np.full((table.num_rows, len(names)), np.nan, np.float32)
        for i, name in enumerate(names):
            raw[:, i] = table.column(RAW + name).to_numpy()
        for kind, values in zip(KINDS, values_against(raw, populations, _people(table)), strict=True):
            for i, name in enumerate(names):
                cells = pa.array(values[:, i], pa.float64(), mask=~np.isfinite(values[:, i]))
                table = table.append_column(f"{kind}_{name}", cells)
            if kind == "z" and DOMINANT in table.column_names:
                slugs = pa.array(_dominant(names, values), pa.string())
                table = table.set_column(table.column_names.index(DOMINANT), DOMINANT, slugs)
        return table

    return add


def _dominant(names: Sequence[str], z: Float64Array) -> list[str | None]:
    """The emotion of the largest z in each row, the first in the guide's order of equal ones; None without any."""
    emotions = [i for i, name in enumerate(names) if name in EMOTIONS]
    if not emotions:
        return [None] * len(z)
    known = np.where(np.isfinite(z[:, emotions]), z[:, emotions], -np.inf)
    best = known.argmax(axis=1)
    return [names[emotions[i]] if row[i] > -np.inf else None for i, row in zip(best, known, strict=True)]


def _people(table: "pyarrow.Table") -> list[Hashable]:
    if not {"source", "track"} <= set(table.column_names):  # not of a video
        return []
    pairs = zip(table.column("source").to_pylist(), table.column("track").to_pylist(), strict=True)
    return [(source, NO_TRACK if track is None else track) for source, track in pairs]
