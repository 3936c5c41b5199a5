"""The tables of a summary, its intervals, and its files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import taxonomy
from ..errors import EmonetError, OptionError
from ..population.stored import StoredScores
from ..records import Float64Array
from ..sinks.encoders import file_metadata
from ..sinks.growing import GrowingTable
from ..sinks.tables import SUFFIXES, open_rows
from ..text import counted, utf8_text
from .circumplex import SOURCE
from .functionals import Functionals, GroupMoments, Ids
from .labels import Labels
from .readings import Readings, bits

if TYPE_CHECKING:
    import pandas
    import pyarrow

# The columns min, q05, ... of the table of figures.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_QUANTILE_NAMES = ("min", "q05", "q25", "median", "q75", "q95", "max")
GROUP_SLUGS = tuple(taxonomy.slug(name) for name in taxonomy.GROUPS)


@dataclass(frozen=True)
class Summary:
    """Figures of groups of rows; docs/summaries.md defines every column.

    Args:
        figures: a pyarrow table, one row for each group and dimension.
        groups: a pyarrow table, one row for each group: rows, units, seconds, strongest groups and their transitions.
        by: the names of the columns, first in both tables, that tell groups apart.
        metadata: where the scores came from and how they were summarised, as text.
        notes: what a reader must know.
    """

    figures: "pyarrow.Table"
    groups: "pyarrow.Table"
    by: tuple[str, ...]
    metadata: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def to_pandas(self) -> "tuple[pandas.DataFrame, pandas.DataFrame]":
        """`figures` and `groups` as DataFrames (extra `pandas`)."""
        return self.figures.to_pandas(), self.groups.to_pandas()

    def write(self, path: Path, *, excel: bool = False) -> list[Path]:
        """Write `figures` to a file, `groups` to `<name>.groups.<suffix>` beside it, and return both.

        Args:
            path: ends in .csv, .parquet, .jsonl or .xlsx (extra `excel`); texts have their metadata beside them.
            excel: whether .csv begins with the mark by which Excel knows UTF-8.

        Raises:
            OptionError: for another suffix, or when a file cannot be written there.
            EmonetError: when the disk refuses.
        """
        sinks = open_tables(path, self.metadata, excel)
        try:
            for sink, table in zip(sinks, (self.groups, self.figures), strict=True):
                sink.write(table)
                sink.close()
        finally:
            for sink in sinks:
                sink.abort()
        return [sink.path for sink in sinks]


def groups_path(path: Path) -> Path:
    """Where the table of groups lies beside that of figures."""
    return path.with_name(f"{path.stem}.groups{path.suffix}")


def open_tables(path: Path, metadata: Mapping[str, str], excel: bool) -> list[GrowingTable]:
    """The files of groups and of figures, open. Raises as `Summary.write`, with nothing left."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path.name!r} came; expected a name ending in {', '.join(SUFFIXES)}")
    facts, opened = file_metadata(metadata), list[GrowingTable]()
    try:
        for name in (groups_path(path), path):
            opened.append(open_rows(name, facts, lambda rows: rows, True, excel=excel))
    except EmonetError:
        for sink in opened:
            sink.abort()
        raise
    return opened


@cache
def t_quantile(n: int) -> float:
    """The 97.5% point of Student's t with n degrees of freedom; NaN without any.

    By bisection of its distribution function, a finite sum of powers of a cosine (Abramowitz and Stegun 26.7.3 and 4);
    beyond 10,000 by the expansion 26.7.5, whose next term is below 1e-15.
    """
    z: float = NormalDist().inv_cdf(0.975)
    if n > 10_000:
        terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + math.fsum(term / n**power for power, term in enumerate(terms, 1))
    k = np.arange(2 + n % 2, n - 1, 2)
    low, high = 0.0, math.pi / 2
    for _ in range(60 if n > 0 else 0):
        angle = (low + high) / 2
        cosine, sine = math.cos(angle), math.sin(angle)
        powers = 1.0 + float(np.cumprod(cosine**2 * (k - 1) / k).sum())
        odd = angle + (sine * cosine * powers if n > 1 else 0.0)
        below = (2 / math.pi * odd if n % 2 else sine * powers) < 0.95
        low, high = (angle, high) if below else (low, angle)
    return math.tan(low) * math.sqrt(n) if n > 0 else math.nan


