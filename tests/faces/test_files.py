"""Boxes that were found elsewhere."""

import codecs
import csv
import json
import os

import numpy as np
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
    assert boxes.of_picture("a/b.jpg") == boxes.of_picture("a/b.jpg::box0") == expected
    assert boxes.of_picture("elsewhere/b.jpg") == boxes.of_picture("c.jpg") == ()


def test_nobody_gets_another_ones_faces(tmp_path):
    """Three people's pictures of one file name, two of them in the file, in folders, by absolute path and in a tar."""
    people = {"d/anna/1.jpg": 10, "d/bert/1.jpg": 40}
    boxes = [{"key": key, "x": x, "y": 0, "width": 30, "height": 30} for key, x in people.items()]
    for place in ("", "/abs/", "x.tgz::"):
        found = BoxFile(write(tmp_path / "b.csv", boxes))
        faces = found.detect([], [f"{place}d/{name}/1.jpg" for name in ("anna", "bert", "cleo")])
        assert [[face.x for face in some] for some in faces] == [[10], [40], []]
        (note,) = found.notes()
        assert note.startswith("1 of 3 pictures have no row in ")
        assert f"'{place}d/cleo/1.jpg'; its rows name such as 'd/anna/1.jpg'" in note
    with pytest.raises(InputError, match=r"'1.jpg' fits both 'd/anna/1.jpg' and 'd/bert/1.jpg'"):
        found.of_picture("1.jpg")
    one = BoxFile(write(tmp_path / "b.csv", [boxes[0] | {"key": "1.jpg"}]))
    assert len(one.of_picture("d/anna/1.jpg")) == len(one.of_picture("d/anna/1.jpg#2")) == 1
    with pytest.raises(InputError, match=r"'1.jpg' of .* could be 'd/anna/1.jpg' or 'd/bert/1.jpg'; name .* folders"):
        one.of_picture("d/bert/1.jpg")


VIDEO_BOX = {"y": 0, "width": 30, "height": 30}


@pytest.mark.parametrize("name", [{"source": "{}.mp4"}, {"key": "d/{}.mp4"}, {"key": "{}.mp4::frame3::box0"}])
def test_two_videos_in_one_file(tmp_path, name):
    rows = [
        VIDEO_BOX | {"x": x, "frame": 3} | {column: text.format(video) for column, text in name.items()}
        for video, x in (("a", 1), ("b", 2), ("b", 3))
    ]
    boxes = BoxFile(write(tmp_path / "two.csv", rows))
    assert [f.x for f in boxes.of_frame(3, 0, "d/a.mp4")] == [1]
    assert [f.x for f in boxes.of_frame(3, 0, "d/b.mp4")] == [2, 3]
    assert boxes.of_frame(4, 0, "d/b.mp4") == ()
    assert boxes.notes() == [
        f"1 of 3 sampled frames have no row in {tmp_path / 'two.csv'}, such as 'frame 4 at 0.000 s'; its rows name "
        "such as 'frame 3'"
    ]
    with pytest.raises(InputError, match=r"has the boxes of .*a.mp4', .*b.mp4'; none of these is 'c.mp4'"):
        boxes.of_frame(3, 0, "c.mp4")


def test_identity_0_is_one_and_minus_1_is_none(tmp_path):
    rows = [VIDEO_BOX | {"x": i, "frame": 0, "track_id": i} for i in (0, 1, -1)]
    assert [f.track for f in BoxFile(write(tmp_path / "b.csv", rows)).of_frame(0, 0.0)] == [0, 1, None]


def test_an_identity_is_one_face_of_a_frame(tmp_path):
    """The other one is nobody's whom the file knows, or scores of one would be taken over for both."""
    rows = [VIDEO_BOX | {"x": i, "frame": 0, "track_id": 5} for i in range(3)]
    boxes = BoxFile(write(tmp_path / "b.csv", rows))
    assert [f.track for some in boxes.detect([], [(0, 0.0, "")]) for f in some] == [5, None, None]
    assert boxes.notes() == [
        f"2 of 3 faces of {tmp_path / 'b.csv'} have the identity of another face of their frame; they are followed as "
        "faces without one"
    ]


def test_our_own_times_are_seconds(tmp_path):
    """Our tables of videos have `pts` in units of the stream beside `seconds`."""
    row = VIDEO_BOX | {"x": 1, "seconds": 2.5, "pts": 32000, "time_base": "1/12800"}
    assert len(BoxFile(write(tmp_path / "b.csv", [row])).of_frame(0, 2.5)) == 1


