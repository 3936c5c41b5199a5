"""Cuts in made pictures and clips, and what is none: fades, flashes, pans, a shaking camera."""

import numpy as np
import pytest
from PIL import Image

from emonet_fast import stream
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import open_video
from emonet_fast.sources.video.convert import luma
from emonet_fast.sources.video.cuts import CutFinder
from emonet_fast.sources.video.frames import Frame, Sampling

from .making import av, write_clip
from .test_pipeline import rows_of

WIDTH, HEIGHT = 320, 180


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Two photographs of 480 x 270, grey."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra demo) is not installed")
    return [np.asarray(Image.fromarray(one).convert("L").resize((480, 270))) for one in (data.coffee(), data.chelsea())]


def view(photo: np.ndarray, x: float = 80, y: float = 45) -> np.ndarray:
    return photo[int(y) : int(y) + HEIGHT, int(x) : int(x) + WIDTH]


def scenes(frames) -> list[int]:
    finder = CutFinder()
    return [finder.scene(np.clip(frame, 0, 255).astype(np.uint8)) for frame in frames]


@pytest.mark.parametrize("move", [0, 6])
@pytest.mark.parametrize("change", ["plain", "dark", "noisy", "bars", "small", "black between"])
def test_hard_cuts(photos, move, change):
    rng = np.random.default_rng(0)
    one, other = ([view(photo, i * move, i) for i in range(14)] for photo in photos)
    change_of = {
        "dark": lambda p: p * 0.2,
        "noisy": lambda p: p + rng.normal(0, 12, p.shape),
        "bars": lambda p: np.pad(p, ((40, 40), (60, 60)), constant_values=16),
        "small": lambda p: p[::9, ::9],
    }.get(change, lambda p: p)
    between = [np.full((HEIGHT, WIDTH), 16)] * 2 if change == "black between" else []
    frames = [change_of(p) for p in one] + between + [change_of(p) for p in other + one]
    assert scenes(frames) == [0] * (14 + len(between)) + [1] * 14 + [2] * 14


def test_a_scene_that_comes_back_at_once_is_the_same(photos):
    """As after a flash that hides all; another scene has another number than what was between."""
    one, other = map(view, photos)
    assert scenes([one] * 3 + [other] * 2 + [one] * 3) == [0] * 3 + [1] * 2 + [0] * 3
    assert scenes([one] * 3 + [other] + [one] * 20 + [other] * 3) == [0] * 3 + [1] + [0] * 20 + [2] * 3


@pytest.mark.parametrize("kind", ["black", "white", "flash", "white frame", "pan", "whip", "shake", "zoom", "noise"])
def test_what_is_no_cut(photos, kind):
    one, other = photos
    rng = np.random.default_rng(1)
    still = [view(one)] * 12
    ramp = np.linspace(1, 0, 10)
    both = np.concatenate([one, other], axis=1)
    walk = np.clip(np.cumsum(rng.uniform(-12, 12, (25, 2)), axis=0), -40, 40)
    frames = {
        "black": [p * g for g in [*ramp, *ramp[::-1]] for p in still[:1]],
        "white": [p * g + 255 * (1 - g) for g in [*ramp, *ramp[::-1]] for p in still[:1]],
        "flash": [*still[:5], still[0] * 1.7 + 40, *still[5:]],
        "white frame": [*still[:5], np.full((HEIGHT, WIDTH), 255), *still[5:]],
        "pan": [view(both, x) for x in range(0, 640, 24)],
        "whip": [view(both, x) for x in [*range(0, 100, 20), *range(100, 640, 70)]],
        "shake": [view(one, 80 + x, 45 + y) for x, y in walk],
        "zoom": [_zoomed(one, 1.05**i) for i in range(14)],
        "noise": [view(one) + rng.normal(0, 25, (HEIGHT, WIDTH)) for _ in range(10)],
    }[kind]
    assert set(scenes(frames)) == {0}


