"""The one flow of faces, by every decoder: one decode a picture, rows in order, crops equal to Pillow's."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from emonet_fast.decoders import flow
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.options import Options
from emonet_fast.quality import look_of
from emonet_fast.records import Box, Face, Picture, Status

from ..tolerances import GREY
from .making import BILINEAR, dali, encoded, furthest, on_device, pillow, rows, untimed

SMALL = replace(BILINEAR, size=48)
# By key: where the faces of each picture lie. "over" reaches over the edges, "outside" touches nothing.
FACES = {
    "two.jpg": (Box(10, 20, 70, 90), Box(40, 30, 120, 110)),
    "none.jpg": (),
    "over.png": (Box(-20, 50, 60, 130),),
    "array": (Box(5, 5, 50, 60), Box(60, 60, 100, 90)),
    "outside.jpg": (Box(0, 0, 40, 40), Box(5000, 0, 5010, 10)),
    "palette.gif": (Box(30, 30, 90, 80),),
    "cut.jpg": (Box(0, 0, 9, 9),),
    "text": (Box(0, 0, 9, 9), Box(1, 1, 9, 9)),
    "gone": (Box(0, 0, 9, 9),),
    "small region.jpg": (Box(300, 200, 340, 250),),
}
READABLE = [key for key in FACES if key not in ("cut.jpg", "text", "gone")]


class Locator:
    """Gives pictures the faces above. pixels: of the pictures that it was shown, by key."""

    name = "a finder"

    def __init__(self, needs_pixels: bool) -> None:
        self.needs_pixels = needs_pixels
        self.pixels: dict[str, object] = {}

    def locate(self, pictures, pixels):
        if self.needs_pixels:
            self.pixels |= dict(zip((picture.key for picture in pictures), pixels, strict=True))
        found = [FACES[picture.key] for picture in pictures]
        return [
            replace(picture, boxes=boxes, faces=tuple(Face(b.left, b.top, b.width, b.height) for b in boxes))
            for picture, boxes in zip(pictures, found, strict=True)
        ]


@pytest.fixture(scope="module")
def pictures(photos) -> list[Picture]:
    part = photos[0][:150, :160]
    data = {
        "two.jpg": encoded(part),
        "none.jpg": encoded(part),
        "over.png": encoded(part, "PNG"),
        "array": part,
        "outside.jpg": encoded(part),
        "palette.gif": encoded(part, "GIF"),
        "cut.jpg": encoded(part)[:1500],
        "text": b"<html>",
        "gone": None,
        "small region.jpg": encoded(photos[1][:350, :450]),
    }
    return [
        Picture(key, one, *((Status.UNREADABLE, "it is gone") if one is None else ()), origin=f"from {key}")
        for key, one in data.items()
    ]


@pytest.fixture
def made(request):
    """Makes the decoder of a name."""
    return partial(_made, request)


def _made(request, name: str):
    if name == "threads":
        return PillowDecoder(SMALL, Options(), untimed, threads=3)
    if name == "pillow":
        return pillow(SMALL)
    pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
    if name == "dali":
        return dali(SMALL)
    request.getfixturevalue("wide_blocks")
    return on_device(SMALL)


@pytest.fixture
def decodes(monkeypatch) -> Counter:
    """How often each picture was decoded, by whomever."""
    counts: Counter = Counter()
    decode = flow.decode

    def counted(picture, options):
        counts[picture.key] += 1
        return decode(picture, options)

    monkeypatch.setattr(flow, "decode", counted)
    try:
        from emonet_fast.decoders.dali.runner import Runner
    except ImportError:
        return counts
    start = Runner.start

    def started(self, samples):
        counts.update(sample.picture.key for sample in samples)
        start(self, samples)

    monkeypatch.setattr(Runner, "start", started)
    return counts


@pytest.mark.parametrize("needs_pixels", [False, True], ids=["known", "found"])
@pytest.mark.parametrize("name", ["pillow", "threads", "dali", "device"])
def test_each_picture_is_decoded_once_and_its_faces_are_rows(name, needs_pixels, made, pictures, decodes):
    locator = Locator(needs_pixels)
    got = rows(made(name), pictures, 4, faces=locator)
    # A damaged file that passes triage would be decoded twice, by DALI in vain; this one does not pass.
    assert decodes == dict.fromkeys(FACES, 1)
    boxed = [replace(one, boxes=FACES[one.key]) for one in pictures if one.key in READABLE and FACES[one.key]]
    want = {row.key: (row, pixels) for row, pixels in rows(pillow(SMALL), boxed)}
    keys = []
    for key, boxes in FACES.items():
        keys += [f"{key}::box{i}" for i in range(len(boxes))] if key in READABLE and boxes else [key]
    assert [row.key for row, _ in got] == keys
    for row, pixels in got:
        key = row.key.partition("::box")[0]
        assert row.origin == f"from {key}"
        if row.key not in want:
            assert pixels is None
            assert row.face is None
            continue
        expected, expected_pixels = want[row.key]
        assert (row.status, row.reason) == (expected.status, expected.reason)
        box = FACES[key][int(row.key[-1])]
        face = Face(box.left, box.top, box.width, box.height)
        assert row.face == replace(face, sharpness=row.face.sharpness, brightness=row.face.brightness)
        if expected_pixels is None:
            assert pixels is None
        else:
            np.testing.assert_array_equal(pixels, expected_pixels)
    by_key = {row.key: row for row, _ in got}
    assert (by_key["none.jpg"].status, by_key["none.jpg"].reason) == (Status.NO_FACE, "no face found by a finder")
    assert by_key["outside.jpg::box1"].status == Status.BAD_INPUT
    assert [by_key[key].status for key in ("cut.jpg", "text", "gone")] == ["truncated", "not_an_image", "unreadable"]
    assert sorted(locator.pixels) == (sorted(READABLE) if needs_pixels else [])


@pytest.mark.parametrize("needs_pixels", [False, True], ids=["known", "found"])
def test_on_a_gpu_nothing_goes_back_to_the_host(needs_pixels, made, pictures, monkeypatch):
    """Tensors from the decode to the network's input: whatever would copy one to the host is refused."""
    decoder, locator = made("device"), Locator(needs_pixels)
    import torch

    from emonet_fast.decoders.dali.runner import Output

    def refused(*arguments, **settings):
        raise AssertionError("pixels went back to the host")

    for name in ("cpu", "numpy", "tolist", "item", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, refused)
    monkeypatch.setattr(Output, "on_host", refused)
    batches = list(decoder.batches(pictures, 4, keep_rgb=False, faces=locator))
    parts = [part for batch in batches for part in batch.parts]
    assert parts
    assert all(part.on_device for part in parts)
    assert all(isinstance(pixels, torch.Tensor) for pixels in locator.pixels.values())


