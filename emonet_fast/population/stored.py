"""Stored scores as blocks of raw values: parquet, CSV, JSON lines, LAION's JSON lines, and folders of bulk."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import taxonomy
from ..baseline import known_facts
from ..errors import DataError
from ..records import Float32Array, Float64Array, Status
from ..sinks.encoders import beside
from ..sinks.rewrite import CSV_BLOCK
from ..sources.json_lines import json_lines
from ..sources.table import open_table

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet", ".csv", ".jsonl")
RAW, SCORE = "raw_", "score_"
# Rows of a block: in 44 heads 12 MB.
_ROWS = 1 << 16
_SHARD = re.compile(r"\d{5,}\.parquet")
# Raw scores are float32, their neutral mean is taken off in float64: what reading a text back may cost.
_SAME_MEAN = 1e-6


@dataclass(frozen=True, slots=True)
class _Head:
    """What a file says before its rows are read: its heads, what made it, and what it subtracts (None: nothing)."""

    names: tuple[str, ...]
    facts: dict[str, str]
    means: Float64Array | None


class StoredScores:
    """The rows with scores of some files, all of one checkpoint and precision.

    Args:
        places: files that end in one of SUFFIXES, and folders of `emonet-fast bulk` or of parquet files.

    Attributes:
        files: every file that is read.
        names: D slugs, in the order of `Scores.names`.
        metadata: what a baseline keeps of the files' metadata.
        neutral_mean: [D] float64, what the files subtract from raw scores; None where they have no such scores.
        left_out: rows without scores by status, once `blocks` was read to its end.

    Raises:
        DataError: when a file cannot be read, has no scores, names no checkpoint, or is of another checkpoint,
            precision, heads or neutral means than the first one.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self.files = tuple(file for place in places for file in files_of_scores(place))
        self.left_out: Counter[str] = Counter()
        first: _Head | None = None
        for path in self.files:
            head = _head(path)
            first = first or head
            _check_same(path, head, self.files[0], first)
            if first.means is None and head.means is not None:
                first = head
        assert first is not None  # noqa: S101 - there is a file, else files_of_scores has raised
        self.names, self.metadata, self.neutral_mean = first.names, known_facts(first.facts), first.means

    def blocks(self) -> Iterator[Float32Array]:
        """[n, D] float32 raw scores of the rows that have some, file by file. Raises DataError for a damaged file."""
        left_out: Counter[str] = Counter()
        waiting: list[Float32Array] = []  # our parquet files have row groups of 4096
        for path in self.files:
            for status, raw in _read(path, self.names, RAW):
                ok = status == Status.OK
                left_out.update(status[~ok].tolist())
                values = raw[ok].astype(np.float32)
                if not np.isfinite(values).all():
                    raise DataError(
                        f"{path} has NaN, infinite or missing raw scores in rows that say they are ok; expected finite "
                        "numbers, or another status than ok"
                    )
                waiting.append(values)
                if sum(map(len, waiting)) >= _ROWS:
                    yield np.concatenate(waiting)
                    waiting = []
        if waiting:
            yield np.concatenate(waiting)
        self.left_out = left_out


def files_of_scores(place: Path) -> list[Path]:
    """The files of scores that a path names: of a folder its parquet files, of bulk's folder its finished shards.

    Raises DataError where there is none.
    """
    if place.is_dir():
        found = sorted(p for p in place.glob("*.parquet") if not p.name.startswith((".", "_")))
        if (place / "plan.json").is_file():
            found = [p for p in found if _SHARD.fullmatch(p.name) and p.with_suffix(".json").is_file()]
        if not found:
            raise DataError(f"{place} has no finished parquet files; expected scores, as of `emonet-fast bulk`")
        return found
    if place.suffix.lower() not in SUFFIXES:
        raise DataError(f"{place} ends in {place.suffix!r}; expected scores in {', '.join(SUFFIXES)}, or a folder")
    if not place.is_file():
        raise DataError(f"{place} is not a file; expected scores, as `emonet-fast score --output` writes them")
    return [place]


def _check_same(path: Path, head: _Head, first: Path, expected: _Head) -> None:
    advice = "One baseline is of one checkpoint and precision: give the others a baseline of their own"
    for name in ("checkpoint_hash", "precision"):
        came, wanted = head.facts.get(name, ""), expected.facts.get(name, "")
        if not came and name == "checkpoint_hash":
            raise DataError(
                f"{path} does not say which checkpoint its scores are of; expected the metadata that emonet-fast "
                f"writes into parquet, and beside texts as {path.name}.meta.json"
            )
        if came != wanted:
            raise DataError(f"{path} has {name} {came or 'unknown'}, {first} has {wanted or 'unknown'}. {advice}")
    if head.names != expected.names:
        other = sorted(set(head.names) ^ set(expected.names))
        raise DataError(f"{path} has other heads than {first} ({', '.join(other[:5])}). {advice}")
    if head.means is not None and expected.means is not None:
        far = np.flatnonzero(np.abs(head.means - expected.means) > _SAME_MEAN)
        if far.size:
            raise DataError(
                f"{path} subtracts another neutral mean than {first} ({head.names[far[0]]}: {head.means[far[0]]:.6g}, "
                f"{expected.means[far[0]]:.6g}): their mean-subtracted scores cannot be compared. {advice}"
            )


