"""GStreamer's frames, as docs/recipes.md takes them.

PyGObject is Debian's python3-gi. Another Python 3.11 finds it by PYTHONPATH, a folder with a link to it alone.
"""

import numpy as np
import pytest

from .conftest import block

FIRST, SECOND = "videotestsrc num-buffers=6 ", "! video/x-raw,width=50,height=40,framerate=2/1 "


@pytest.fixture(scope="module")
def recipe():
    """The page's names, without its last lines, and these."""
    pytest.importorskip("gi", reason="PyGObject is not installed")
    parts, last = block("gi.require_version").split("with ef.Scorer")
    names = {}
    try:
        exec(parts, names)  # noqa: S102 - our own page
    except (ImportError, ValueError) as fault:
        pytest.skip(f"GStreamer is not installed: {fault}")
    if names["Gst"].ElementFactory.find("videotestsrc") is None:
        pytest.skip("GStreamer's base plugins are not installed")
    return names, f"with ef.Scorer{last}"


def test_frames_come_whole_and_with_their_times(recipe):
    """Rows of 50 pixels of 3 bytes are padded to 152 bytes."""
    frames = recipe[0]["frames"]
    got = list(frames(f"{FIRST} pattern=red {SECOND}"))
    assert [seconds for seconds, _ in got] == [i / 2 for i in range(6)]
    for _, frame in got:
        assert frame.shape == (40, 50, 3)
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - (255, 0, 0)).max() <= 2


def test_a_pipeline_that_fails_says_why(recipe, tmp_path):
    with pytest.raises(RuntimeError, match=r"No such file|Resource not found"):
        list(recipe[0]["frames"](f"filesrc location={tmp_path}/missing.raw ! rawvideoparse"))


def test_the_frames_are_scored(recipe, tiny_folder, cache_dir, monkeypatch, capsys):
    """A picture of noise at each half second; of those, live, the newest one always has its scores."""
    names, last = recipe
    monkeypatch.setenv("EMONET_FAST_CACHE", str(cache_dir))
    for old, new in (
        ('ef.Scorer("large")', f"ef.Scorer({str(tiny_folder)!r})"),
        ('"v4l2src"', repr(f"{FIRST} pattern=snow {SECOND}")),
        ("live=True", 'live=True, faces=ef.FaceOptions(faces="none")'),
    ):
        assert old in last
        last = last.replace(old, new)
    exec(last, dict(names))  # noqa: S102 - our own page
    assert "'seconds': 2.5" in capsys.readouterr().out
