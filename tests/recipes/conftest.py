"""What the tests of docs/recipes.md share: its blocks, and an exported model with what Python makes of a picture."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.export import export
from emonet_fast.options import ExportOptions, Options

ROOT = Path(__file__).parents[2]


def block(words, page="recipes.md"):
    """The one block of the page that has these words."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    found = [text for text in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) if words in text]
    assert len(found) == 1, words
    return found[0]


@pytest.fixture(scope="session")
def exported(tiny_folder, cache_dir, tmp_path_factory):
    """A folder with an exported model, a picture of its size and its labels; and what Python makes of it."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime (extra bench) is not installed")
    folder = tmp_path_factory.mktemp("exported")
    options = Options(cache_dir=cache_dir)
    export(open_checkpoint(tiny_folder, cache_dir), folder / "emonet.onnx", ExportOptions(), options)
    pixels = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    for kind in ("ppm", "png"):
        Image.fromarray(pixels).save(folder / f"face.{kind}")
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
