"""Which rows are together: columns, folders, a participants' CSV; what is refused; and what a user meets."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import emonet_fast
from emonet_fast.commands import main
from emonet_fast.errors import DataError, OptionError
from emonet_fast.sinks import open_sink
from emonet_fast.summaries import summarise
from emonet_fast.summaries.report import write_report

from ..population.made import population, scores
from ..tolerances import SAME_FIGURE
from .made import frame, write

KEYS = ["p/anna/1.jpg", "p/anna/2.jpg::box1", "p/ben/1.jpg", "x.tar::3.jpg", "t.parquet::4", "5.jpg"]


def pictures(tmp_path, **columns):
    return write(tmp_path / "p.parquet", frame(population(6), **({"key": KEYS} | columns)))


def people(path, *rows, header="key,participant,condition"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def rows_of(summary, *by):
    return {tuple(row[name] for name in by): row["rows"] for row in summary.groups.to_pylist()}


def test_folders_of_files_tars_and_tables(tmp_path):
    summary = summarise(pictures(tmp_path), ["folder"])
    assert rows_of(summary, "folder") == {("p/anna",): 2, ("p/ben",): 1, ("x.tar",): 1, ("t.parquet",): 1, (".",): 1}


def test_numbers_make_groups_and_a_missing_one_its_own(tmp_path):
    summary = summarise(pictures(tmp_path, age=[20.5, np.nan, 20.5, 3, np.nan, 3]), "age")
    assert rows_of(summary, "age") == {(20.5,): 2, (None,): 2, (3.0,): 2}


def test_participants_are_joined_by_the_rule_of_keys(tmp_path):
    listed = people(
        tmp_path / "people.csv", "anna/1.jpg,A,rest", "anna/2.jpg,A,task", "ben/1.jpg,B,", "x.tar::3.jpg,C,task"
    )
    summary = summarise(pictures(tmp_path), ["condition"], participants=listed)
    assert rows_of(summary, "condition") == {("rest",): 1, ("task",): 2, (None,): 1}
    assert summary.metadata["not_named"] == "2 rows that the participants' CSV does not name"
    assert summary.metadata["unit"] == "participant"
    assert summary.groups["units"].to_pylist() == [1, 2, 1]


def test_videos_are_joined_by_their_source(tmp_path):
    table = frame(population(4), source=["v/a.mp4"] * 2 + ["v/b.mp4"] * 2, seconds=[0.0, 1, 0, 1], track=[0, 0, 0, 0])
    listed = people(tmp_path / "people.csv", "a.mp4,A,rest", "b.mp4,B,rest")
    summary = summarise(write(tmp_path / "v.parquet", table), ["condition"], participants=listed)
    row = summary.figures.to_pandas().set_index("dimension").loc["fear"]
    means = table["raw_fear"].astype(np.float64).to_numpy().reshape(2, 2).mean(axis=1)
    assert row["unit_mean"] == pytest.approx(means.mean(), abs=SAME_FIGURE)
    # Student's t with 1 degree of freedom: 12.706204736174694.
    half = 12.706204736174694 * abs(means[1] - means[0]) / 2
    assert row[["low", "high"]].tolist() == pytest.approx([means.mean() - half, means.mean() + half], abs=SAME_FIGURE)


def test_a_group_may_have_rows_without_scores_alone(tmp_path):
    table = frame(population(3), bad=[2], source="a.mp4", seconds=[0.0, 1, 2], track=pd.array([7, 7, None], "Int64"))
    summary = summarise(write(tmp_path / "v.parquet", table))
    assert summary.groups.select(["track", "rows", "left_out"]).to_pylist() == [
        {"track": 7, "rows": 2, "left_out": 0},
        {"track": None, "rows": 0, "left_out": 1},
    ]
    assert set(summary.figures["track"].to_pylist()) == {7}


@pytest.mark.parametrize(
    ("by", "rows", "error", "message"),
    [
        (["colour"], None, DataError, "no column 'colour' of labels; it has key, status, reason"),
        (["track"], None, DataError, "no column 'source'"),
        (["raw_fear", "status"], None, DataError, "no column 'raw_fear'"),
        (["status"], ["1.jpg,A,rest"], OptionError, "no column of .*people.csv is used"),
        (["condition"], ["1.jpg,A,rest"], DataError, "'p/anna/1.jpg' fits both|fits"),
        (["condition"], ["none.jpg,A,rest"], DataError, "people.csv names no row of"),
        (["condition"], ["a.jpg,A,rest", "a.jpg,B,rest"], DataError, "the key 'a.jpg' twice"),
        (["condition"], ["a.jpg,A"], DataError, "fewer fields than the header"),
        (["condition"], [], DataError, "it has no rows"),
    ],
)
def test_what_is_refused(tmp_path, by, rows, error, message):
    header = "key,person,condition" if by == ["status"] else "key,participant,condition"
    listed = None if rows is None else people(tmp_path / "people.csv", *rows, header=header)
    keys = {"key": ["p/anna/1.jpg", "q/anna/1.jpg", *KEYS[2:]]}
    if "fits" in message:
        people(listed, "x/1.jpg,A,rest", "y/1.jpg,A,rest")
        keys = {"key": ["1.jpg", *KEYS[1:]]}
    with pytest.raises(error, match=message):
        summarise(pictures(tmp_path, **keys), by, participants=listed)


def test_a_csv_of_another_encoding_is_told_what_to_do(tmp_path):
    listed = tmp_path / "people.csv"
    listed.write_bytes("key,participant\n1.jpg,Zoë\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"it is not UTF-8 \(.*\); save it as UTF-8"):
        summarise(pictures(tmp_path), ["participant"], participants=listed)


def test_names_of_figures_and_columns_given_twice_are_refused(tmp_path):
    files = pictures(tmp_path, mean="x", condition="x")
    with pytest.raises(OptionError, match="column 'mean' of by is a figure's name"):
        summarise(files, ["mean"])
    with pytest.raises(OptionError, match="column 'condition' is in the scores and in"):
        summarise(files, ["condition"], participants=people(tmp_path / "people.csv", "1.jpg,A,rest"))
    with pytest.raises(DataError, match="expected texts or numbers"):
        summarise(pictures(tmp_path, words=[["a"]] * 6), ["words"])
    with pytest.raises(DataError, match=r"'seconds' holds .*string; expected numbers"):
        summarise(pictures(tmp_path, seconds="soon"), [])


def test_files_that_say_no_checkpoint_are_taken_alone(tmp_path):
    files = write(tmp_path / "p.parquet", frame(population(6)), metadata=False)
    assert summarise(files).groups["rows"].to_pylist() == [6]
    with pytest.raises(DataError, match="does not say which checkpoint"):
        summarise(files, baseline="self")


@pytest.mark.parametrize(("suffix", "format"), [(".csv", "default"), (".jsonl", "default"), (".jsonl", "laion")])
def test_texts_give_the_figures_of_parquet(tmp_path, suffix, format):
    rows, by = scores(population(8), bad=(3,)), ["folder"]
    for name, kind in (("p.parquet", "default"), (f"t{suffix}", format)):
        sink = open_sink(tmp_path / name, format=kind, metadata=rows.metadata)
        sink.write(rows)
        sink.close()
    expected = summarise(tmp_path / "p.parquet", by).figures
    found = summarise(tmp_path / f"t{suffix}", by).figures
    assert found.column_names == expected.column_names
    for name in found.column_names[3:]:
        a, b = (table[name].to_pandas().to_numpy(np.float64) for table in (found, expected))
        np.testing.assert_allclose(a, b, rtol=SAME_FIGURE, atol=SAME_FIGURE, equal_nan=True)


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s.xlsx"])
def test_the_command_writes_tables_and_a_page(tmp_path, name):
    if name.endswith("xlsx"):
        pytest.importorskip("xlsxwriter", reason="needs the extra excel")
        openpyxl = pytest.importorskip("openpyxl", reason="reads what XlsxWriter writes")
    (file,) = pictures(tmp_path, who=["<b>&", "b", "b", "b", "a", "a"])
    out, page = tmp_path / name, tmp_path / "s.html"
    done = CliRunner().invoke(
        main.cli, ["summarise", str(file), "--by", "who", "-o", str(out), "--report", str(page), "--above", "0.5"]
    )
    assert done.exit_code == 0, done.output
    assert "6 rows in 3 groups" in done.output
    assert "note: strongest groups are without a baseline" in done.output
    if name == "s.csv":
        table = pd.read_csv(out)
        assert json.loads((tmp_path / "s.csv.meta.json").read_bytes())["share_above"] == "0.5"
    elif name == "s.parquet":
        table = pd.read_parquet(out)
        assert pq.read_schema(out).metadata[b"derived"].startswith(b"Russell and Mehrabian 1977")
    else:
        table = pd.read_excel(out)
        assert openpyxl.load_workbook(tmp_path / "s.groups.xlsx")["rows"].max_row == 4
    expected = summarise(file, ["who"], above=0.5).to_pandas()[0]
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-14)  # Excel keeps 16 digits
    text = page.read_text("utf-8")
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&amp;" not in text
    assert "<script" not in text
    assert "derived" in text


def test_a_text_and_no_value_are_two_groups_on_the_page(tmp_path):
    table = frame(population(4), who=["none", "none", None, None])
    table.loc[:1, "raw_fear"], table.loc[2:, "raw_fear"] = np.float32(1.25), np.float32(-0.001)
    write_report(summarise(write(tmp_path / "p.parquet", table), ["who"]), tmp_path / "s.html")
    page = (tmp_path / "s.html").read_text("utf-8")
    assert "1.25 (1.25 to 1.25)" in page
    assert "0.00 (0.00 to 0.00)" in page
    assert "−0.00" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "OUT/s.pdf"], "expected a name ending in .parquet, .csv"),
        (["-o", "OUT/s.parquet", "--excel"], "expected a name ending in .csv or .xlsx"),
        (["-o", "OUT/p0.parquet"], "is an input too"),
        (["-o", "OUT/s.csv", "--report", "OUT/s.csv"], ".html"),
        (["-o", "OUT/s.csv", "--kind", "z"], "there is no baseline"),
        (["-o", "OUT/s.csv", "--max-gap", "0"], "x>0"),
        (["-o", "OUT/s.csv", "--above", "nan"], "above is nan"),
        (["-o", "OUT/s.csv", "OUT/p0.parquet"], "name each file once"),
        (["-o", "OUT/s.csv", "--baseline", "OUT/none.json"], "none.json cannot be read"),
        (["-o", "OUT/s.csv", "--participants", "OUT/none.csv"], "none.csv cannot be used as participants"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(tmp_path, arguments, message):
    (file,) = pictures(tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments = [text.replace("OUT", str(tmp_path)) for text in arguments]
    done = CliRunner().invoke(main.cli, ["summarise", str(file), *arguments])
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_under_the_temporary_files_is_told(tmp_path):
    (file,) = write(tmp_path / "p.parquet", frame(population(300)))
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "emonet_fast", "summarise", str(file), "-o", str(tmp_path / "s.csv")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert done.returncode == 2
    assert f"error: cannot write {tmp_path}: File too large" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_the_package_gives_it():
    assert emonet_fast.summarise is summarise
