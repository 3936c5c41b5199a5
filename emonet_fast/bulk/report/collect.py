"""All shards in one pass, to counts, histograms and a few best rows for each emotion, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ... import taxonomy
from ...baseline import Baseline
from ...codebook import current_name
from ...errors import DataError
from ...records import Float64Array
from ...reliability import reliable
from ...reports.collect import InputCount
from ...scores import FACE_COLUMNS
from ..folder import Folder
from ..plan import Plan
from ..shard_file import KEEP
from .labels import LabelAgreement

EXAMPLES = 5  # rows shown for each kind of error
TYPICAL = 4  # pictures shown for each emotion
UNRANKED = "do not count among a row's strongest: emotions of which the experts' alpha is below"
STRONGEST = 5  # emotions of a row that count as being there together
# Scores beyond the ends are counted in the last bins; the annotators' scale is 0 to 7, less a neutral mean.
_BINS = 80
EDGES = np.linspace(-3.0, 7.0, _BINS + 1)
EDGES_OF = {
    "raw": EDGES,
    "score": EDGES,
    "softmax": np.linspace(0.0, 0.4, _BINS + 1),
    "z": np.linspace(-4.0, 6.0, _BINS + 1),
}
_ROWS = 4096
_FIXED = ("key", "status", "reason", "source", "row")

Rectangle = tuple[float, float, float, float]  # x, y, width, height


@dataclass(order=True, frozen=True, slots=True)
class Best:
    """A row that an emotion is strong in. The order is by value, then by key, so that every pass finds the same rows.

    Args:
        value: The emotion's score.
        key, source, row: As in the shard's file.
        shard: The shard's number.
        face: The box, where the row is a face.
    """

    value: float
    key: str
    source: str = field(compare=False)
    row: int = field(compare=False)
    shard: int = field(compare=False)
    face: Rectangle | None = field(default=None, compare=False)


@dataclass(slots=True)
class KindFigures:
    """What is collected of one kind of values, of E emotions.

    Args:
        histogram: [E, 80] int64, rows by value between EDGES_OF the kind.
        together: [E, E] int64, rows with both emotions among their STRONGEST; on the diagonal rows with the one.
        agreements: By the names of the kept columns.
    """

    histogram: npt.NDArray[np.int64]
    together: npt.NDArray[np.int64]
    agreements: dict[str, LabelAgreement]


@dataclass
class Collected:
    """Everything the page is made from.

    Args:
        emotions: E column names in the guide's order.
        kind: Which columns the most typical rows are by, "score_" or "raw_"; z would choose the same ones.
        figures: By kind of values, as of `Scores.kinds`.
        scales: By extra dimension, such as arousal, [80] int64, rows by raw score over the annotators' scale.
        fingerprint: Of the run's plan.
        inputs: As the run was given them.
        best: The TYPICAL rows of each emotion, best first.
        baseline: What z is against, where the shards have no columns of it.
        unranked: Places of the emotions that do not count among a row's strongest.
        statuses: Rows by status.
        examples: For each status but "ok" the keys and reasons of its first rows.
        count: Of pictures and faces in the shards that are read here.
        scored: Rows with scores.
        done, shards: Shards that are read here, and in all.
        failed: Reasons by the shards' numbers.
        notes: What a reader must know.
    """

    emotions: tuple[str, ...]
    kind: str
    figures: dict[str, KindFigures]
    scales: dict[str, npt.NDArray[np.int64]]
    fingerprint: Mapping[str, str]
    inputs: tuple[str, ...]
    best: list[list[Best]]
    baseline: Baseline | None = None
    unranked: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    count: InputCount = field(default_factory=InputCount)
    scored: int = 0
    done: int = 0
    shards: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def main(self) -> KindFigures:
        """The figures of the kind that the most typical rows are by."""
        return self.figures[self.kind.removesuffix("_")]

    @property
    def total(self) -> int:
        return self.statuses.total()


def collect(
    folder: Folder,
    plan: Plan,
    shards: Iterable[int],
    baseline: Baseline | None = None,
    min_reliability: float | None = None,
) -> Collected:
    """Read finished shards, at least one, in one pass. Raises DataError when one of them cannot be read.

    baseline: what z is against; None takes the shards' own columns, where they have some. min_reliability: of the
    emotions that count as strongest, as of `Scores.ranking`.
    """
    collected: Collected | None = None
    for shard in shards:
        path = folder.stem(plan, shard).with_suffix(".parquet")
        try:
            with pq.ParquetFile(path) as file:
                stored = {current_name(name): name for name in file.schema_arrow.names}
                collected = collected or _begin(list(stored), plan, baseline, min_reliability)
                read = {"raw" if k == "z" and baseline is not None else k for k in collected.figures}
                scores = [f"{k}_{e}" for k in sorted(read) for e in collected.emotions]
                scores = list(dict.fromkeys([*scores, *("raw_" + name for name in collected.scales)]))
                more = [KEEP + name for name in plan.keep_names]
                more += [name for name in FACE_COLUMNS if name in stored]
                names = [*_FIXED, *scores, *more]
                for batch in file.iter_batches(_ROWS, columns=[stored[name] for name in names]):
                    _add(collected, batch.rename_columns(list(map(current_name, batch.schema.names))), shard)
        except Exception as error:  # pyarrow's errors have no base of their own
            raise DataError(f"{path} cannot be read ({error}); run `emonet-fast bulk` again, which mends it") from None
        collected.done += 1
    assert collected is not None  # noqa: S101 - at least one shard was given
    return collected


def _begin(names: list[str], plan: Plan, baseline: Baseline | None, min_reliability: float | None) -> Collected:
    kinds = [k for k in EDGES_OF if any(n.startswith(k + "_") for n in names) or (k == "z" and baseline is not None)]
    emotions = tuple(d.slug for d in taxonomy.EMOTIONS if "raw_" + d.slug in names)
    size, ranked = len(emotions), reliable(emotions, min_reliability)
    return Collected(
        emotions=emotions,
        kind="score_" if "score" in kinds else "raw_",
        figures={
            kind: KindFigures(
                histogram=np.zeros((size, len(EDGES) - 1), np.int64),
                together=np.zeros((size, size), np.int64),
                agreements={name: LabelAgreement(emotions) for name in plan.keep_names},
            )
            for kind in kinds
        },
        scales={d.slug: np.zeros(_BINS, np.int64) for d in taxonomy.EXTRA_DIMENSIONS if "raw_" + d.slug in names},
        fingerprint=plan.fingerprint,
        inputs=plan.inputs,
        best=[[] for _ in emotions],
        baseline=baseline,
        unranked=[e for e, slug in enumerate(emotions) if slug not in ranked],
        notes=[] if len(ranked) == size else [f"{UNRANKED} {min_reliability:g}"],
    )


def _add(collected: Collected, batch: Any, shard: int) -> None:
    status = batch.column("status").to_pylist()
    collected.statuses.update(status)
    ok = np.array([s == "ok" for s in status], bool)
    for i in np.flatnonzero(~ok):
        examples = collected.examples.setdefault(status[i], [])
        if len(examples) < EXAMPLES:
            examples.append((batch.column("key")[int(i)].as_py(), batch.column("reason")[int(i)].as_py()))
    collected.scored += int(ok.sum())
    for slug, counts in collected.scales.items():
        raw = batch.column("raw_" + slug).to_numpy(zero_copy_only=False)[ok]
        edges = scale_edges(slug)
        counts += np.histogram(np.clip(raw, edges[0], edges[-1]), edges)[0]
    if not ok.any() or not collected.emotions:
        return
    at = np.flatnonzero(ok)
    labels = {name: batch.column(KEEP + name).to_pylist() for name in collected.main.agreements}
    for kind, figures in collected.figures.items():
        values = _values(collected, batch, kind)[ok]
        edges = EDGES_OF[kind]
        inside = np.clip(values, edges[0], edges[-1])
        for e in range(len(collected.emotions)):
            figures.histogram[e] += np.histogram(inside[np.isfinite(inside[:, e]), e], edges)[0]
        order = np.argsort(-values, axis=1, kind="stable")
        strong = np.zeros(values.shape, np.int64)
        np.put_along_axis(strong, _ranked(values, collected.unranked)[:, :STRONGEST], 1, axis=1)
        strong[:, collected.unranked] = 0
        figures.together += strong.T @ strong
        for name, agreement in figures.agreements.items():
            agreement.add([labels[name][i] for i in at], order)
    _keep_best(collected, _values(collected, batch, collected.kind.removesuffix("_"))[ok], at, batch, shard)


def _ranked(values: Float64Array, unranked: list[int]) -> npt.NDArray[np.intp]:
    """Places of the emotions by value [rows, E], the unranked ones last."""
    ranked = values.copy()
    ranked[:, unranked] = -np.inf
    return np.argsort(-ranked, axis=1, kind="stable")


def _values(collected: Collected, batch: Any, kind: str) -> Float64Array:
    """[rows, E] float64 of a kind of values; NaN where there is none."""
    baseline = collected.baseline if kind == "z" else None
    prefix = "raw_" if baseline is not None else kind + "_"
    columns = [batch.column(prefix + e).to_numpy(zero_copy_only=False) for e in collected.emotions]
    values = np.stack(columns, axis=1).astype(np.float64)
    if baseline is None:
        return values
    places = [baseline.names.index(e) for e in collected.emotions]
    return (values - baseline.median[places]) / baseline.spread[places]


def _keep_best(collected: Collected, values: Float64Array, at: npt.NDArray[np.intp], batch: Any, shard: int) -> None:
    for e, best in enumerate(collected.best):
        for i in np.argsort(-values[:, e], kind="stable")[:TYPICAL]:
            value, row = float(values[i, e]), int(at[i])
            if len(best) == TYPICAL and value < best[-1].value:
                break
            key, source, number = (batch.column(name)[row].as_py() for name in ("key", "source", "row"))
            best.append(Best(value, key, source, number, shard, _face(batch, row)))
            best.sort(reverse=True)
            del best[TYPICAL:]


def _face(batch: Any, row: int) -> Rectangle | None:
    if FACE_COLUMNS[0] not in batch.schema.names:
        return None
    x, y, width, height = (batch.column(name)[row].as_py() for name in FACE_COLUMNS[:4])
    return x, y, width, height


def scale_edges(slug: str) -> Float64Array:
    """The bins of an extra dimension: the annotators' scale; scores beyond it are counted in its last bins."""
    return np.linspace(*taxonomy.find(slug).scale, _BINS + 1)


def quantile(counts: npt.NDArray[np.int64], share: float, edges: Float64Array = EDGES) -> float:
    """The value below which `share` of a histogram's rows lie, linear within its bin; NaN without rows."""
    if not counts.any():
        return float("nan")
    rows = share * counts.sum()
    bin_ = int(np.searchsorted(np.cumsum(counts), rows))
    inside = (rows - counts[:bin_].sum()) / counts[bin_]
    return float(edges[bin_] + inside * (edges[bin_ + 1] - edges[bin_]))