@pytest.mark.parametrize("name", ["frame_0003.jpg", 3])
def test_pictures_are_no_frames_and_frames_no_pictures(tmp_path, name):
    path = tmp_path / "coco.json"
    path.write_text(
        json.dumps({"images": [{"id": 3, "file_name": name}], "annotations": [{"image_id": 3, "bbox": FACE}]})
    )
    with pytest.raises(InputError, match="names pictures, and no frame or time of a video; expected a column of frame"):
        BoxFile(path).of_frame(3, 0.1)
    path.write_text(json.dumps([{"bbox": FACE, "frame_number": 3}]))
    with pytest.raises(InputError, match="names frames or times of a video, and no picture; expected a column of key"):
        BoxFile(path).need_pictures()


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
                "images": [{"id": 7, "file_name": "sub/a.jpg"}, {"id": 8, "file_name": "sub/none.jpg"}],
                "annotations": [{"id": 1, "image_id": 7, "bbox": FACE, "score": 0.8}],
            }
        )
    )
    boxes = BoxFile(path)
    assert boxes.of_picture("/data/sub/a.jpg") == (Face(*FACE, score=0.8),)
    assert boxes.of_picture("/data/sub/none.jpg") == ()
    assert not boxes.notes()


@pytest.mark.parametrize("plain", [False, True])
def test_coco_of_a_video(tmp_path, plain):
    rows = [
        {"image_id": f"v_frame_{i}", "bbox": FACE, "timestamp": i / 10, "frame_number": i, "face_id": 4} for i in (3, 5)
    ]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(rows if plain else {"annotations": rows}))
    boxes = BoxFile(path)
    for index, faces in ((1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 0)):  # rows are 2 apart
        assert boxes.of_frame(index, 99.0) == (Face(*FACE, track=4),) * faces


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20, unique=True), st.floats(0, 32), st.booleans())
def test_nearest_row(tmp_path_factory, places, at, frames):
    """Within half the spacing of the rows, which is the lower quartile of their distances, and never far away."""
    unit, farthest, alone = (1, 30, 0) if frames else (10, 1, 0.05)
    name, at = ("frame", round(at * 10)) if frames else ("time", at)
    path = tmp_path_factory.mktemp("boxes") / "t.csv"
    write(path, [{name: p / unit, "x": p, "y": 0, "width": 5, "height": 5} for p in places])
    found = BoxFile(path).of_frame(at if frames else 0, 0.0 if frames else at)
    distances = np.sort(np.diff(np.sort(places)) / unit)
    reach = min(farthest, np.percentile(distances, 25, method="lower") / 2) if len(distances) else alone
    near = sorted((abs(p / unit - at), p) for p in places)
    if near[0][0] > reach + 1e-6:
        assert found == ()
    elif near[0][0] < reach - 1e-6:
        assert found[0].x in {p for d, p in near if d == near[0][0]}


def test_boxes_of_every_third_frame_serve_those_between(tmp_path):
    """Also where frames without a face have no row: 12 to 27 stay without one."""
    rows = [VIDEO_BOX | {"x": i, "frame": i} for i in (0, 3, 6, 9, 30, 33)]
    boxes = BoxFile(write(tmp_path / "b.csv", rows))
    found = [[face.x for face in boxes.of_frame(i, i / 25)] for i in range(35)]
    expected = [0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9, *[None] * 18, 30, 30, 30, 33, 33, 33]
    assert found == [[] if x is None else [x] for x in expected]
    (note,) = boxes.notes()
    assert note.startswith("18 of 35 sampled frames have no row in ")


def test_rows_with_a_time_serve_frames_without_an_index(tmp_path):
    rows = [VIDEO_BOX | {"x": 1, "frame": 0, "seconds": 9.0}, VIDEO_BOX | {"x": 2, "frame": "", "seconds": 2.0}]
    boxes = BoxFile(write(tmp_path / "b.csv", rows))
    assert [f.x for index, at in ((0, 0.0), (50, 2.0), (225, 9.0)) for f in boxes.of_frame(index, at)] == [1, 2]


@pytest.mark.parametrize("place", ["annotation", "image", "videos"])
def test_coco_of_two_videos(tmp_path, place):
    """Each keeps its own faces, wherever COCO names the video."""
    names = ["a.mp4", "b.mp4"]
    images = [{"id": i, "file_name": f"{i}.jpg", "frame_index": 3} for i in (0, 1)]
    annotations = [{"id": i, "image_id": i, "bbox": [i, 0, 30, 30]} for i in (0, 1)]
    document = {"images": images, "annotations": annotations}
    if place == "videos":
        document["videos"] = [{"id": 7 + i, "name": name} for i, name in enumerate(names)]
    for i, name in enumerate(names):
        where = annotations[i] if place == "annotation" else images[i]
        where |= {"video_id": 7 + i} if place == "videos" else {"source": name}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    assert [BoxFile(path).of_frame(3, 0, name)[0].x for name in names] == [0, 1]
    for i in (0, 1):
        annotations[i].pop("source", None), images[i].pop("source", None), images[i].pop("video_id", None)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"has frame 3 as '0.jpg' and as '1.jpg'; if they are of two videos, name"):
        BoxFile(path)


