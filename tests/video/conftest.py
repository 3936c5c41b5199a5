"""A clip of two real faces that walk, with their true places, and a scorer of two shallow layers."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import emonet_fast as ef
from emonet_fast.options import FaceOptions

from ..faces.conftest import SHARED_MODELS
from .making import write_clip

WIDTH, HEIGHT, SIDE = 400, 300, 140
# The face within the picture that is moved, as parts of its side; by hand, like shared/data's README says.
_FACE = ((178 - 90) / 260, 65 / 260, 91 / 260, 111 / 260)


@dataclass(frozen=True)
class Walk:
    """ticks: milliseconds. At `gone` nobody is there. truth: [frames, 2, 4] boxes x, y, width, height."""

    path: Path
    ticks: list[int]
    gone: range
    truth: np.ndarray


@pytest.fixture(scope="session")
def model() -> Path:
    path = SHARED_MODELS / "yunet_s_dynamic.onnx"
    if not path.exists():
        pytest.skip("../shared/models is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def found_faces(model) -> FaceOptions:
    return FaceOptions(faces="detect", model=model)


@pytest.fixture(scope="session")
def scorer(tiny_folder, cache_dir):
    with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir) as opened:
        yield opened


@pytest.fixture
def video(monkeypatch, capsys, tiny_folder) -> Callable[..., tuple[int, str, str]]:
    """Runs `emonet-fast video` in this process on whole frames: exit status, standard output, standard error."""
    from emonet_fast.commands import main as cli

    def run(*arguments: object) -> tuple[int, str, str]:
        told = [str(a) for a in (*arguments, "-c", tiny_folder, "--faces", "none", "--precision", "fp32")]
        monkeypatch.setattr(sys, "argv", ["emonet-fast", "video", *told])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="session")
def walk(tmp_path_factory) -> Walk:
    """4 seconds: one face to the right above, one to the left below; an empty scene at the end; with a tone."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra demo) is not installed")
    person = Image.fromarray(data.astronaut()[:260, 90:350]).resize((SIDE, SIDE))
    left, right = np.asarray(person), np.asarray(person)[:, ::-1]
    scene = np.asarray(Image.fromarray(data.coffee()).resize((WIDTH, HEIGHT)))
    ticks = [i * 80 for i in range(50)]
    gone = range(44, 50)
    span = WIDTH - SIDE
    places = [((round(span * i / 49), 4), (round(span * (49 - i) / 49), HEIGHT - SIDE - 6)) for i in range(50)]

    def picture(number: int) -> np.ndarray:
        made = scene.copy()
        if number not in gone:
            for (x, y), face in zip(places[number], (left, right), strict=True):
                made[y : y + SIDE, x : x + SIDE] = face
        return made

    fx, fy, fw, fh = (part * SIDE for part in _FACE)
    truth = [[(x + fx, y + fy, fw, fh), (u + SIDE - fx - fw, v + fy, fw, fh)] for (x, y), (u, v) in places]
    path = write_clip(tmp_path_factory.mktemp("walk") / "walk.mp4", ticks, rate=12, picture=picture, sound="aac")
    return Walk(path, ticks, gone, np.array(truth))
