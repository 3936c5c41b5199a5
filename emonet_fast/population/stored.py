"""Stored scores as blocks of raw values: parquet, CSV, JSON lines, LAION's JSON lines, and folders of bulk."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

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
        anonymous: also take files that do not say which checkpoint their scores are of, where none does.

    Attributes:
        files: every file that is read.
        names: D slugs, in the order of `Scores.names`.
        facts: the metadata of the first file.
        metadata: what a baseline keeps of it.
        neutral_mean: [D] float64, what the files subtract from raw scores; None where they have no such scores.
        left_out: rows without scores by status, once `blocks` was read to its end.

    Raises:
        DataError: when a file cannot be read, has no scores, names no checkpoint, or is of another checkpoint,
            precision, heads or neutral means than the first one.
    """

    def __init__(self, places: Sequence[Path], *, anonymous: bool = False) -> None:
        self.files = tuple(file for place in places for file in files_of_scores(place))
        self.left_out: Counter[str] = Counter()
        first: _Head | None = None
        for path in self.files:
            head = _head(path)
            first = first or head
            _check_same(path, head, self.files[0], first, anonymous)
            if first.means is None and head.means is not None:
                first = head
        assert first is not None  # noqa: S101 - there is a file, else files_of_scores has raised
        self.names, self.facts, self.neutral_mean = first.names, first.facts, first.means
        self.metadata = known_facts(first.facts)

    def blocks(self) -> Iterator[Float32Array]:
        """[n, D] float32 raw scores of the rows that have some, file by file. Raises DataError for a damaged file."""
        waiting: list[Float32Array] = []  # our parquet files have row groups of 4096
        for _, values, _ in self.rows():
            waiting.append(values)
            if sum(map(len, waiting)) >= _ROWS:
                yield np.concatenate(waiting)
                waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def rows(self, columns: Sequence[str] = ()) -> Iterator[tuple[Any, Float32Array, dict[str, "pyarrow.Array"]]]:
        """([n] statuses, [m, D] float32 raw scores of the m rows that are ok, n values of each column), block by block.

        A column that a file does not have is null. Raises DataError for a damaged file.
        """
        left_out: Counter[str] = Counter()
        for path in self.files:
            for status, raw, more in _read(path, self.names, RAW, more=columns):
                ok = status == Status.OK
                left_out.update(status[~ok].tolist())
                values = raw[ok].astype(np.float32)
                if not np.isfinite(values).all():
                    raise DataError(
                        f"{path} has NaN, infinite or missing raw scores in rows that say they are ok; expected finite "
                        "numbers, or another status than ok"
                    )
                yield status, values, more
        self.left_out = left_out

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise DataError where a file has none of a name."""
        wanted = tuple(columns)
        for path in self.files if wanted else ():
            there = [name for name in _fields(path) if name.partition("_")[2] not in self.names]
            for name in wanted:
                if name not in there:
                    raise DataError(f"{path} has no column {name!r}; it has {', '.join(there)}")

    def has(self, column: str) -> bool:
        """Whether any file has a column of this name."""
        return any(column in _fields(path) for path in self.files)


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


def _check_same(path: Path, head: _Head, first: Path, expected: _Head, anonymous: bool) -> None:
    advice = "One baseline or summary is of one checkpoint and precision: give the others one of their own"
    for name in ("checkpoint_hash", "precision"):
        came, wanted = head.facts.get(name, ""), expected.facts.get(name, "")
        if not came and name == "checkpoint_hash" and not anonymous:
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
    for (status, raw, _), (_, score, _) in zip(
        _read(path, names, RAW, 256), _read(path, names, SCORE, 256), strict=False
    ):
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


def _fields(path: Path) -> Sequence[str]:
    """The columns of a table with our names; of JSON lines those of the first line with scores."""
    if path.suffix.lower() != ".jsonl":
        return columns_of(path)
    with _reading(path):
        scored = ((line, found) for _, line in json_lines(path) if (found := _line_values(line, RAW)))
        line, found = next(scored, ({}, {}))
    own = ("key" if name == "image_path" and "results" in line else name for name in line)  # LAION's name
    return list(dict.fromkeys([*own, *found]))


def _names(path: Path) -> tuple[str, ...]:
    """The heads of the file, in the order of `Scores.names`."""
    slugs = [name.removeprefix(RAW) for name in _fields(path) if name.startswith(RAW)]
    if len(set(slugs)) != len(slugs):
        raise DataError(f"{path} has a column name twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
    return tuple(taxonomy.canonical_order(slugs))


# Statuses [n], numbers of the columns `prefix`<name> [n, D], NaN where there is none, and n values of further columns.
_Part: TypeAlias = tuple[Any, Float64Array, dict[str, "pyarrow.Array"]]


def _read(
    path: Path, names: tuple[str, ...], prefix: str, rows: int = _ROWS, more: Sequence[str] = ()
) -> Iterator[_Part]:
    """The file's rows block by block."""
    import pyarrow as pa

    wanted = [prefix + name for name in names]
    suffix = path.suffix.lower()
    with _reading(path):
        if suffix == ".jsonl":
            yield from _read_lines(path, wanted, prefix, rows, more)
            return
        needed = [*dict.fromkeys(("status", *more)), *wanted]
        batches = _parquet_batches(path, needed, rows) if suffix == ".parquet" else _csv_batches(path, needed)
        for batch in batches:
            has = set(batch.schema.names)
            status = _texts(batch.column("status")) if "status" in has else np.full(batch.num_rows, "ok")
            values = np.full((batch.num_rows, len(wanted)), np.nan, np.float32 if prefix == RAW else np.float64)
            for i, name in enumerate(wanted):
                if name in has:
                    values[:, i] = batch.column(name).to_numpy(zero_copy_only=False)
            others = {n: batch.column(n) if n in has else pa.nulls(batch.num_rows, pa.string()) for n in more}
            yield status, values, others


