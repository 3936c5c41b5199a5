"""How usable a face is: figures by hand, by scipy, and of a head that is turned in space."""

import math

import numpy as np
import pytest

from emonet_fast.quality import look_of, turn_of
from emonet_fast.records import Face, file_name
from emonet_fast.scores import face_values

from .tolerances import SAME_FIGURE


def test_sharpness_is_the_variance_of_the_laplacian_and_brightness_the_mean():
    scipy = pytest.importorskip("scipy.signal", reason="scipy (extra eval) is not installed")
    rgb = np.random.default_rng(3).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    # Pillow's "L" is this in whole numbers: (R * 19595 + G * 38470 + B * 7471 + 0x8000) >> 16.
    grey = (rgb.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16
    laplacian = scipy.convolve2d(grey, [[0, 1, 0], [1, -4, 1], [0, 1, 0]], mode="valid")
    assert look_of(rgb) == pytest.approx((laplacian.var(), grey.mean()), rel=SAME_FIGURE)


def test_a_blurred_face_is_less_sharp_at_any_size_and_an_even_one_not_at_all():
    assert look_of(np.full((30, 40, 3), 200, np.uint8)) == (0.0, 200.0)
    rng = np.random.default_rng(4)
    for side in (56, 112, 400):
        sharp = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        blurred = (sharp.astype(int) + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) // 3
        assert look_of(blurred.astype(np.uint8))[0] < look_of(sharp)[0]


@pytest.mark.parametrize("yaw", [-60, -20, 0, 35])
@pytest.mark.parametrize("roll", [-30, 0, 100])
def test_yaw_and_roll_are_those_of_a_head_turned_in_space(yaw, roll):
    """Eyes and mouth in one plane, the nose 0.6 of their distance before it, seen from afar."""
    head = np.array([[-30, -35, 0], [30, -35, 0], [0, 5, 42], [-25, 35, 0], [25, 35, 0]], float)
    y, r = math.radians(yaw), math.radians(roll)
    turned = head @ np.array([[math.cos(y), 0, -math.sin(y)], [0, 1, 0], [math.sin(y), 0, math.cos(y)]])
    seen = turned[:, :2] @ np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]]) * 1.7 + (300, 200)
    assert turn_of([tuple(p) for p in seen]) == pytest.approx((yaw, roll), abs=1e-9)  # rounding of sines


def test_a_face_without_landmarks_or_before_its_crop_has_no_such_figures():
    assert all(map(math.isnan, (*turn_of(()), *turn_of([(1, 1)] * 5))))
    values = face_values([Face(1, 2, 30, 40, 0.5), None])
    assert values[0, :6].tolist() == [1, 2, 30, 40, 0.5, 40]
    assert np.isnan(values[0, 6:]).all()
    assert np.isnan(values[1]).all()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b.jpg", "b.jpg"),
        ("a/b.jpg::box12", "b.jpg"),
        ("a/b.jpg#2::box0", "b.jpg"),
        ("x.tar::a/1.jpg::box0", "1.jpg"),
        ("x.tar::a.jpg#2", "a.jpg#2"),  # another member than a.jpg
        ("d/t.parquet::17", "t.parquet"),
        ("v/talk.mp4::frame12::box0", "talk.mp4"),
        ("#3", None),
        ("#3::box0", None),
    ],
)
def test_file_name(key, name):
    assert file_name(key) == name
