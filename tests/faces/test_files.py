"""Boxes that were found elsewhere."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.errors import InputError
from emonet_fast.faces.files import BoxFile
from emonet_fast.records import Face

FACE = (10.5, 20.0, 30.25, 40.0)


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "names", [("x", "y", "width", "height"), ("face_x", "face_y", "face_width", "face_height"), None]
)
def test_tables(tmp_path, kind, names):
    x, y, w, h = FACE
    if names is None:
        row = {"left": x, "top": y, "right": x + w, "bottom": y + h}
    else:
        row = dict(zip(names, FACE, strict=True))
    path = write(tmp_path / f"boxes.{kind}", [{"key": "a/b.jpg", **row, "score": 0.5, "track_id": 3}])
    boxes = BoxFile(path)
    expected = (Face(*FACE, score=0.5, track=3),)
    assert boxes.of_picture("a/b.jpg") == boxes.of_picture("elsewhere/b.jpg") == expected
    assert boxes.of_picture("c.jpg") == ()


def test_our_own_output_comes_back(tmp_path):
    columns = ("face_x", "face_y", "face_width", "face_height")
    rows = [{"key": f"a.jpg::box{i}", **dict(zip(columns, FACE, strict=True)), "face_score": 0.9} for i in range(2)]
    rows.append({"key": "none.jpg", **dict.fromkeys(columns), "face_score": None})
    boxes = BoxFile(write(tmp_path / "scores.parquet", rows))
    assert len(boxes.of_picture("a.jpg")) == 2
    assert boxes.of_picture("none.jpg") == ()


def test_coco_of_pictures(tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "sub/a.jpg"}],
                "annotations": [{"id": 1, "image_id": 7, "bbox": FACE, "score": 0.8}],
            }
        )
    )
    boxes = BoxFile(path)
    assert boxes.of_picture("/data/a.jpg") == (Face(*FACE, score=0.8),)


@pytest.mark.parametrize("plain", [False, True])
def test_coco_of_a_video(tmp_path, plain):
    rows = [
        {"image_id": f"v_frame_{i}", "bbox": FACE, "timestamp": i / 10, "frame_number": i, "face_id": 4} for i in (3, 5)
    ]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(rows if plain else {"annotations": rows}))
    boxes = BoxFile(path)
    assert boxes.of_frame(3, 99.0) == (Face(*FACE, track=4),)
    assert boxes.of_frame(4, 0.3) == ()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20, unique=True), st.floats(0, 32))
def test_nearest_time(tmp_path_factory, tenths, seconds):
    path = tmp_path_factory.mktemp("boxes") / "t.csv"
    write(path, [{"time": t / 10, "x": t, "y": 0, "width": 5, "height": 5} for t in tenths])
    found = BoxFile(path).of_frame(0, seconds)
    near = sorted((abs(t / 10 - seconds), t) for t in tenths)
    if near[0][0] > 0.05:
        assert found == ()
    else:
        assert found[0].x in {t for d, t in near if d == near[0][0]}


def test_small_faces_are_left_out(tmp_path):
    rows = [{"key": "a.jpg", "x": 0, "y": 0, "width": s, "height": 5} for s in (10, 30)]
    boxes = BoxFile(write(tmp_path / "b.csv", rows), min_face=20)
    assert [len(f) for f in boxes.detect([], ["a.jpg", "b.jpg"])] == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,0,4\n", "row 1: the box"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,3,nan\n", "row 1: 'nan' came"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,3,high\n", "row 1: could not convert"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,,3,4\n", "row 1: the box"),
        ("a.csv", "key,a\na.jpg,1\n", "no box; expected the columns"),
        ("a.csv", "x,y,width,height\n1,2,3,4\n", "no rows that name a picture"),
        ("a.csv", "", "no rows that name"),
        ("a.csv", "key,x,y,width,height\n" + "a" * 140_000 + ",1,2,3,4\n", "cannot be read: field larger"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[" * 100_000, "cannot be read: maximum recursion"),
        ("a.json", "{}", "no list of annotations"),
        ("a.json", '[{"id": 9, "bbox": [1, 2]}]', "annotation 9: bbox"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.txt", "", "expected boxes in a file named"),
    ],
)
def test_refusals(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        BoxFile(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        BoxFile(tmp_path / "none.csv")
