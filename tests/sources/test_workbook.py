"""Excel workbooks are read as the CSV of the same cells is, by every reader of tables."""

import csv
import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from emonet_fast.errors import DataError
from emonet_fast.evaluate.annotations import binary_from_csv, hq_from_csv
from emonet_fast.evaluate.any_hit import read_labels
from emonet_fast.evaluate.predictions import read_predictions
from emonet_fast.population.stored import StoredScores
from emonet_fast.population.tables import columns_of, facts_of
from emonet_fast.sinks import open_sink
from emonet_fast.sources.workbook import read_workbook
from emonet_fast.summaries.labels import read_participants
from emonet_fast.targets import read_targets

from ..sinks.rows import HOSTILE, METADATA, made

openpyxl = pytest.importorskip("openpyxl", reason="needs the extra excel")


def write(path, rows, title="a sheet"):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(["not", "this"])
    book.save(path)
    return path


def both(folder, rows):
    """The same cells as a workbook and as a CSV."""
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return write(folder / "t.xlsx", rows), folder / "t.csv"


def test_cells_have_the_kinds_of_their_column(tmp_path):
    day = datetime.datetime(2026, 5, 4, 3, 2)
    rows = [
        ["key", "n", "x", "yes", "mixed", "when", None],
        ["a", 1, 0.5, True, 1, day, None],
        [None] * 7,
        ["b_x000D_", 2, 3, None, "na", None, None],
        [7],
    ]
    table = read_workbook(write(tmp_path / "t.XLSX", rows))
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "bool", "string", "string"]
    assert table.to_pydict() == {
        "key": ["a", "b\r", "7"],
        "n": [1, 2, None],
        "x": [0.5, 3.0, None],
        "yes": [True, None, None],
        "mixed": ["1", "na", None],
        "when": ["2026-05-04T03:02:00", None, None],
    }


@pytest.mark.parametrize(
    ("rows", "fault"),
    [([["key", None], ["a", 3]], "row 2 has 3 in a column without a name"), ([[None], [1]], "no names of columns")],
)
def test_what_is_no_table_is_refused(tmp_path, rows, fault):
    with pytest.raises(DataError, match=fault):
        read_workbook(write(tmp_path / "t.xlsx", rows))


def test_a_damaged_workbook_is_named(tmp_path):
    whole = write(tmp_path / "t.xlsx", [["key"], ["a"]]).read_bytes()
    for name, bytes_ in {"text.xlsx": b"key,awe\n", "cut.xlsx": whole[:-200], "none.xlsx": None}.items():
        if bytes_ is not None:
            (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(DataError, match=rf"{name} cannot be read as an Excel workbook"):
            read_workbook(tmp_path / name)


def test_our_own_workbook_gives_the_scores_of_our_parquet(tmp_path):
    scores = made([*HOSTILE, "plain.jpg"], bad={1})
    files = tmp_path / "s.xlsx", tmp_path / "s.parquet"
    for path in files:
        sink = open_sink(path, metadata=METADATA)
        sink.write(scores)
        sink.close()
    assert columns_of(files[0]) == columns_of(files[1])
    book, table = (StoredScores([path], anonymous=True) for path in files)
    assert book.names == table.names
    for (status, raw, more), (status_2, raw_2, more_2) in zip(book.rows(["key"]), table.rows(["key"]), strict=True):
        assert status.tolist() == status_2.tolist()
        np.testing.assert_array_equal(raw, raw_2)
        assert more["key"].to_pylist() == more_2["key"].to_pylist()
    assert facts_of(files[0]).items() <= {
        **facts_of(files[1]), "emonet_fast.schema_version": facts_of(files[0])["emonet_fast.schema_version"]
    }.items()  # fmt: skip
    predicted = [read_predictions(path, "raw", any_heads=True) for path in files]
    assert predicted[0].keys == predicted[1].keys
    np.testing.assert_array_equal(predicted[0].values, predicted[1].values)
    assert pq.read_schema(files[1]).names == list(columns_of(files[0]))


def test_labels_are_those_of_the_csv(tmp_path):
    rows = [
        ["key", "annotator", "Awe", "person"],
        ["a.jpg", "x", 3, 1],
        ["a.jpg", "y", 4.5, 1],
        ["b.jpg", "x", None, 2],
    ]
    book, text = map(read_targets, both(tmp_path, rows))
    assert (book.keys, book.names, book.scales, book.groups) == (text.keys, text.names, text.scales, text.groups)
    np.testing.assert_array_equal(book.values, text.values)
    np.testing.assert_array_equal(book.weights, text.weights)


def test_annotations_labels_and_participants_are_those_of_the_csv(tmp_path):
    answers = [["path", "annotator", "value", "emotion"], ["a.jpg", "x", True, "Awe"], ["a.jpg", "y", False, "Awe"]]
    book, text = map(binary_from_csv, both(tmp_path, answers))
    assert (book.yes.tolist(), book.total.tolist(), book.images) == (
        text.yes.tolist(),
        text.total.tolist(),
        text.images,
    )
    rated = [["image", "annotator", "annotations"], ["a.jpg", "x", "{'Awe': 3}"], ["b.jpg", "x", "{'Awe': 1.5}"]]
    book, text = (hq_from_csv(path, partial=True) for path in both(tmp_path, rated))
    np.testing.assert_array_equal(book.values, text.values)
    assert book.raters == text.raters
    classes = both(tmp_path, [["file", "label"], ["a.jpg", "happy"], ["b.jpg", 3]])
    assert read_labels(classes[0]) == read_labels(classes[1]) == {"a.jpg": "happy", "b.jpg": "3"}
    people = both(tmp_path, [["key", "participant"], ["a.jpg", 1], ["b.jpg", None]])
    assert read_participants(people[0]) == read_participants(people[1])