@pytest.mark.parametrize("name", ["pillow", "dali", "device"])
def test_boxed_and_whole_encoded_and_array_pictures_take_each_its_own_way(name, made, photos, decodes):
    """In one source, in order; arrays are cropped by the chosen decoder too."""
    part = photos[0][:150, :160]
    jpeg, box = encoded(part), (Box(10, 10, 60, 70), Box(-9, 0, 30, 40))
    source = [
        Picture("array first", part),
        Picture("jpeg", jpeg),
        Picture("jpeg boxed", jpeg, boxes=box),
        Picture("array boxed", part, boxes=box),
        Picture("jpeg again", jpeg),
        Picture("gif boxed", encoded(part, "GIF"), boxes=box[:1]),
        Picture("array last", photos[1][:90, :80], boxes=box[1:]),
    ]
    decoder = made(name)
    assert furthest(rows(decoder, source, 3), rows(pillow(SMALL), source, 3)) == 0
    if name != "pillow":
        assert decoder.note() == "1 by Pillow"  # the GIF: arrays have nothing to decode


@pytest.mark.parametrize("name", ["pillow", "threads", "dali", "device"])
def test_crops_are_kept_where_asked(name, made, pictures):
    got = rows(made(name), pictures[:2], keep_rgb=True, faces=Locator(True))
    want = rows(pillow(SMALL), [replace(pictures[0], boxes=FACES["two.jpg"])], keep_rgb=True)
    for (row, _), (expected, _) in zip(got[:2], want, strict=True):
        np.testing.assert_array_equal(row.rgb, expected.rgb)
        sharpness, brightness = look_of(expected.rgb)
        assert float(row.face.sharpness) == pytest.approx(sharpness, rel=GREY)
        assert float(row.face.brightness) == pytest.approx(brightness, rel=GREY)
        assert (row.photograph.width, row.photograph.height) == (160, 150)
        assert row.photograph.rgb.shape == (150, 160, 3)
    assert got[2][0].rgb is None


@pytest.mark.parametrize("name", ["pillow", "threads", "dali", "device"])
def test_an_endless_source_is_read_in_bounded_memory(name, made, pictures):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield replace(pictures[read % 2], key="two.jpg")

    batches = made(name).batches(endless(), 2, keep_rgb=False, faces=Locator(True))
    for _ in range(3):
        next(batches)
    batches.close()
    assert read <= 40


def test_a_note_of_decoding_stays_with_each_row_of_a_face(photos):
    """As of a picture as a whole: such as that a file has several frames."""
    from PIL import Image

    frames = [Image.fromarray(photos[0][:150, :160]), Image.fromarray(photos[1][:150, :160])]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    got = rows(pillow(SMALL), [Picture("two.jpg", data)], faces=Locator(True))
    assert [(row.status, row.reason) for row, _ in got] == [(Status.OK, "first of 2 frames")] * 2
