"""benchmarks/same_outputs.py: what two versions of the package may differ in, and what they may not."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.same_outputs import compare, without_times


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"created": "2026-01-02T03:04:05Z", "rows": 3}', '{"created": "2027-11-12T13:14:15Z", "rows": 3}'),
        ('{"seconds": 1.25, "rows": 3}', '{"seconds": 17, "rows": 3}'),
        ("open_seconds = 0.5, rows 3", "open_seconds = 11, rows 3"),
        ("3 rows in 0.12 s, 25.1 images/s", "3 rows in 4 s, 0.7 images/s"),
        ("took 12.5 ms, 113 MB", "took 3 ms, 1200 MB"),
        ("100% in 0:05", "99% in 10:42"),
        ("began at 2026-01-02T03:04:05.678+00:00", "began at 2026-01-03T00:00:00Z"),
    ],
)
def test_times_and_rates_are_no_difference(tmp_path, one, other):
    assert without_times(one, tmp_path) == without_times(other, tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"seconds": 1, "rows": 3}', '{"seconds": 1, "rows": 4}'),
        ("anger 0.25", "anger 0.26"),
        ('{"key": "a.jpg"}', '{"key": "b.jpg"}'),
        ("3 rows in 1 s", "4 rows in 1 s"),
    ],
)
def test_values_are_a_difference(tmp_path, one, other):
    assert without_times(one, tmp_path) != without_times(other, tmp_path)


def test_the_folder_of_a_run_is_no_difference(tmp_path):
    texts = [without_times(f"wrote {tmp_path / name}/s.csv", tmp_path / name) for name in ("first", "second")]
    assert texts == ["wrote OUT/s.csv"] * 2


def outputs(folder, *, score=0.5, seconds=1.0, line_end="\n", more=()):
    """The outputs of a run in every kind of file that is looked into."""
    folder.mkdir()
    schema = pa.schema([("key", pa.string()), ("raw", pa.float32())], {"created": f"2026-01-02T03:04:0{seconds:.0f}"})
    pq.write_table(pa.table({"key": ["a", "b"], "raw": [score, float("nan")]}, schema), folder / "s.parquet")
    (folder / "s.csv").write_bytes(line_end.join(["key,raw", f"a,{score}", ""]).encode())
    (folder / "s.json").write_text(json.dumps({"seconds": seconds, "raw": score}))
    (folder / "s.bin").write_bytes(b"\xff\x00")
    (folder / "cache").mkdir()
    (folder / "cache" / "engine").write_text(str(seconds))
    for name in more:
        (folder / name).write_text("")
    return folder


def test_equal_runs_have_no_difference(tmp_path, capsys):
    assert compare(outputs(tmp_path / "a"), outputs(tmp_path / "b", seconds=2.0), 3) == 0
    assert capsys.readouterr().out == "4 files, 0 different\n", "the cache is not looked at, NaN equals NaN"


def test_every_file_with_another_value_is_named(tmp_path, capsys):
    assert compare(outputs(tmp_path / "a"), outputs(tmp_path / "b", score=0.25), 3) == 3
    text = capsys.readouterr().out
    assert "different: s.parquet\n" in text
    assert "different: s.csv\n  - a,0.5\n  + a,0.25\n" in text
    assert "s.bin" not in text


def test_a_file_of_one_run_alone_is_a_difference(tmp_path, capsys):
    assert compare(outputs(tmp_path / "a"), outputs(tmp_path / "b", more=["t.vtt"]), 3) == 1
    assert "only in the second: t.vtt" in capsys.readouterr().out


def test_line_ends_are_told_from_values(tmp_path, capsys):
    assert compare(outputs(tmp_path / "a"), outputs(tmp_path / "b", line_end="\r\n"), 3) == 1
    assert "different in line ends alone: s.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "other", "alone"),
    [
        ('"key","raw"\n"a",3\n', "key,raw\na,3.0\n", True),
        ('"a\nb","[0.10000000149011612, 2.0]"\n', '"a\nb","[0.1, 2.0]"\n', True),
        ('"a",3\n', "a,3.0000001\n", False),
        ('"a",3\n', "b,3\n", False),
        ('"a",3\n', "a,\n", False),
        ('"a","[0.1, 2.0]"\n', 'a,"[0.1, 2.1]"\n', False),
    ],
)
def test_the_dialect_of_csv_is_told_from_values(tmp_path, capsys, one, other, alone):
    first, second = outputs(tmp_path / "a"), outputs(tmp_path / "b")
    (first / "s.csv").write_text(one)
    (second / "s.csv").write_text(other)
    assert compare(first, second, 3) == 1
    assert ("different in the dialect alone: s.csv" in capsys.readouterr().out) is alone


def test_other_bytes_and_other_row_groups_are_a_difference(tmp_path, capsys):
    first, second = outputs(tmp_path / "a"), outputs(tmp_path / "b")
    (second / "s.bin").write_bytes(b"\xff\x01")
    pq.write_table(pq.read_table(first / "s.parquet"), second / "s.parquet", row_group_size=1)
    assert compare(first, second, 3) == 2
    assert "different: s.bin\ndifferent: s.parquet\n" in capsys.readouterr().out
