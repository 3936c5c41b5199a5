"""Excel workbooks, read back by openpyxl, and CSV that Excel opens right."""

import re
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from emonet_fast.errors import EmonetError, OptionError
from emonet_fast.reliability import record
from emonet_fast.sinks import SCHEMA_VERSION, open_sink, tables, xlsx
from emonet_fast.sinks.apart import OutputsApart
from emonet_fast.sinks.tables import open_rows, recover

from .rows import HOSTILE, METADATA, made

pytest.importorskip("xlsxwriter", reason="needs the extra excel")
openpyxl = pytest.importorskip("openpyxl", reason="reads what XlsxWriter writes")
MARKUP = ("<r><t>bold</t></r>", "https://example.org/a.jpg", "_x0041_.jpg", "1234", "TRUE")


@contextmanager
def book(path):
    found = openpyxl.load_workbook(path)
    yield found
    found.close()


def rows(path):
    with book(path) as found:
        header, *cells = found["rows"].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in cells]


def unescaped(text):
    """As Excel reads the escapes of control characters, which openpyxl leaves as they are."""
    return re.sub("_x([0-9A-F]{4})_", lambda code: chr(int(code[1], 16)), text or "")


def test_reads_back_and_every_text_stays_a_text(tmp_path):
    scores = made([*HOSTILE, *MARKUP], bad={1})
    sink = open_sink(tmp_path / "out.xlsx", metadata=METADATA)
    sink.write(scores)
    sink.close()
    found = rows(tmp_path / "out.xlsx")
    assert [unescaped(row["key"]) for row in found] == [*HOSTILE, *MARKUP]
    columns = scores.columns()
    assert list(found[0]) == list(columns)
    for i, row in enumerate(found):
        for name in ("raw_awe", "score_awe", "raw_valence"):
            value = None if i == 1 else float(f"{float(columns[name][i]):.16G}")
            assert row[name] == value
            assert i == 1 or np.float32(row["raw_awe"]) == columns["raw_awe"][i]
    assert found[1]["reason"] == "ends after 12 bytes"
    with book(tmp_path / "out.xlsx") as read:
        keys = [cell for (cell,) in read["rows"].iter_rows(min_row=2, max_col=1)]
        assert {cell.data_type for cell in keys if cell.value} == {"s"}  # "f" would be a formula
        assert not any(cell.hyperlink for cell in keys)
        facts = dict(read["metadata"].iter_rows(min_row=2, values_only=True))
    assert facts == METADATA | {"emonet_fast.schema_version": SCHEMA_VERSION, "reliability": record()}
    assert [p.name for p in tmp_path.iterdir()] == ["out.xlsx"]


def write_xlsx(path, table):
    sink = open_rows(path, {}, lambda rows: rows, dictionary=True)
    try:
        sink.write(table)
        sink.close()
    finally:
        sink.abort()


def test_a_table_of_every_type(tmp_path):
    table = pa.table({
        "n": pa.array([1, None, 10**15], pa.int64()),
        "x": [0.1, float("nan"), float("inf")],
        "yes": [True, False, None],
        "text": ["=1+1", None, "a"],
    })  # fmt: skip
    write_xlsx(tmp_path / "t.xlsx", table)
    assert rows(tmp_path / "t.xlsx") == [
        {"n": 1, "x": 0.1, "yes": True, "text": "=1+1"},
        {"n": None, "x": None, "yes": False, "text": None},
        {"n": str(10**15), "x": None, "yes": None, "text": "a"},
    ]


def test_a_killed_run_is_recovered_and_an_early_end_leaves_the_older_file(tmp_path):
    path = tmp_path / "out.xlsx"
    sink = open_sink(path, metadata=METADATA)
    sink.write(made(["a", "b"]))
    sink.file.close()
    assert recover(path) == 2
    assert [row["key"] for row in rows(path)] == ["a", "b"]
    apart, sink = OutputsApart(), open_sink(path, metadata=METADATA)
    apart.add(sink, sink.write)
    apart.write(made(["c"]))
    apart.end_all(early=True, empty=False)
    assert [row["key"] for row in rows(path)] == ["a", "b"]
    assert recover(path) == 1
    assert [row["key"] for row in rows(path)] == ["c"]


