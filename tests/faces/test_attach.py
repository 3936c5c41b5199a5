"""Faces from pictures to scores, and `emonet-fast score --faces`."""

import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import emonet_fast as ef
from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.errors import InputError, OptionError
from emonet_fast.faces import BoxFile, FaceDetector, PictureFaces, face_crop
from emonet_fast.options import FaceOptions, Options, VideoOptions
from emonet_fast.preprocess import crop
from emonet_fast.records import Picture, Status

from ..pictures import encoded

SPEC = Preprocess(32, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def tiny_scorer(tiny_folder, cache_dir):
    with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def detector(yunet):
    return FaceDetector(yunet)


def test_rows_of_faces_and_of_pictures_without(detector, tiny_scorer, astronaut):
    two = np.concatenate([astronaut, astronaut], axis=1)
    pictures = [
        Picture("two.png", encoded(two, "PNG")),
        Picture("none.png", encoded(np.full((200, 300, 3), 128, np.uint8), "PNG")),
        Picture("broken.png", encoded(two, "PNG")[:4000]),
        Picture("array", astronaut),
        Picture("gone", None, Status.UNREADABLE, "no such file"),
    ]
    scores = ef.Scores.concat([b.scores for b in tiny_scorer.batches(pictures, faces=PictureFaces(detector))])
    assert scores.keys == ("two.png::box0", "two.png::box1", "none.png", "broken.png", "array::box0", "gone")
    assert [str(s) for s in scores.status] == ["ok", "ok", "no_face", "truncated", "ok", "unreadable"]
    assert "no face" in scores.reason[2]
    assert np.isfinite(scores.faces).all(axis=1).tolist() == [s == "ok" for s in scores.status]
    table = scores.to_arrow()
    quality = ["face_size", "face_sharpness", "face_brightness", "face_yaw", "face_roll"]
    assert table.column_names[-8:] == ["file_name", "dominant_emotion", "face_index", *quality]
    assert table["face_index"].to_pylist() == [0, 1, None, None, 0, None]
    assert table["file_name"].to_pylist() == ["two.png", "two.png", "none.png", "broken.png", "array", "gone"]
    strongest = [None if math.isnan(row[0]) else scores.emotions[row.argmax()] for row in scores.softmax]
    assert table["dominant_emotion"].to_pylist() == strongest
    # The astronaut looks into the camera, her head a little to the side.
    assert all(abs(yaw) < 15 and abs(roll) < 10 for yaw, roll in scores.faces[[0, 1, 4], 8:])


def test_score_is_that_of_the_crop(detector, tiny_scorer, astronaut):
    """A face's row equals scoring the file that holds its crop: one rule in every path."""
    (batch,) = tiny_scorer.batches([Picture("a", encoded(astronaut, "PNG"))], faces=PictureFaces(detector))
    box = face_crop(detector.detect([astronaut])[0][0])
    alone = tiny_scorer([crop(astronaut, box)])
    np.testing.assert_array_equal(batch.scores.raw, alone.raw)


def test_a_scorer_of_faces_scores_calls_and_folders_alike(yunet, tiny_folder, tmp_path, astronaut):
    """Also from two threads at once, and after pickling."""
    (tmp_path / "in").mkdir()
    for name, rgb in (("a.png", astronaut), ("b.png", np.full((90, 90, 3), 7, np.uint8))):
        Image.fromarray(rgb).save(tmp_path / "in" / name)
    paths = [tmp_path / "in" / "a.png", tmp_path / "in" / "b.png"]
    faces = FaceOptions("detect", model=yunet)
    pickled = pickle.dumps(ef.Scorer(tiny_folder, precision="fp32", faces=faces))
    with pickle.loads(pickled) as scorer:  # noqa: S301 - our own
        scores = scorer(paths)
        assert [k.rpartition("/")[2] for k in scores.keys] == ["a.png::box0", "b.png"]
        assert [str(s) for s in scores.status] == ["ok", "no_face"]
        assert (scores.metadata["faces"], scores.metadata["face_margin"]) == ("yunet", "0.25")
        folder = scorer.folder(tmp_path / "in", progress=False, embeddings=True)
        assert folder.keys == scores.keys
        np.testing.assert_array_equal(folder.raw, scores.raw)
        assert folder.embeddings.shape == (2, scorer.checkpoint.vision.hidden_size)
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(scorer, [paths] * 4):
                np.testing.assert_array_equal(found.raw, scores.raw)
        (batch,) = scorer.batches([Picture("a", astronaut)])  # as the caller says, not the scorer
        assert batch.scores.faces is None
        assert scorer([]).faces.shape == (0, 10)
    with pytest.raises(OptionError, match="faces is 'find'; expected 'none', 'detect'"):
        ef.Scorer(tiny_folder, faces="find")
    with ef.Scorer(tiny_folder) as whole, pytest.raises(InputError, match="nowhere"):
        whole.folder(tmp_path / "nowhere")


def test_faces_are_found_in_the_upright_picture(detector, astronaut):
    turned = Image.fromarray(astronaut).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(turned, "JPEG", quality=95, exif=exif)

    def face(data, **settings):
        decoder = PillowDecoder(SPEC, Options(**settings), lambda stage: nullcontext())
        (batch,) = decoder.batches([Picture("a", data)], 8, keep_rgb=False, faces=PictureFaces(detector))
        return batch.rows[0].face

    upright, straight = face(data), face(encoded(astronaut, "PNG"))
    assert abs(upright.x - straight.x) <= 2
    assert abs(upright.y - straight.y) <= 2
    assert face(data, exif=False) != upright


def test_margin_is_checked_at_once(tmp_path):
    (tmp_path / "b.csv").write_text("key,x,y,width,height\na,0,0,9,9\n")
    with pytest.raises(OptionError, match="margin"):
        PictureFaces(BoxFile(tmp_path / "b.csv"), margin=-1.0)


def test_command(yunet, tmp_path, tiny_folder, astronaut):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(astronaut).save(pictures / "a.png")
    Image.fromarray(np.full((64, 64, 3), 9, np.uint8)).save(pictures / "b.png")
    command = [
        sys.executable, "-m", "emonet_fast", "score", pictures, "-c", tiny_folder, "--precision", "fp32",
        "--detector-model", yunet, "--faces", "detect", "-o", tmp_path / "s.parquet",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "1 no_face" in done.stdout
    table = pq.read_table(tmp_path / "s.parquet")
    rows = table.to_pylist()
    assert [r["status"] for r in rows] == ["ok", "no_face"]
    assert rows[0]["key"].endswith("a.png::box0")
    assert rows[0]["face_width"] == pytest.approx(88, abs=8)
    assert rows[1]["face_x"] is None
    assert table.schema.metadata[b"faces"] == b"yunet"
    # The table comes back as boxes, for the same crops again.
    assert len(BoxFile(tmp_path / "s.parquet").of_picture(str(pictures / "a.png"))) == 1


@pytest.mark.parametrize(
    "settings", [{"faces": "find"}, {"model": Path("a.onnx")}, {"margin": -1.0}, {"margin": "a"}, {"min_score": 0.0}]
)
def test_options_refused(settings):
    with pytest.raises(OptionError, match=r"expected|is for faces 'detect'"):
        FaceOptions(**settings)


def test_options_of_the_wrong_kind():
    assert FaceOptions("detect", model="a.onnx").model == Path("a.onnx")
    with pytest.raises(OptionError, match="faces is 'none'; expected a FaceOptions"):
        VideoOptions(faces="none")
