"""Letterbox, crop rule, suppression and the formula of the outputs, on random values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.errors import InputError, OptionError
from emonet_fast.faces.decoding import MAX_CANDIDATES, STRIDES, candidates, suppress
from emonet_fast.faces.geometry import face_crop, overlaps
from emonet_fast.faces.letterbox import letterboxed, plan
from emonet_fast.records import Face

_side = st.integers(1, 5000)


@given(_side, _side, st.sampled_from([320, 480, 960]))
def test_frame_holds_the_picture(width, height, scale):
    frame = plan(width, height, scale)
    assert frame.width % 32 == frame.height % 32 == 0
    assert 1 <= frame.inner_width <= min(frame.width, width)
    assert 1 <= frame.inner_height <= min(frame.height, height)
    if max(width, height) >= scale:
        assert max(frame.inner_width, frame.inner_height) == scale
    else:
        assert (frame.factor_x, frame.factor_y) == (1.0, 1.0)


@given(st.integers(0, 2**32 - 1), _side, _side)
def test_few_frames_are_ever_used(seed, width, height):
    del seed
    frame = plan(width, height, 480)
    assert (frame.width, frame.height) in {(480, 480), (480, 288), (288, 480)}


def test_letterbox_is_bgr_with_zeros_around():
    rgb = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(4, 5, 3)
    frame = plan(5, 4, 32)
    (out,) = letterboxed([rgb], [frame])
    np.testing.assert_array_equal(out[:, :4, :5], rgb[..., ::-1].transpose(2, 0, 1))
    assert out[:, 4:].max() == out[:, :, 5:].max() == 0


def test_letterbox_of_tensors_stays_where_they_lie():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:700, :1000]
    smooth = (128 + 100 * np.sin(x / 40)[..., None] * np.cos(y / 30)[..., None] + rng.normal(0, 3, (1, 1, 3))).clip(
        0, 255
    )
    pictures = [smooth.astype(np.uint8), rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)]
    for rgb in pictures:
        frame = plan(rgb.shape[1], rgb.shape[0], 480)
        ours, theirs = letterboxed([torch.from_numpy(rgb)], [frame]), letterboxed([rgb], [frame])
        assert isinstance(ours, torch.Tensor)
        assert ours.dtype == torch.float32
        # One level: Pillow rounds between its two axes, PyTorch at the end.
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.5, 1e4), st.floats(0.5, 1e4), st.floats(0, 2))
def test_crop_is_a_square_around_the_face(x, y, width, height, margin):
    box = face_crop(Face(x, y, width, height), margin)
    assert box.width == box.height == max(1, round(max(width, height) * (1 + 2 * margin)))
    assert abs((box.left + box.right) / 2 - (x + width / 2)) <= 1
    assert abs((box.top + box.bottom) / 2 - (y + height / 2)) <= 1


def test_crop_by_hand():
    box = face_crop(Face(100, 50, 80, 100))
    assert (box.left, box.top, box.right, box.bottom) == (65, 25, 215, 175)


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_margin_refused(margin):
    with pytest.raises(OptionError, match="margin"):
        face_crop(Face(0, 0, 1, 1), margin)


@pytest.mark.parametrize("face", [Face(0, 0, 0, 5), Face(0, 0, 5, -1), Face(float("nan"), 0, 1, 1)])
def test_empty_face_refused(face):
    with pytest.raises(InputError, match="box"):
        face_crop(face)


def slow_overlap(a, b):
    w = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_suppression_equals_the_obvious_loop(seed, n):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.uniform(0, 50, (n, 2)), rng.uniform(5, 40, (n, 2)), rng.random((n, 1))], axis=1)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept = []
    for row in rows:
        if all(slow_overlap(row, other) <= 0.3 for other in kept):
            kept.append(row)
    np.testing.assert_array_equal(suppress(rows, 0.3), np.array(kept).reshape(-1, 5))


@given(st.integers(0, 2**32 - 1))
def test_overlap_table(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.1, 50, (4, 4)), rng.uniform(0.1, 50, (3, 4))
    expected = [[slow_overlap(p, q) for q in b] for p in a]
    np.testing.assert_allclose(overlaps(a, b), expected, rtol=1e-12, atol=1e-12)


def made_outputs(width, height, rng=None):
    found = {}
    for stride in STRIDES:
        cells = (width // stride) * (height // stride)
        for kind, k in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            shape = (2, cells, k)
            values = np.zeros(shape) if rng is None else rng.normal(0.5, 0.5, shape)
            found[f"{kind}_{stride}"] = values.astype(np.float32)
    return found


def test_formula_of_one_cell():
    outputs = made_outputs(96, 64)
    at = 2 * (96 // 16) + 3  # row 2, column 3 at stride 16
    outputs["cls_16"][1, at], outputs["obj_16"][1, at] = 0.81, 1.7  # clipped to 1
    outputs["bbox_16"][1, at] = (0.5, 0.25, np.log(2), np.log(3))
    outputs["kps_16"][1, at] = np.arange(10) / 10
    (row,) = candidates(outputs, 1, 96, 64, 0.5)
    centre, size = ((3 + 0.5) * 16, (2 + 0.25) * 16), (32, 48)
    expected = [centre[0] - 16, centre[1] - 24, *size, 0.9]
    np.testing.assert_allclose(row[:5], expected, rtol=1e-6)
    marks = [(3 + k / 10) * 16 if k % 2 == 0 else (2 + k / 10) * 16 for k in range(10)]
    np.testing.assert_allclose(row[5:], marks, rtol=1e-6)
    assert len(candidates(outputs, 0, 96, 64, 0.5)) == 0


def test_candidates_are_bounded_sorted_and_finite():
    outputs = made_outputs(640, 640, np.random.default_rng(0))
    outputs["bbox_8"][0, :100] = np.nan
    outputs["bbox_8"][0, 100:200, 2:] = np.inf
    rows = candidates(outputs, 0, 640, 640, 0.01)
    assert len(rows) == MAX_CANDIDATES
    assert np.isfinite(rows).all()
    assert (np.diff(rows[:, 4]) <= 0).all()