def test_excels_limits_are_said_and_the_rows_before_are_kept(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"16,385 columns came; Excel takes 16,384.*\.parquet or \.csv"):
        write_xlsx(tmp_path / "w.xlsx", pa.table({f"c{i}": [0] for i in range(16_385)}))
    write_xlsx(tmp_path / "long.xlsx", pa.table({"t": ["x" * 32_767]}))
    with pytest.raises(OptionError, match=r"a text in column 't' has 32,768 characters"):
        write_xlsx(tmp_path / "w.xlsx", pa.table({"t": ["", "x" * 32_768]}))
    assert xlsx.MOST_ROWS == 2**20
    monkeypatch.setattr(xlsx, "MOST_ROWS", 4)
    apart, sink = OutputsApart(), open_sink(tmp_path / "out.xlsx", metadata=METADATA)
    apart.add(sink, sink.write)
    for keys in (["a", "b"], ["c"], ["d"]):
        apart.write(made(keys))
    assert "Excel takes 4 rows with the header" in apart.faults[0]
    assert "kept of it: 3 rows" in apart.faults[0]
    assert [row["key"] for row in rows(tmp_path / "out.xlsx")] == ["a", "b", "c"]
    assert not (tmp_path / "w.xlsx").exists()


def test_what_has_no_place_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="no place for embeddings"):
        open_sink(tmp_path / "out.xlsx", metadata={}, embeddings=True)
    with pytest.raises(OptionError, match=r"out\.parquet.*expected a name ending in \.csv or \.xlsx"):
        open_sink(tmp_path / "out.parquet", metadata={}, excel=True)
    monkeypatch.setattr("emonet_fast.optional.available", lambda package: False)
    with pytest.raises(EmonetError, match=r"emonet-fast\[excel\]"):
        open_sink(tmp_path / "out.xlsx", metadata={})
    assert not list(tmp_path.iterdir())


def test_csv_for_excel_begins_with_the_mark_and_is_else_the_same(tmp_path):
    for name, excel in (("plain.csv", False), ("excel.csv", True)):
        sink = open_sink(tmp_path / name, metadata={}, excel=excel)
        for keys in (["é.jpg"], ["日.jpg"]):
            sink.write(made(keys))
        sink.close()
    assert (tmp_path / "excel.csv").read_bytes() == b"\xef\xbb\xbf" + (tmp_path / "plain.csv").read_bytes()
    assert tables.SUFFIXES == (".parquet", ".csv", ".jsonl", ".xlsx")


def test_columns_that_come_at_the_end_are_there_and_a_marked_csv_keeps_its_mark(tmp_path):
    """As `--baseline self` adds them: here the key's length, so that the test needs no population."""

    def add(table):
        return table.append_column("length", pa.array([len(key) for key in table["key"].to_pylist()], pa.int64()))

    for name in ("out.xlsx", "out.csv"):
        sink = open_sink(tmp_path / name, metadata=METADATA, excel=True, annotated=True)
        sink.write(made(["a", "bcd"]))
        sink.annotate(add, {"baseline": "own"})
        sink.close()
    assert [row["length"] for row in rows(tmp_path / "out.xlsx")] == [1, 3]
    with book(tmp_path / "out.xlsx") as read:
        assert dict(read["metadata"].iter_rows(values_only=True))["baseline"] == "own"
    lines = (tmp_path / "out.csv").read_bytes().splitlines()
    assert lines[0].startswith(b"\xef\xbb\xbfkey,")
    assert [line.rpartition(b",")[2] for line in lines] == [b"length", b"1", b"3"]