def _texts(column: "pyarrow.Array") -> Any:
    """[n] texts of a column, each distinct one made once; "" where there is none."""
    import pyarrow.types as kinds

    encoded = column if kinds.is_dictionary(column.type) else column.dictionary_encode()
    texts = np.array([*("" if text is None else text for text in encoded.dictionary.to_pylist()), ""])
    return texts[encoded.indices.fill_null(len(texts) - 1).to_numpy()]


def _parquet_batches(path: Path, wanted: list[str], rows: int) -> "Iterator[pyarrow.RecordBatch]":
    with open_table(str(path), ["status"]) as file:
        there = [name for name in wanted if name in file.schema_arrow.names]
        yield from file.iter_batches(rows, columns=there)


def _csv_batches(path: Path, wanted: list[str]) -> "Iterator[pyarrow.RecordBatch]":
    with _open_csv(path) as stream:
        there = [name for name in wanted if name in stream.schema.names]
    with _open_csv(path, there) as stream:
        yield from stream


def _open_csv(path: Path, columns: Sequence[str] = ()) -> "pyarrow.csv.CSVStreamingReader":
    import pyarrow as pa
    import pyarrow.csv as pc

    # Raw scores are float32, and written with as many digits as read back to the same float32.
    numbers = {"seconds": pa.float64(), "track": pa.int64()}
    kinds = {
        n: pa.float32() if n.startswith(RAW) else pa.float64() if n.startswith(SCORE) else numbers.get(n, pa.string())
        for n in columns
    }
    convert = pc.ConvertOptions(
        column_types=kinds, include_columns=list(columns), null_values=[""], strings_can_be_null=False
    )
    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=CSV_BLOCK),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )


def _read_lines(path: Path, wanted: list[str], prefix: str, rows: int, more: Sequence[str]) -> Iterator[_Part]:
    import pyarrow as pa

    status: list[str] = []
    table: list[list[float]] = []
    others: dict[str, list[Any]] = {name: [] for name in more}

    def part() -> _Part:
        return np.array(status), np.array(table), {name: pa.array(values) for name, values in others.items()}

    for number, line in json_lines(path):
        values = _line_values(line, prefix)
        status.append(str(line.get("status", "ok")))
        for name, column in others.items():
            column.append(line.get("image_path" if name == "key" and "results" in line else name))
        try:
            table.append([float("nan") if values.get(n) is None else float(values[n]) for n in wanted])
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path}, line {number} has something else than numbers as scores") from None
        if len(table) == rows:
            yield part()
            status, table, others = [], [], {name: [] for name in more}
    if table:
        yield part()


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
