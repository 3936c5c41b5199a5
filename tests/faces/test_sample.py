"""Runs that score whole pictures say how many of some hold several or small faces."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast.checkpoint import pack_to
from emonet_fast.commands.main import cli
from emonet_fast.faces import sample
from emonet_fast.faces.sample import FaceSample, Looked
from emonet_fast.options import Options
from emonet_fast.records import Face, Picture


class Clock:
    """A clock that goes on by `step` seconds each time it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def perf_counter(self):
        self.now += self.step
        return self.now


@pytest.fixture
def pictures(astronaut):
    """By name: the astronaut whole, whose face is 1/26 of it, her portrait, two of it, and none."""
    portrait = astronaut[20:220, 130:330]
    return {
        "whole": astronaut,
        "portrait": portrait,
        "two": np.concatenate([portrait, portrait], axis=1),
        "none": np.full((90, 60, 3), 99, np.uint8),
    }


def looked_at(yunet, given, monkeypatch, share=1e9):
    monkeypatch.setattr(sample, "_SHARE", share)
    looked = Looked()
    passed = list(FaceSample(yunet.read_bytes(), Options()).of(given, looked))
    assert [one.key for one in passed] == [one.key for one in given]
    return looked


def test_several_and_small_faces_are_unfit(yunet, pictures, monkeypatch):
    given = [Picture(name, rgb) for name, rgb in pictures.items()] + [Picture("broken", b"no picture")]
    looked = looked_at(yunet, given, monkeypatch)
    assert looked.seen == {0: True, 1: False, 2: True, 3: False}
    assert looked.text() == "2 of 4 looked at hold several or small faces (--faces detect scores each)"
    assert Looked(4, 0).text() == ""


@pytest.mark.parametrize("many", [5, 31, 200, 1000])
def test_looks_are_spread_evenly_and_few(yunet, monkeypatch, many):
    monkeypatch.setattr(FaceSample, "_look", lambda self, picture: int(picture.key) % 3 == 0)
    looked = looked_at(yunet, [Picture(str(i), None) for i in range(many)], monkeypatch)
    numbers = sorted(looked.seen)
    step = numbers[1] - numbers[0]
    assert numbers == list(range(0, many, step))
    assert min(many, 16) <= looked.pictures == len(numbers) < 32
    assert looked.unfit == sum(n % 3 == 0 for n in numbers)


def test_looks_take_no_more_than_their_share_of_the_time(yunet, monkeypatch):
    """Each reading of the clock is a second."""
    times = []
    monkeypatch.setattr(sample, "time", Clock(1.0))
    monkeypatch.setattr(sample.FaceDetector, "detect", lambda self, given: times.append(sample.time.now) or [()])
    given = [Picture(str(i), np.zeros((9, 9, 3), np.uint8)) for i in range(500)]
    looked_at(yunet, given, monkeypatch, share=0.01)
    # The first look, at 4 s, counts its decoding of 1 s alone, since it compiles; each later one counts 2 s. So they
    # are begun 100, 300 and 500 s after the first reading, and see the picture two readings later.
    assert times == [4, 103, 303, 503]


def test_a_detector_that_fails_ends_no_run(yunet, pictures, monkeypatch):
    asked = []

    def failing(self, given):
        asked.append(given)
        raise RuntimeError("no memory for this model")

    monkeypatch.setattr(sample.FaceDetector, "detect", failing)
    assert looked_at(yunet, [Picture("a", pictures["two"])] * 3, monkeypatch) == Looked()
    assert len(asked) == 1


def test_small_is_a_sixteenth_of_the_picture():
    face = Face(0, 0, 25, 25)
    assert sample._unfit((face,), 100, 101)
    assert not sample._unfit((face,), 100, 100)
    assert not sample._unfit((), 100, 100)
    assert sample._unfit((face, face), 10, 10)


def test_the_last_line_says_it_where_the_detector_is_packed(yunet, pictures, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_SHARE", 1e9)
    pack_to(tiny_folder, tmp_path / "with.safetensors", tmp_path, detector=yunet.read_bytes())
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, rgb in pictures.items():
        Image.fromarray(rgb).save(folder / f"{name}.png")

    def last_line(command, checkpoint, *more):
        out = tmp_path / f"{command}-{len(list(tmp_path.iterdir()))}"
        output = out if command == "bulk" else out.with_suffix(".csv")
        done = CliRunner().invoke(cli, [command, str(folder), "-c", str(checkpoint), "-o", str(output), *more])
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()[-1]

    said = "; 2 of 4 looked at hold several or small faces (--faces detect scores each)"
    whole = last_line("score", tmp_path / "with.safetensors")
    assert whole.startswith(f"4 pictures: 4 scored as a whole{said}; ")
    assert said not in last_line("score", tiny_folder)
    bulk = last_line("bulk", tmp_path / "with.safetensors")
    assert bulk.startswith("1 of 1 shard done: 4 pictures as wholes: 4 ok")
    (marker,) = tmp_path.glob("bulk-*/00000.json")
    looked, unfit = json.loads(marker.read_text())["looked"]  # its process keeps to the time
    assert looked >= 1 <= looked - unfit  # the first of them has no face
    faces = last_line("score", tmp_path / "with.safetensors", "--faces", "detect")
    assert faces.startswith("4 pictures, 4 faces: 4 scored, 1 no_face; ")