def make_summary(
    stored: StoredScores,
    labels: Labels,
    readings: Readings,
    figures: Functionals,
    quantiles: Float64Array,
    above: float,
    missed: Mapping[int, int],
    places: Sequence[Path],
) -> Summary:
    """The summary of rows that were all taken in.

    quantiles: [G, 7, V]. missed: rows without scores by group; -1: rows that the participants' CSV does not name.
    """
    count = len(labels.groups)
    moments = (figures.moments.rows, figures.moments.mean, figures.moments.products)
    unit_of, group_of = labels.owners()
    known = np.flatnonzero(figures.cells.rows[: len(unit_of)] > 0)
    units, means, spread = _of_units(labels.rows_are_units, figures, moments, unit_of[known], group_of, known)
    by: dict[str, list[Any]] = {name: labels.values(name) for name in labels.by}
    slopes = _slope(figures, count, group_of[unit_of[known]], known)
    columns = _figures(readings, figures, moments, quantiles, slopes, (units, means, spread))
    rows = moments[0]
    there, dimensions = np.flatnonzero(rows > 0), readings.dimensions
    table: dict[str, Any] = {k: [v[g] for g in there.tolist() for _ in dimensions] for k, v in by.items()}
    table["dimension"] = [name for _ in there for name, _ in dimensions]
    table["kind"] = [kind for _ in there for _, kind in dimensions]
    table |= {name: np.broadcast_to(v, means.shape)[there].ravel() for name, v in columns.items()}
    nobody = missed.get(-1, 0)
    metadata = {
        **{k: v for k, v in stored.facts.items() if k not in ("reliability", "pandas") and "emonet_fast." not in k},
        **(readings.baseline.facts if readings.baseline else {}),
        "summary_of": ", ".join(map(str, places[:3])) + (", ..." if len(places) > 3 else ""),
        "by": ", ".join(labels.by) or "all rows",
        "kind": readings.kind,
        "strongest_by": readings.strongest_by,
        "share_above": f"{above:g}",
        "unit": "rows" if labels.rows_are_units else ", ".join(labels.unit) or "none",
        "rows": f"{int(rows.sum())}",
        "left_out": ", ".join(f"{n} {status}" for status, n in sorted(stored.left_out.items())),
        **({"not_named": f"{counted(nobody, 'row')} that the participants' CSV does not name"} if nobody else {}),
        **({"derived": SOURCE} if any(kind == "derived" for _, kind in dimensions) else {}),
    }
    groups = by | _groups(figures, rows, units, missed, labels.timed)
    return Summary(
        _table(table), _table(groups), tuple(labels.by), metadata, tuple(_notes(readings, labels, units, metadata))
    )


