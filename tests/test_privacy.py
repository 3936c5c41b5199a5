"""Nothing is sent home: what a run and the children it starts connect to, and what they leave in an empty home."""

import os
import re
import subprocess
import sys
from pathlib import Path

from .pictures import encoded

ROOT = Path(__file__).parents[1]

# Python imports it at its start, in the command and in the compiler's processes alike.
_WATCH = """
import os, sys
def watch(event, arguments):
    if event.partition(".")[0] in ("socket", "urllib", "http"):
        with open(os.environ["WATCH_LOG"], "a") as log:
            print(event, arguments, file=log)
sys.addaudithook(watch)
"""
# Its first line shows that the watch works.
_RUN = """
import socket, sys
socket.gethostbyname("localhost")
from emonet_fast.commands.main import cli
cli(["doctor"], standalone_mode=False)
cli(["score", "a.png", "-c", sys.argv[1], "-o", "a.csv"], standalone_mode=False)
"""


def test_a_run_connects_to_nothing_and_leaves_home_empty(tiny_folder, photos, tmp_path):
    """With an empty cache, so that the compiler's processes run too, and without CI, which hides OpenVINO's event."""
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    (tmp_path / "sitecustomize.py").write_text(_WATCH)
    (tmp_path / "a.png").write_bytes(encoded(photos[0], "PNG"))
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "DO_NOT_TRACK") and not k.startswith("XDG_")}
    environment |= {
        "HOME": str(home),
        "WATCH_LOG": str(log),
        "PYTHONPATH": str(tmp_path),
        "EMONET_FAST_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", _RUN, str(tiny_folder)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert log.read_text() == "socket.gethostbyname ('localhost',)\n"
    assert len(list((tmp_path / "cache" / "engines").glob("*.engine"))) == 3, (
        "tower, pooling and heads were not all compiled"
    )
    assert not list(home.rglob("*"))


def test_openvino_is_imported_by_the_one_door():
    """`import openvino` anywhere else would send its event."""
    for folder in ("emonet_fast", "kernels", "benchmarks", "examples", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"^\s*(import|from) openvino\b", path.read_text("utf-8"), re.MULTILINE), path