def _head(path: Path) -> _Head:
    """What the file says of its scores; the neutral means are those of its first row with scores."""
    names = _names(path)
    if not names:
        raise DataError(f"{path} has no columns {RAW}<emotion>; expected scores, as emonet-fast writes them")
    means = None
    for (status, raw), (_, score) in zip(_read(path, names, RAW, 256), _read(path, names, SCORE, 256), strict=False):
        row = np.flatnonzero((status == Status.OK) & np.isfinite(score).all(axis=1))
        if row.size:
            means = raw[row[0]].astype(np.float32).astype(np.float64) - score[row[0]]
        if (status == Status.OK).any():
            break
    return _Head(names, _facts(path), means)


def _facts(path: Path) -> dict[str, str]:
    if path.suffix.lower() == ".parquet":
        with _reading(path), open_table(str(path)) as file:
            found: Mapping[bytes, bytes] = file.schema_arrow.metadata or {}
            return {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in found.items()}
    try:
        facts = json.loads(beside(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of a table's columns; of JSON lines, the keys of the first. Raises DataError where it is no table."""
    suffix = path.suffix.lower()
    with _reading(path):
        if suffix == ".parquet":
            with open_table(str(path)) as file:
                return tuple(file.schema_arrow.names)
        if suffix == ".csv":
            with _open_csv(path) as stream:
                return tuple(stream.schema.names)
        return next((tuple(line) for _, line in json_lines(path)), ())


def _names(path: Path) -> tuple[str, ...]:
    """The heads of the file, in the order of `Scores.names`."""
    columns: Sequence[str] = columns_of(path)
    if path.suffix.lower() == ".jsonl":  # of LAION's, the first line with scores
        with _reading(path):
            columns = next((found for _, line in json_lines(path) if (found := list(_line_values(line, RAW)))), ())
    slugs = [name.removeprefix(RAW) for name in columns if name.startswith(RAW)]
    if len(set(slugs)) != len(slugs):
        raise DataError(f"{path} has a column name twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
    return tuple(taxonomy.canonical_order(slugs))


def _read(path: Path, names: tuple[str, ...], prefix: str, rows: int = _ROWS) -> Iterator[tuple[Any, Float64Array]]:
    """([n] statuses, [n, D] float64 of the columns `prefix`<name>) block by block; NaN where there is no value."""
    wanted = [prefix + name for name in names]
    suffix = path.suffix.lower()
    with _reading(path):
        if suffix == ".jsonl":
            yield from _read_lines(path, wanted, prefix, rows)
            return
        batches = _parquet_batches(path, wanted, rows) if suffix == ".parquet" else _csv_batches(path, wanted)
        for batch in batches:
            has = set(batch.schema.names)
            status = _texts(batch.column("status")) if "status" in has else np.full(batch.num_rows, "ok")
            values = np.full((batch.num_rows, len(wanted)), np.nan, np.float32 if prefix == RAW else np.float64)
            for i, name in enumerate(wanted):
                if name in has:
                    values[:, i] = batch.column(name).to_numpy(zero_copy_only=False)
            yield status, values


def _texts(column: "pyarrow.Array") -> Any:
    """[n] texts of a column, each distinct one made once; "" where there is none."""
    import pyarrow.types as kinds

    encoded = column if kinds.is_dictionary(column.type) else column.dictionary_encode()
    texts = np.array([*("" if text is None else text for text in encoded.dictionary.to_pylist()), ""])
    return texts[encoded.indices.fill_null(len(texts) - 1).to_numpy()]


def _parquet_batches(path: Path, wanted: list[str], rows: int) -> "Iterator[pyarrow.RecordBatch]":
    with open_table(str(path), ["status"]) as file:
        there = [name for name in ("status", *wanted) if name in file.schema_arrow.names]
        yield from file.iter_batches(rows, columns=there)


def _csv_batches(path: Path, wanted: list[str]) -> "Iterator[pyarrow.RecordBatch]":
    with _open_csv(path) as stream:
        there = [name for name in ("status", *wanted) if name in stream.schema.names]
    with _open_csv(path, there) as stream:
        yield from stream


def _open_csv(path: Path, columns: Sequence[str] = ()) -> "pyarrow.csv.CSVStreamingReader":
    import pyarrow as pa
    import pyarrow.csv as pc

    # Raw scores are float32, and written with as many digits as read back to the same float32.
    kinds = {n: pa.string() if n == "status" else pa.float32() if n.startswith(RAW) else pa.float64() for n in columns}
    convert = pc.ConvertOptions(
        column_types=kinds, include_columns=list(columns), null_values=[""], strings_can_be_null=False
    )
    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=CSV_BLOCK),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )


def _read_lines(path: Path, wanted: list[str], prefix: str, rows: int) -> Iterator[tuple[Any, Float64Array]]:
    status: list[str] = []
    table: list[list[float]] = []
    for number, line in json_lines(path):
        values = _line_values(line, prefix)
        status.append(str(line.get("status", "ok")))
        try:
            table.append([float("nan") if values.get(n) is None else float(values[n]) for n in wanted])
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}, line {number} has something else than numbers as scores") from None
        if len(table) == rows:
            yield np.array(status), np.array(table)
            status, table = [], []
    if table:
        yield np.array(status), np.array(table)


def _line_values(line: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A row's numbers by the names that their columns have, of our lines and of LAION's."""
    results = line.get("results")
    if not isinstance(results, Mapping):
        return {k: v for k, v in line.items() if k.startswith(prefix)}
    kind = "raw" if prefix == RAW else "mean_subtracted"
    return {
        prefix + taxonomy.find(head).slug: values.get(kind)
        for head, values in results.items()
        if isinstance(values, Mapping)
    }


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors inside, of a damaged file, become a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read as scores ({str(error)[:200]})") from None
