"""Parquet, CSV and JSON lines: what is read back is what was written, and files appear whole or not at all."""

import csv
import json
import os
import re
import signal
import stat
from collections import deque
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emonet_fast.errors import EmonetError, OptionError
from emonet_fast.records import Status
from emonet_fast.reliability import record
from emonet_fast.reports.pictures import PictureReport
from emonet_fast.scores import Scores
from emonet_fast.sinks import SCHEMA_VERSION, open_sink
from emonet_fast.sinks.apart import OutputsApart
from emonet_fast.sinks.parquet import ROW_GROUP
from emonet_fast.sinks.tables import recover

from .rows import HOSTILE, METADATA, made

KINDS = [("out.parquet", "default"), ("out.csv", "default"), ("out.jsonl", "default"), ("out.jsonl", "laion")]
every_kind = pytest.mark.parametrize(("name", "form"), KINDS, ids=["parquet", "csv", "jsonl", "laion"])
tables = pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])


def write(path, batches, *, form="default", embeddings=False):
    sink = open_sink(path, format=form, metadata=METADATA, embeddings=embeddings)
    for batch in batches:
        sink.write(batch)
    sink.close()


def read(path) -> list[dict]:
    """Rows of any of the files, with numbers in the columns' own dtype and None where there is no value."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line, parse_constant=pytest.fail) for line in path.read_bytes().split(b"\n")[:-1]]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name, text in row.items():
            if name.startswith("raw_"):
                row[name] = float(np.float32(text)) if text else None
            elif name.startswith(("score_", "softmax_")):
                row[name] = float(text) if text else None
            elif name == "embedding":
                row[name] = [float(np.float32(v)) for v in json.loads(text)] if text else None
    return rows


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith((".tmp", ".partial"))]


@tables
@pytest.mark.parametrize("embeddings", [False, True])
def test_reads_back_equal_to_the_last_bit(tmp_path, name, embeddings):
    batches = [made(HOSTILE[:5], bad={1}), made([]), made(HOSTILE[5:], bad={0}, seed=1)]
    write(tmp_path / name, batches, embeddings=embeddings)
    whole = Scores.concat(batches)
    rows = read(tmp_path / name)
    assert len(rows) == len(HOSTILE)
    for i, row in enumerate(rows):
        assert list(row) == [*whole.columns(), *(["embedding"] if embeddings else [])]
        for column, values in whole.columns().items():
            expected = values[i] if isinstance(values, tuple) else (float(values[i]) if whole.ok[i] else None)
            unknown = "" if name.endswith(".csv") and isinstance(values, tuple) else None
            assert row[column] == (unknown if expected is None else expected), (i, column)
        if embeddings:
            assert row["embedding"] == (whole.embeddings[i].tolist() if whole.ok[i] else None)
    assert leftovers(tmp_path) == []


@tables
@given(st.lists(st.text(max_size=12), max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_survives(tmp_path, name, keys):
    write(tmp_path / name, [made(keys, names=["awe"])])
    assert [r["key"] for r in read(tmp_path / name)] == keys


@every_kind
def test_keys_that_are_not_utf8_are_written_as_escapes(tmp_path, name, form):
    write(tmp_path / name, [made(["caf\udce9.jpg"])], form=form)
    assert read(tmp_path / name)[0]["image_path" if form == "laion" else "key"] == r"caf\xe9.jpg"


@tables
@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("heads", [["awe", "fear"], None])
def test_columns_follow_what_the_scores_have(tmp_path, name, means, heads):
    scores = made(["a"], means=means, **({"names": heads} if heads else {}))
    write(tmp_path / name, [scores])
    assert list(read(tmp_path / name)[0]) == list(scores.columns())


@every_kind
def test_only_bad_rows(tmp_path, name, form):
    write(tmp_path / name, [made(["a", "b"], bad={0, 1})], form=form)
    rows = read(tmp_path / name)
    assert [(r["status"], r["reason"]) for r in rows] == [("truncated", "ends after 12 bytes")] * 2
    assert not any(isinstance(v, float) for r in rows for v in r.values())


@every_kind
@pytest.mark.parametrize("batches", [[], [made([])]], ids=["no batch", "an empty batch"])
def test_no_rows_give_a_valid_file(tmp_path, name, form, batches):
    write(tmp_path / name, batches, form=form)
    assert read(tmp_path / name) == []
    if name == "out.parquet":
        assert pq.read_schema(tmp_path / name).names[:3] == ["key", "status", "reason"]
    if name == "out.csv":
        assert (tmp_path / name).read_text().startswith("key,status,reason")


def test_parquet_types_metadata_and_compression(tmp_path):
    write(tmp_path / "out.parquet", [made(["a"])], embeddings=True)
    file = pq.ParquetFile(tmp_path / "out.parquet")
    schema = file.schema_arrow
    assert schema.field("key").type == schema.field("reason").type == pa.string()
    assert schema.field("raw_awe").type == pa.float32()
    assert schema.field("score_awe").type == schema.field("softmax_awe").type == pa.float64()
    assert (schema.field("embedding").type.list_size, schema.field("embedding").type.value_type) == (6, pa.float32())
    found = {k.decode(): v.decode() for k, v in schema.metadata.items()}
    assert found == METADATA | {"emonet_fast.schema_version": SCHEMA_VERSION, "reliability": record()}
    assert file.metadata.row_group(0).column(3).compression == "ZSTD"


@pytest.mark.parametrize("sizes", [[1] * 50, [ROW_GROUP + 3], [ROW_GROUP - 1, 2, ROW_GROUP]])
def test_row_groups_do_not_follow_the_batches(tmp_path, sizes):
    batches = [made([f"{i}.{j}" for j in range(n)], names=["awe"]) for i, n in enumerate(sizes)]
    write(tmp_path / "out.parquet", batches)
    file = pq.ParquetFile(tmp_path / "out.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    full, rest = divmod(sum(sizes), ROW_GROUP)
    assert groups == [ROW_GROUP] * full + ([rest] if rest else [])
    assert file.read(["key"])["key"].to_pylist() == [k for b in batches for k in b.keys]


@pytest.mark.parametrize(("name", "form"), KINDS[1:], ids=["csv", "jsonl", "laion"])
def test_metadata_lies_beside_text_files(tmp_path, name, form):
    write(tmp_path / name, [made(["a", "b"]), made(["c"])], form=form)
    facts = json.loads((tmp_path / f"{name}.meta.json").read_text(encoding="utf-8"))
    kind = form if form == "laion" else name.split(".")[1]
    ours = {"emonet_fast.schema_version": SCHEMA_VERSION, "emonet_fast.format": kind, "emonet_fast.rows": "3"}
    ours["reliability"] = record()
    assert facts == METADATA | ours


@every_kind
def test_a_run_that_ends_early_keeps_its_rows_and_any_older_file(tmp_path, name, form):
    """In place where there is no older file, else as <name>.partial, of which `recover` makes a table."""
    first, then = ([made([f"{run}{i}"]) for i in range(3)] for run in ("first", "then"))
    apart = OutputsApart()
    sink = open_sink(tmp_path / name, format=form, metadata=METADATA)
    apart.add(sink, sink.write)
    for batch in first:
        apart.write(batch)
    apart.end_all(early=True, empty=False)
    assert (apart.written, apart.faults, apart.notes) == ([tmp_path / name], [], [])
    key = "image_path" if form == "laion" else "key"
    assert [row[key] for row in read(tmp_path / name)] == ["first0", "first1", "first2"]
    before = (tmp_path / name).read_bytes()
    sink = open_sink(tmp_path / name, format=form, metadata=METADATA)
    apart.add(sink, sink.write)
    for batch in then:
        apart.write(batch)
    apart.end_all(early=True, empty=False)
    assert (tmp_path / name).read_bytes() == before
    assert leftovers(tmp_path) == [f"{name}.partial"]
    assert len(apart.written) == len(apart.notes) == 1
    assert f"`emonet-fast recover {tmp_path / name}`" in apart.notes[0]
    assert recover(tmp_path / name) == 3
    assert [row[key] for row in read(tmp_path / name)] == ["then0", "then1", "then2"]
    assert leftovers(tmp_path) == []


def test_an_output_that_fails_takes_no_other_with_it(tmp_path):
    """The table's disk is full: its whole rows are kept, the page has all, and the run goes on for it."""
    apart = OutputsApart()
    full, page = open_sink(tmp_path / "full.csv", metadata=METADATA), PictureReport(tmp_path / "page.html", "t", {})
    apart.add(full, full.write)
    apart.add(page, lambda batch: page.write(batch, [None]))
    for i in range(4):
        with full_disk(full.file.tell() + 100) if i == 2 else nullcontext():
            apart.write(made([str(i)]))
        assert not apart.lost
    apart.end_all(early=False, empty=False)
    assert [row["key"] for row in read(tmp_path / "full.csv")] == ["0", "1"]
    assert re.search(r"<b>4</b> <span[^>]*>pictures<", (tmp_path / "page.html").read_text())
    assert len(apart.faults) == 1
    assert "full.csv" in apart.faults[0]
    assert "; kept of it: " in apart.faults[0]
    assert leftovers(tmp_path) == []


