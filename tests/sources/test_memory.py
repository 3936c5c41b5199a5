"""Objects in memory: every kind taken, every wrong one told."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from emonet_fast.decode import decode
from emonet_fast.errors import InputError
from emonet_fast.options import Options
from emonet_fast.records import Status
from emonet_fast.sources import Memory
from emonet_fast.sources.memory import array_fault

from .made import gradient

LIMIT = 1 << 20


def test_any_mix_in_order(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"file")
    image = Image.new("L", (2, 3))
    items = [
        tmp_path / "a.jpg",
        str(tmp_path / "a.jpg"),
        b"raw",
        bytearray(b"ba"),
        memoryview(b"mv"),
        image,
        gradient(),
    ]
    memory = Memory(items, LIMIT)
    got = list(memory)
    path = str(tmp_path / "a.jpg")
    assert [p.key for p in got] == [path, path + "#2", "#2", "#3", "#4", "#5", "#6"]
    assert [p.data for p in got[:5]] == [b"file", b"file", b"raw", b"ba", b"mv"]
    assert got[5].data is image
    assert got[6].data is items[6]
    assert {p.status for p in got} == {Status.OK}
    assert [p.key for p in memory] == [p.key for p in got], "can be read again"


def test_paths_are_read_when_their_turn_comes(tmp_path):
    stream = iter(Memory([b"first", tmp_path / "later.jpg"], LIMIT))
    next(stream)
    (tmp_path / "later.jpg").write_bytes(b"now")
    assert next(stream).data == b"now"


def test_bad_paths_are_rows(tmp_path):
    got = list(Memory([tmp_path / "none.jpg", tmp_path, b"x"], LIMIT))
    assert [p.status for p in got] == [Status.UNREADABLE, Status.UNREADABLE, Status.OK]
    assert [p.reason for p in got] == ["No such file or directory", "a folder, not a file", ""]


def test_a_batch_array_is_a_sequence_of_pictures():
    got = list(Memory(np.stack([gradient()] * 3), LIMIT))
    assert [p.key for p in got] == ["#0", "#1", "#2"]
    assert {p.status for p in got} == {Status.OK}


@pytest.mark.parametrize("item", [None, 7, 1.5, [1, 2], {"a": 1}, object(), np.uint8(3), {1}, ""])
def test_other_types(item):
    (got,) = Memory([item], LIMIT)
    assert (got.key, got.data, got.status) == ("" if item == "" else "#0", None, Status.BAD_INPUT)
    assert type(item).__name__ in got.reason
    assert "expected a path, bytes, a PIL image or an array [H, W, 3] uint8 RGB" in got.reason


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5), np.uint8), ["[4, 5] uint8 came", "grey [H, W]"]),
        (np.zeros((4, 5, 1), np.uint8), ["grey [H, W, 1]"]),
        (np.zeros((4, 5, 4), np.uint8), ["RGBA", "array[..., :3]", "array[..., 2::-1]", "img[..., ::-1]"]),
        (np.zeros((3, 4, 5), np.uint8), ["[3, H, W]", "transpose(1, 2, 0)"]),
        (np.zeros((4, 5, 2), np.uint8), ["2 channels"]),
        (np.zeros((1, 4, 5, 3), np.uint8), ["batch"]),
        (np.zeros(7, np.uint8), ["1 dimensions"]),
        (np.zeros((0, 5, 3), np.uint8), ["empty"]),
        (np.zeros((4, 5, 3), np.int64), ["dtype is int64"]),
        (np.zeros((4, 5, 3), bool), ["dtype is bool"]),
        (np.zeros((4, 5, 3), np.uint16), ["dtype is uint16"]),
        (np.zeros((4, 5, 3), np.float32), ["floating point", "uint8"]),
        (np.array([[[0.0, np.nan, np.inf]]]), ["floating point", "2 values are NaN or infinite"]),
        (np.zeros((4, 5), np.float64), ["grey", "floating point"]),
        (np.array([["a"]]), ["dtype is <U1"]),
    ],
)
def test_arrays_that_are_no_pictures(array, words):
    (got,) = Memory([array], LIMIT)
    assert (got.status, got.data) == (Status.BAD_INPUT, None)
    for word in [*words, "expected [H, W, 3] uint8 RGB, 0..255"]:
        assert word in got.reason


def test_a_file_object_among_pictures_is_told_of_its_bytes():
    (got,) = Memory([io.BytesIO(b"x")], LIMIT)
    assert got.status == Status.BAD_INPUT
    assert "give the bytes of its read()" in got.reason


def test_advice_on_arrays_works():
    """What the errors say to do gives a picture."""
    rgb = gradient(4, 5)
    np.testing.assert_array_equal(np.dstack([rgb[..., ::-1], rgb[..., 0]])[..., 2::-1], rgb)  # of BGRA
    for made in (np.stack([rgb[..., 0]] * 3, axis=2), np.repeat(rgb[..., :1], 3, axis=2)):
        assert array_fault(made) == ""
    np.testing.assert_array_equal((255 * (rgb / 255)).round().astype("uint8"), rgb)


def test_a_finite_float_array_is_not_said_to_hold_nan():
    assert "NaN" not in array_fault(np.zeros((2, 2, 3), np.float32))


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 1, 3), (3, 7, 3), (20000, 10, 3)])
def test_arrays_that_are_pictures(shape):
    assert array_fault(np.zeros(shape, np.uint8)) == ""
    assert array_fault(np.zeros(shape, np.uint8)[::-1, ::-1]) == ""


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))
def test_any_array_gives_a_verdict(array):
    good = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
    assert (array_fault(array) == "") == good


@pytest.mark.parametrize(
    ("items", "advice"),
    [
        ("a.jpg", "put it in a list"),
        ("", "an empty text is none; is a variable unset"),
        (b"x", "put it in a list"),
        (Path("a.jpg"), "put it in a list"),
        (Image.new("L", (1, 1)), "put it in a list"),
        (gradient(), "put it in a list"),
        (Path(__file__).parent, r"it is a folder, so give it to scorer.folder\('.*sources'\)"),
        (io.BytesIO(b"x"), r"put its bytes in a list, \[file.read\(\)\]"),
        ({"a": b"x"}, r"give list\(pictures.values\(\)\)"),
        ({"a.jpg"}, r"a set has no order .* give sorted\(paths\) or list\(pictures\)"),
        (frozenset(["a.jpg"]), r"a set has no order"),
        (3, "a list, or another iterable"),
    ],
)
def test_what_is_no_row_of_pictures_is_told_what_to_do(items, advice):
    with pytest.raises(InputError, match=f"a {type(items).__name__} came; expected a row of pictures: {advice}"):
        Memory(items, LIMIT)


@pytest.mark.parametrize(
    "kind", [tuple, iter, lambda names: (n for n in names), lambda names: dict.fromkeys(names, 0).keys()]
)
def test_any_iterable_of_pictures(kind):
    assert {p.key for p in Memory(kind(["x.jpg", "y.jpg"]), LIMIT)} == {"x.jpg", "y.jpg"}


def test_columns_of_tables():
    pandas = pytest.importorskip("pandas", reason="pandas (extra pandas) is not installed")
    table = pandas.DataFrame({"path": ["x.jpg", "y.jpg"]}, index=[7, 3])
    assert [p.key for p in Memory(table["path"], LIMIT)] == ["x.jpg", "y.jpg"]
    with pytest.raises(InputError, match=r"a DataFrame came; .* give one of its columns"):
        Memory(table, LIMIT)


def test_tensors_of_other_libraries():
    torch = pytest.importorskip("torch", reason="torch (extra reference) is not installed")
    good = torch.arange(60, dtype=torch.uint8).reshape(4, 5, 3)
    bad = [good.permute(2, 0, 1), good / 255, (good / 255).requires_grad_(), good.to("meta")]
    with pytest.raises(InputError, match="put it in a list"):
        Memory(good, LIMIT)
    found = list(Memory([good, *bad], LIMIT))
    np.testing.assert_array_equal(found[0].data, good.numpy())
    words = ["transpose it", "floating point", r"requires? grad.*detach\(\).cpu\(\).numpy\(\)", "on the host"]
    for one, word in zip(found[1:], words, strict=True):
        assert one.status == Status.BAD_INPUT
        assert re.search(word, one.reason), one.reason
    assert len(list(Memory(torch.stack([good, good]), LIMIT))) == 2


def opened(orientation, stored=(40, 60)):
    """A photograph as a camera stores it: lying, with its orientation and its size in EXIF."""
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({0xA002: stored[0], 0xA003: stored[1]})
    Image.new("RGB", (40, 60)).save(data, "PNG", exif=exif)
    return Image.open(data)


@pytest.mark.parametrize(
    ("image", "orientation"),
    [
        (opened(6), 6),
        (opened(6).convert("RGB"), 6),
        (opened(6).rotate(-90, expand=True), 1),  # upright by hand: once more would lay it down
        (opened(3).rotate(-90, expand=True), 3),  # half a turn is not what the hand did
        (opened(6, stored=(0, 0)).rotate(-90, expand=True), 6),  # nothing shows it
    ],
)
def test_an_image_that_was_turned_by_hand_is_not_turned_again(image, orientation):
    (found,) = Memory([image], LIMIT)
    assert found.data.getexif().get(0x0112, 1) == orientation


def test_a_closed_image_is_a_row():
    image = opened(6)
    image.close()
    (found,) = Memory([image], LIMIT)
    assert "closed" in decode(found, Options()).reason


@given(st.lists(st.sampled_from(["x/none.jpg", b"1", "y/none.jpg", 5]), max_size=8))
def test_keys_are_unique(items):
    keys = [p.key for p in Memory(items, LIMIT)]
    assert len(set(keys)) == len(keys) == len(items)
