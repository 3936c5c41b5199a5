"""All shards in one pass, to counts, histograms and a few best rows for each emotion, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import taxonomy
from ...errors import DataError
from ...records import Float64Array
from ...scores import FACE_COLUMNS
from ..folder import Folder
from ..plan import Plan
from ..shard_file import KEEP
from .labels import LabelAgreement

EXAMPLES = 5  # rows shown for each kind of error
TYPICAL = 4  # pictures shown for each emotion
STRONGEST = 5  # emotions of a row that count as being there together
# Scores beyond the ends are counted in the last bins; the annotators' scale is 0 to 7, less a neutral mean.
EDGES = np.linspace(-3.0, 7.0, 81)
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


@dataclass
class Collected:
    """Everything the page is made from.

    Args:
        emotions: E column names in the guide's order.
        kind: Which columns were read, "score_" or "raw_".
        fingerprint: Of the run's plan.
        inputs: As the run was given them.
        histogram: [E, len(EDGES) - 1] int64, rows by score.
        together: [E, E] int64, rows with both emotions among their STRONGEST; on the diagonal rows with the one.
        best: The TYPICAL rows of each emotion, best first.
        agreements: By the names of the kept columns.
        statuses: Rows by status.
        examples: For each status but "ok" the keys and reasons of its first rows.
        scored: Rows with scores.
        done, shards: Shards that are read here, and in all.
        failed: Reasons by the shards' numbers.
        notes: What a reader must know.
    """

    emotions: tuple[str, ...]
    kind: str
    fingerprint: Mapping[str, str]
    inputs: tuple[str, ...]
    histogram: npt.NDArray[np.int64]
    together: npt.NDArray[np.int64]
    best: list[list[Best]]
    agreements: dict[str, LabelAgreement]
    statuses: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    scored: int = 0
    done: int = 0
    shards: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.statuses.total()


def collect(folder: Folder, plan: Plan, shards: Iterable[int]) -> Collected:
    """Read finished shards, at least one, in one pass. Raises DataError when one of them cannot be read."""
    import pyarrow.parquet as pq

    collected: Collected | None = None
    for shard in shards:
        path = folder.stem(plan, shard).with_suffix(".parquet")
        try:
            with pq.ParquetFile(path) as file:
                collected = collected or _begin(file.schema_arrow.names, plan)
                scores = [collected.kind + e for e in collected.emotions]
                more = [KEEP + name for name in collected.agreements]
                more += [name for name in FACE_COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(_ROWS, columns=[*_FIXED, *scores, *more]):
                    _add(collected, batch, shard)
        except Exception as error:  # pyarrow's errors have no base of their own
            raise DataError(f"{path} cannot be read ({error}); run `emonet-fast bulk` again, which mends it") from None
        collected.done += 1
    assert collected is not None  # noqa: S101 - at least one shard was given
    return collected


def _begin(names: list[str], plan: Plan) -> Collected:
    kind = "score_" if any(n.startswith("score_") for n in names) else "raw_"
    emotions = tuple(d.slug for d in taxonomy.EMOTIONS if kind + d.slug in names)
    size = len(emotions)
    return Collected(
        emotions=emotions,
        kind=kind,
        fingerprint=plan.fingerprint,
        inputs=plan.inputs,
        histogram=np.zeros((size, len(EDGES) - 1), np.int64),
        together=np.zeros((size, size), np.int64),
        best=[[] for _ in emotions],
        agreements={name: LabelAgreement(emotions) for name in plan.keep_names},
    )


def _add(collected: Collected, batch: Any, shard: int) -> None:
    status = batch.column("status").to_pylist()
    collected.statuses.update(status)
    ok = np.array([s == "ok" for s in status], bool)
    for i in np.flatnonzero(~ok):
        examples = collected.examples.setdefault(status[i], [])
        if len(examples) < EXAMPLES:
            examples.append((batch.column("key")[int(i)].as_py(), batch.column("reason")[int(i)].as_py()))
    columns = [batch.column(collected.kind + e).to_numpy(zero_copy_only=False) for e in collected.emotions]
    if not ok.any() or not columns:
        return
    values = np.stack(columns, axis=1).astype(np.float64)[ok]
    collected.scored += len(values)
    inside = np.clip(values, EDGES[0], EDGES[-1])
    for e in range(len(collected.emotions)):
        collected.histogram[e] += np.histogram(inside[:, e], EDGES)[0]
    order = np.argsort(-values, axis=1, kind="stable")
    strong = np.zeros(values.shape, np.int64)
    np.put_along_axis(strong, order[:, :STRONGEST], 1, axis=1)
    collected.together += strong.T @ strong
    at = np.flatnonzero(ok)
    _keep_best(collected, values, at, batch, shard)
    for name, agreement in collected.agreements.items():
        labels = batch.column(KEEP + name).to_pylist()
        agreement.add([labels[i] for i in at], order)


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


def quantile(counts: npt.NDArray[np.int64], share: float) -> float:
    """The value below which `share` of a histogram's rows lie, linear within its bin; NaN without rows."""
    if not counts.any():
        return float("nan")
    rows = share * counts.sum()
    bin_ = int(np.searchsorted(np.cumsum(counts), rows))
    inside = (rows - counts[:bin_].sum()) / counts[bin_]
    return float(EDGES[bin_] + inside * (EDGES[bin_ + 1] - EDGES[bin_]))
