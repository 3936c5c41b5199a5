"""The blocks of docs/recipes.md that run here, run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.export import export
from emonet_fast.options import ExportOptions, Options
from tests.video.test_episode_files import two_people, written

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"


def block(words):
    """The one block of the page that has these words."""
    found = [text for text in re.findall(r"```\w*\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if words in text]
    assert len(found) == 1, words
    return found[0]


def test_boris_takes_the_events_in(tmp_path, monkeypatch):
    """import_observations.py of boris_behav_obs 10.0.2 reads the first sheet by pandas, and asks for these columns."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "talk.boris.tsv", *two_people())
    exec(block("pandas.read_csv"), {})  # noqa: S102 - our own page
    events = pandas.read_excel("talk.xlsx", sheet_name=0, engine="openpyxl")
    assert list(events.columns) == ["time", "subject", "code", "modifier", "comment"]
    assert events.iloc[0].to_list()[:3] == [0.0, "Face 1", "Awe"]
    assert list(events["time"]) == [0.0, 0.5, 1.0, 1.0, 1.0, 1.5]
    assert list(events["code"]).count("Jealousy & Envy") == 2


@pytest.fixture(scope="module")
def exported(tiny_folder, cache_dir, tmp_path_factory):
    """A folder with an exported model, a picture of its size and its labels; and what Python makes of it."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime (extra bench) is not installed")
    folder = tmp_path_factory.mktemp("exported")
    options = Options(cache_dir=cache_dir)
    export(open_checkpoint(tiny_folder, cache_dir), folder / "emonet.onnx", ExportOptions(), options)
    pixels = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "face.ppm")
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(block('open("labels.txt"'), {})  # noqa: S102 - our own page
    finally:
        os.chdir(before)
    session = onnxruntime.InferenceSession(folder / "emonet.onnx", providers=["CPUExecutionProvider"])
    scores = session.run(["scores"], {"pixels": pixels[None]})[0][0].tolist()
    return folder, dict(zip((folder / "labels.txt").read_text().split(), scores, strict=True))


def same(text, scores):
    told = dict(line.split("\t") for line in text.splitlines())
    assert list(told) == list(scores)
    assert max(abs(float(told[name]) - scores[name]) for name in scores) < 1e-4


@pytest.fixture(scope="module")
def runtime_in_cpp():
    """Folder of the headers, and the library. They come before a model is exported, which takes seconds.

    EMONET_FAST_ONNXRUNTIME: a folder with include/ and lib/, where Debian's libonnxruntime-dev is not installed.
    """
    place = Path(os.environ.get("EMONET_FAST_ONNXRUNTIME", "/usr"))
    headers = [one.parent for one in (place / "include").rglob("onnxruntime_cxx_api.h")]
    libraries = [*(place / "lib").rglob("libonnxruntime.so*")]
    if not headers or not libraries or shutil.which("c++") is None:
        pytest.skip("no C++ compiler, or no headers and library of ONNX Runtime (EMONET_FAST_ONNXRUNTIME, or /usr)")
    return headers[0], libraries[0]


def test_scores_in_cpp(runtime_in_cpp, exported, tmp_path):
    (headers, library), (folder, scores) = runtime_in_cpp, exported
    command = ["c++", "-std=c++17", "-Wall", "-Werror", ROOT / "examples" / "onnx_scores.cpp", f"-I{headers}"]
    command += [library, f"-Wl,-rpath,{library.parent}", "-o", tmp_path / "onnx_scores"]
    subprocess.run(command, check=True)
    told = subprocess.run(
        [tmp_path / "onnx_scores", "emonet.onnx", "face.ppm"], cwd=folder, capture_output=True, check=True
    )
    same(told.stdout.decode(), scores)


@pytest.fixture(scope="module")
def runtime_in_javascript():
    """EMONET_FAST_NODE: a folder in which `npm install onnxruntime-node` was run."""
    place = os.environ.get("EMONET_FAST_NODE")
    if place is None or shutil.which("node") is None:
        pytest.skip("no Node.js, or EMONET_FAST_NODE names no folder with onnxruntime-node")
    return place


def test_scores_in_javascript(runtime_in_javascript, exported):
    folder, scores = exported
    files = [folder / name for name in ("emonet.onnx", "face.ppm", "labels.txt")]
    command = ["node", ROOT / "examples" / "onnx_scores.mjs", *files]
    same(subprocess.run(command, cwd=runtime_in_javascript, capture_output=True, check=True).stdout.decode(), scores)