def _of_units(
    rows_are_units: bool,
    figures: Functionals,
    moments: Sequence[npt.NDArray[Any]],
    unit_of: Ids,
    group_of: Ids,
    cells: Ids,
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Of each group: units [G], the mean of their means [G, V], and the standard deviation of these [G, V]."""
    rows, mean, products = moments
    if rows_are_units:
        return rows, mean, _deviation(rows, products)
    weights = figures.cells.rows[cells, None]
    sums = np.zeros((len(group_of), figures.width + 1))
    np.add.at(sums, unit_of, np.concatenate([weights * figures.cells.mean[cells, :-1], weights], axis=1))
    known = np.flatnonzero(sums[:, -1] > 0)
    over = GroupMoments(figures.width)
    over.add(group_of[known], sums[known, :-1] / sums[known, -1:])
    over.cut(len(rows))
    return over.rows, over.mean, _deviation(over.rows, over.products)


def _deviation(rows: Float64Array, products: Float64Array) -> Float64Array:
    return np.sqrt(np.where(rows > 1, 1.0, np.nan)[:, None] * products / np.maximum(rows - 1, 1)[:, None])


def _figures(
    readings: Readings,
    figures: Functionals,
    moments: Sequence[npt.NDArray[Any]],
    quantiles: Float64Array,
    slopes: Float64Array,
    units: tuple[Float64Array, Float64Array, Float64Array],
) -> dict[str, npt.NDArray[Any]]:
    """Each column [G, V], or [G, 1]."""
    rows, mean, products = moments
    width, weighted, links = figures.width, figures.weighted.values, figures.links.values
    unit_count, unit_mean, unit_sd = units
    t = np.array([t_quantile(int(n) - 1) for n in unit_count.tolist()])
    half = t[:, None] * unit_sd / np.sqrt(np.maximum(unit_count, 1))[:, None]
    not_given = [kind in ("derived", "bits") for _, kind in readings.dimensions]
    return {
        "n": rows.astype(np.int64)[:, None],
        "mean": mean,
        "sd": _deviation(rows, products),
        **{name: quantiles[:, i] for i, name in enumerate(_QUANTILE_NAMES)},
        "time_mean": _ratio(weighted[:, 1 : 1 + width], weighted[:, :1]) if figures.timed else np.full((1, 1), np.nan),
        "slope": slopes,
        "mean_abs_difference": _ratio(links[:, 1 : 1 + width], links[:, :1]),
        "share_above": np.where(not_given, np.nan, _ratio(weighted[:, 1 + width : 1 + 2 * width], weighted[:, :1])),
        "units": unit_count.astype(np.int64)[:, None],
        "unit_mean": unit_mean,
        "unit_sd": unit_sd,
        "low": unit_mean - half,
        "high": unit_mean + half,
    }


def _slope(figures: Functionals, count: int, group_of: Ids, cells: Ids) -> Float64Array:
    """[G, V] a second; NaN where no track has two times. group_of: of each of these cells."""
    sums = np.zeros((count, figures.width + 1))
    if figures.timed:
        np.add.at(sums, group_of, figures.cells.products[cells])
    return _ratio(sums[:, :-1], sums[:, -1:])


def _groups(
    figures: Functionals, rows: Float64Array, units: Float64Array, missed: Mapping[int, int], timed: bool
) -> dict[str, Any]:
    count, width = len(rows), figures.width
    weighted, links = figures.weighted.values, figures.links.values
    seconds = weighted[:, 0] if timed and links[:, 0].any() else np.full(count, np.nan)
    shares = _ratio(weighted[:, 1 + 2 * width :], weighted[:, :1])
    pairs = links[:, 1 + width :].astype(np.int64)
    table: dict[str, Any] = {
        "rows": rows.astype(np.int64),
        "left_out": np.array([missed.get(g, 0) for g in range(count)], np.int64),
        "units": units.astype(np.int64),
        "seconds": seconds,
        "entropy": bits(shares),
    }
    table |= {f"share_{name}": shares[:, i] for i, name in enumerate(GROUP_SLUGS)}
    names = [f"{a}_to_{b}" for a in GROUP_SLUGS for b in GROUP_SLUGS]
    return table | {name: pairs[:, i] for i, name in enumerate(names)}


def _notes(readings: Readings, labels: Labels, units: Float64Array, metadata: Mapping[str, str]) -> list[str]:
    notes = [] if readings.baseline is None else readings.baseline.notes(metadata)
    if readings.baseline is None:
        notes.append(
            "strongest groups are without a baseline: three of the 40 heads come first in most rows of real faces, so "
            "they tell which head is generous; give --baseline"
        )
    if not labels.rows_are_units and (units < 2).all():
        notes.append("no group has two units (participants or tracks), so there are no intervals")
    return notes


def _ratio(top: Float64Array, bottom: Float64Array) -> Float64Array:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def _table(columns: Mapping[str, Any]) -> "pyarrow.Table":
    import pyarrow as pa

    return pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: Any) -> "pyarrow.Array":
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        return pa.array(values, mask=~np.isfinite(values))
    kinds = {type(v) for v in values} - {type(None)}
    if kinds and kinds <= {int, float}:
        return pa.array(values, pa.float64() if float in kinds else pa.int64())
    return pa.array([None if v is None else utf8_text(str(v)) for v in values], pa.string())
