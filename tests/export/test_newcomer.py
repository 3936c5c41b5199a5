"""The lines of docs/export.md in an environment that has onnxruntime, numpy and pillow, and nothing of this package."""

import importlib.util
import re
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emonet_fast import Scorer

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
ALONE = "import importlib.util\nassert not any(map(importlib.util.find_spec, ('emonet_fast', 'onnx', 'torch')))\n"


def lines_of_the_page():
    return re.search(r"<!-- fifteen lines.*?-->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]


def test_there_are_fifteen_lines():
    assert sum(bool(line.strip()) for line in lines_of_the_page().splitlines()) <= 15


def test_a_newcomer_gets_the_scores(tiny, tiny_folder, cache_dir, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime (extra bench) is not installed")
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    for package in ("onnxruntime", "numpy", "PIL"):  # by links: an install would take longer than all else here
        folder = Path(importlib.util.find_spec(package).origin).parent
        (site / package).symlink_to(folder)
        for libraries in folder.parent.glob(f"{ {'PIL': 'pillow'}.get(package, package) }.libs"):
            (site / libraries.name).symlink_to(libraries)
    tiny.written(tmp_path / "m.onnx")
    rng = np.random.default_rng(3)
    Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "face.png")
    (tmp_path / "newcomer.py").write_text(ALONE + lines_of_the_page())
    command = [str(tmp_path / "env/bin/python"), "-I", "newcomer.py", "m.onnx", "face.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = {name: float(score) for name, score in (line.split("\t") for line in done.stdout.splitlines())}
    with Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir) as scorer:
        scores = scorer([tmp_path / "face.png"])
    want = dict(zip(scores.names, scores.score[0], strict=True))
    assert list(got) == sorted(want, key=lambda name: -want[name])
    assert max(abs(got[name] - want[name]) for name in want) < 1e-4