@every_kind
def test_an_older_file_is_there_until_the_new_one_is_whole(tmp_path, name, form):
    write(tmp_path / name, [made(["older"])], form=form)
    before = (tmp_path / name).read_bytes()
    sink = open_sink(tmp_path / name, format=form, metadata=METADATA, embeddings=False)
    sink.write(made(["newer", "newest"]))
    assert (tmp_path / name).read_bytes() == before
    sink.close()
    assert len(read(tmp_path / name)) == 2
    assert leftovers(tmp_path) == []


@tables
def test_a_failed_batch_is_never_published_even_if_the_caller_goes_on(tmp_path, name):
    path = tmp_path / name
    broken = made(["a"])
    object.__setattr__(broken, "keys", (3,))  # a key that is no text fails inside the encoder
    sink = open_sink(path, metadata=METADATA, embeddings=False)
    sink.write(made(["fine"]))
    with pytest.raises(TypeError):
        sink.write(broken)
    sink.write(made(["good"]))
    sink.close()
    assert [row["key"] for row in read(path)] == ["fine", "good"]
    assert leftovers(tmp_path) == []


@contextmanager
def full_disk(room):
    """No file of this process may grow beyond `room` bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@tables
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, name):
    sink = open_sink(tmp_path / name, metadata=METADATA, embeddings=False)
    batches = (made([str(i)]) for i in range(500))
    with full_disk(200_000), pytest.raises(EmonetError, match=re.escape(name)):
        deque(map(sink.write, batches), maxlen=0)
    sink.close()
    rows = read(tmp_path / name)
    assert [row["key"] for row in rows] == [str(i) for i in range(len(rows))]
    assert 0 < len(rows) < 500
    assert leftovers(tmp_path) == []


def test_a_table_is_put_in_place_though_its_metadata_cannot_be(tmp_path):
    sink = open_sink(tmp_path / "out.csv", metadata=METADATA)
    sink.write(made(["a"]))
    (tmp_path / "out.csv.meta.json").mkdir()
    with pytest.raises(EmonetError, match=r"meta\.json: it exists and is not a file.*the table itself is in place"):
        sink.close()
    assert [row["key"] for row in read(tmp_path / "out.csv")] == ["a"]
    assert leftovers(tmp_path) == []


def test_a_closed_sink_takes_no_more(tmp_path):
    sink = open_sink(tmp_path / "out.csv", metadata=METADATA, embeddings=False)
    sink.write(made(["a"]))
    sink.close()
    sink.close()
    with pytest.raises(EmonetError, match="closed"):
        sink.write(made(["b"]))
    assert len(read(tmp_path / "out.csv")) == 1


@pytest.mark.parametrize(
    "other",
    [made(["b"], names=["awe"]), made(["b"], means=False), made(["b"], width=7)],
    ids=["other heads", "no baseline", "other width"],
)
@tables
def test_batches_that_do_not_match_are_refused(tmp_path, name, other):
    with pytest.raises(OptionError, match="begun with"):
        write(tmp_path / name, [made(["a"]), other], embeddings=True)
    assert not (tmp_path / name).exists()


@tables
def test_promised_embeddings_must_come(tmp_path, name):
    scores = Scores.from_raw([[1.0]], ["awe"], status=[Status.OK])
    with pytest.raises(OptionError, match="embeddings=True"):
        write(tmp_path / name, [scores], embeddings=True)


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("out.ods", "default", r"\.parquet, \.csv, \.jsonl, \.xlsx"),
        ("out", "default", r"\.parquet, \.csv, \.jsonl"),
        ("out.jsonl", "json", "default, laion"),
        ("out.csv", "laion", r"name it \.jsonl"),
        ("missing/out.csv", "default", "there is no folder"),
        ("folder.csv", "default", "not a file"),
        ("x" * 300 + ".csv", "default", "File name too long"),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path, name, form, text):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OptionError, match=text):
        open_sink(tmp_path / name, format=form, metadata=METADATA, embeddings=False)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]


def test_laion_has_no_place_for_embeddings(tmp_path):
    with pytest.raises(OptionError, match="embeddings"):
        open_sink(tmp_path / "out.jsonl", format="laion", metadata=METADATA, embeddings=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write to every folder")
def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OptionError, match="Permission denied"):
            open_sink(tmp_path / "out.csv", metadata=METADATA, embeddings=False)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="file modes and links of POSIX")
def test_modes_follow_the_umask_and_links_stay(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.csv"
    link.symlink_to(tmp_path / "real" / "table.csv")
    before = os.umask(0o027)
    try:
        write(link, [made(["a"])])
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert stat.S_IMODE((tmp_path / "real" / "table.csv").stat().st_mode) == 0o640
    assert leftovers(tmp_path / "real") == []


def test_csv_keys_are_not_altered_and_numbers_are_short(tmp_path):
    scores = Scores.from_raw([[0.1], [np.nan]], ["awe"], {"awe": 0.0}, keys=["=1+1.jpg", "b"])
    write(tmp_path / "out.csv", [scores])
    assert (tmp_path / "out.csv").read_bytes().decode().split("\n") == [
        "key,status,reason,raw_awe,score_awe,file_name,dominant_emotion",
        "=1+1.jpg,ok,,0.1,0.10000000149011612,=1+1.jpg,awe",
        "b,failed,the engine gave a value that is not finite,,,b,",
        "",
    ]


def test_csv_lines_end_with_a_line_feed_and_a_carriage_return_is_quoted(tmp_path):
    write(tmp_path / "out.csv", [made(["a\rb", "c\r\n"], names=["awe"], bad={0, 1})])
    header, rest = (tmp_path / "out.csv").read_bytes().split(b"\n", 1)
    assert header == b"key,status,reason,raw_awe,score_awe,file_name,dominant_emotion"
    assert rest == b'"a\rb",truncated,ends after 12 bytes,,,"a\rb",\n"c\r\n",truncated,ends after 12 bytes,,,"c\r\n",\n'


def test_pandas_reads_the_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    scores = made(HOSTILE[:6], bad={2})
    write(tmp_path / "out.csv", [scores])
    frame = pandas.read_csv(tmp_path / "out.csv")
    assert frame["key"].tolist() == list(HOSTILE[:6])
    # pandas' own reader of numbers may miss the last bit.
    np.testing.assert_allclose(frame["softmax_awe"], scores.columns()["softmax_awe"], rtol=1e-15, equal_nan=True)