def _zoomed(photo: np.ndarray, by: float) -> np.ndarray:
    width, height = WIDTH / by, HEIGHT / by
    left, top = 240 - width / 2, 135 - height / 2
    box = (left, top, left + width, top + height)
    return np.asarray(Image.fromarray(photo).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize("name", ["gray", "yuv420p", "yuv444p10le", "yuv420p12le", "nv12", "rgb24", "gbrp", "p010le"])
def test_brightness_of_pixel_formats(photos, name):
    """Of the decoder's own frame, whatever its layout; levels are those of the video, 16 to 235 or 0 to 255."""
    frame = av.VideoFrame.from_ndarray(np.repeat(view(photos[0])[..., None], 3, axis=2), format="rgb24")
    found = luma(frame.reformat(format=name))
    expected = view(photos[0])[::2, ::2] if found.shape == (90, 160) else view(photos[0])
    expected = np.asarray(Image.fromarray(expected).resize(found.shape[::-1]), np.float64)
    fitted = np.polyval(np.polyfit(expected.ravel(), found.ravel(), 1), expected)
    assert np.abs(fitted - found).mean() < 3
    assert found.dtype == np.uint8


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory, photos):
    """25 frames/s; a cut at 1.2 s, between the samples of 2 frames/s, and back at 2.4 s."""
    pictures = [np.repeat(view(photo)[..., None], 3, axis=2) for photo in photos]
    path = tmp_path_factory.mktemp("cut") / "cut.mp4"
    return write_clip(path, range(0, 3600, 40), picture=lambda number: pictures[number // 30 % 2])


def test_scenes_of_a_file_and_of_pairs(cut_clip):
    """Every decoded frame is looked at, sampled or not."""
    source = AvSource(str(cut_clip), Sampling(2.0), cuts=True)
    found = [(item.seconds, item.scene) for item in source if isinstance(item, Frame)]
    assert found == [
        (0.0, 0), (0.52, 0), (1.0, 0), (1.52, 1), (2.0, 1), (2.52, 2), (3.0, 2), (3.52, 2),
    ]  # fmt: skip
    assert source.cuts.cuts == 2
    source.close()
    whole = AvSource(str(cut_clip), Sampling(None))
    pairs = [(frame.seconds, frame.rgb()) for frame in whole if isinstance(frame, Frame)]
    whole.close()
    given = open_video(pairs, VideoOptions(fps=2))
    assert [(frame.seconds, frame.scene) for frame in given] == found
    without = open_video(pairs, VideoOptions(fps=2, cuts=False))
    assert {frame.scene for frame in without} == {0}


@pytest.mark.parametrize("given", [False, True])
def test_nothing_goes_over_a_cut(scorer, cut_clip, tmp_path, given):
    """One face's place stays: its track, its curve and its reused score end at the cut; identities of a file go on."""
    path = tmp_path / "boxes.csv"
    rows = [f"{i},60,60,80,80,{7 if given else ''}" for i in range(90)]
    path.write_text("\n".join(["frame,x,y,width,height,track_id", *rows]) + "\n")
    faces = FaceOptions(faces=f"boxes:{path}")
    found = rows_of(list(stream(scorer, cut_clip, VideoOptions(fps=2, faces=faces, score_every=2))))
    assert [row["track"] for row in found] == ([7] * 8 if given else [1, 1, 1, 2, 2, 3, 3, 3])
    assert [row["reused"] for row in found] == [False, True, False, False, True, False, True, False]
    for row in found[0], found[3], found[5]:
        assert row["smooth_awe"] == row["raw_awe"]
    options = VideoOptions(fps=2, faces=faces, cuts=False)
    over = rows_of(list(stream(scorer, cut_clip, options)))
    assert len({row["track"] for row in over}) == 1
    assert over[3]["smooth_awe"] != over[3]["raw_awe"]
    whole = rows_of(list(stream(scorer, cut_clip, VideoOptions(fps=2, faces=FaceOptions()))))
    fresh = [row["smooth_awe"] == row["raw_awe"] for row in whole]
    assert [fresh[0], fresh[3], fresh[5]] == [True] * 3