def test_large_identities_keep_all_digits(tmp_path):
    """As floats two of them would be one person."""
    people = [2**53, 2**53 + 1, 2**62]
    rows = [VIDEO_BOX | {"x": i, "frame": 0, "track_id": person} for i, person in enumerate(people)]
    for kind in ("csv", "parquet"):
        boxes = BoxFile(write(tmp_path / f"b.{kind}", rows))
        assert [face.track for face in boxes.of_frame(0, 0.0)] == people
        assert boxes.identities == 2**62


def test_small_faces_are_left_out(tmp_path):
    rows = [{"key": "a.jpg", "x": 0, "y": 0, "width": s, "height": 5} for s in (10, 30)]
    boxes = BoxFile(write(tmp_path / "b.csv", rows), min_face=20)
    assert [len(f) for f in boxes.detect([], ["a.jpg"])] == [1]
    assert boxes.notes() == [
        f"1 of 2 faces of {tmp_path / 'b.csv'} are smaller than 20 pixels (--min-face) and were left out"
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,0,4\n", "row 1: the box"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,3,nan\n", "row 1: 'nan' came"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,3,high\n", "row 1: could not convert"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,,3,4\n", "row 1: the box"),
        ("a.csv", "key,a\na.jpg,1\n", "no box; expected the columns"),
        ("a.csv", "x,y,width,height\n1,2,3,4\n", "row 1: it names no picture"),
        ("a.csv", "key,x,y,width,height\na.jpg,1,2,3,4\n,1,2,3,4\n", "row 2: it names no picture"),
        ("a.csv", "key,x,y,width,height\na.jpg,0.1,0.2,0.3,0.4\nb.jpg,0,0,1,1\n", "parts of the picture, 0 to 1"),
        ("a.csv", "frame,x,y,width,height\n0,0.1,0.2,0.3,0.4\n1,0,0,1.02,1\n", "parts of the picture, 0 to 1"),
        ("a.csv", "frame,x,y,width,height\n0.5,1,2,30,40\n", "row 1: frame is '0.5'; expected a whole number"),
        ("a.csv", "frame,x,y,width,height,face_id\n0,1,2,30,40,1e30\n", "face_id is '1e30'; expected a whole"),
        ("a.csv", "frame,x,y,width,height,track\n0,1,2,30,40,9223372036854775807\n", "a whole number up to 2"),
        ("a.csv", "frame,x,y,width,height,track\n0,1,2,30,40,Anna\n", "track is 'Anna'; expected a whole number"),
        ("a.csv", "", "no rows"),
        ("a.csv", "key,x,y,width,height\n" + "a" * 140_000 + ",1,2,3,4\n", "cannot be read: field larger"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[" * 100_000, r"cannot be read: (maximum recursion|Stack overflow)"),
        ("a.json", "{}", "no list of annotations"),
        ("a.json", '[{"id": 9, "bbox": [1, 2]}]', "annotation 9: bbox"),
        ("a.json", '{"annotations": [{"bbox": [1, 2, 3, 4], "image_id": 0}], "images": 5}', "no list of images"),
        ("a.json", '{"annotations": [], "images": [{"id": 1}, {"id": "1"}]}', "1 images with the id of another"),
        ("a.json", '[{"bbox": [1, 2, 3, {}], "image_id": "a.jpg"}]', "row 1: float.. argument"),
        ("a.json", '[{"bbox": [1, 2, 3, 4], "image_id": "a.jpg", "frame": 1e999}]', "row 1: frame is inf; expected"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.txt", "", "expected boxes in a file named"),
    ],
)
def test_refusals(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        BoxFile(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"cannot be read: .* a pipe, socket or device"):
        BoxFile(tmp_path / "a.csv")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        BoxFile(tmp_path / "none.csv")


def test_a_mark_of_the_byte_order_changes_nothing(tmp_path):
    """As Windows' editors write it in front of a text."""
    table = write(tmp_path / "boxes.csv", [{"key": "a.jpg", "x": 1, "y": 2, "width": 3, "height": 4}])
    coco = tmp_path / "boxes.json"
    image, box = {"id": 1, "file_name": "a.jpg"}, {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}
    coco.write_text(json.dumps({"images": [image], "annotations": [box]}))
    for path in (table, coco):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
        assert BoxFile(path).of_picture("a.jpg") == (Face(1, 2, 3, 4),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("key,x,y,width,height,x\na.jpg,1,1,9,9,5\n", "it has the column 'x' twice"),
        ("key,x,y,width,height\na.jpg\n", "line 2 has fewer fields than the header"),
        ("key,x,y,width,height\na.jpg,1,1,9,9,9\n", "line 2 has more fields than the header"),
        ('key,x,y,width,height\n"a.jpg,1,1,9,9\nb.jpg,1,1,9,9\n', "unexpected end of data"),
    ],
)
def test_a_damaged_csv_gives_no_boxes(text, words, tmp_path):
    """A cell that is lost would mean "no face" in a picture that has one."""
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        BoxFile(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("key,x,y,width,height\na.jpg,1,1,9,9,\n")  # an empty field more is none
    assert BoxFile(tmp_path / "b.csv").of_picture("a.jpg")
