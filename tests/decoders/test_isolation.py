"""Damaged files among good ones: each has its status, none takes another with it, and both decoders agree."""

import numpy as np
import pytest

from emonet_fast.records import Picture, Status

from .making import dali, encoded, furthest, pillow, rows

pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")

from emonet_fast.decoders.dali.pipeline import Definition
from emonet_fast.decoders.dali.runner import Runner
from emonet_fast.decoders.dali.triage import Sample


@pytest.fixture(scope="module")
def good(photos) -> list[bytes]:
    return [encoded(photos[i % len(photos)][: 200 + 7 * i, : 300 - 5 * i], quality=80) for i in range(16)]


def strange(photos) -> dict[str, bytes]:
    """Every kind of file of a folder that nobody looked after."""
    rng = np.random.default_rng(3)
    small = photos[0][:200, :240]
    jpeg, png = encoded(small, quality=80), encoded(small, "PNG")
    from PIL import Image

    found = {
        "zero length": b"",
        "text.jpg": b"<html><body>404</body></html>",
        "cmyk": encoded(Image.fromarray(small).convert("CMYK")),
        "16-bit png": encoded(small[..., 0].astype(np.uint16) * 257, "PNG"),
        "progressive": encoded(small, progressive=True),
        "1x1": encoded(small[:1, :1]),
        "12,000 wide": encoded(np.repeat(small[:6], 50, axis=1)),
        "cut header": jpeg[:100],
        "cut png": png[: len(png) // 2],
        "no end": jpeg[:-2],
    }
    for i in range(6):
        found[f"cut {i}"] = jpeg[: rng.integers(2, len(jpeg))]
    for name, data in (("jpeg", jpeg), ("progressive", found["progressive"]), ("png", png)):
        for i in range(14):
            damaged = bytearray(data)
            for _ in range(rng.integers(1, 6)):
                damaged[rng.integers(0, len(damaged))] ^= 1 << rng.integers(0, 8)
            found[f"flipped {name} {i}"] = bytes(damaged)
    return found


def test_a_folder_that_nobody_looked_after(good, photos):
    """Statuses and reasons agree; good pictures have the pixels that they have without bad ones beside them."""
    bad = strange(photos)
    pictures, clean = [], []
    for i, (name, data) in enumerate(bad.items()):
        clean.append(Picture(f"good {i}", good[i % len(good)]))
        pictures += [clean[-1], Picture(name, data)]
    decoder = dali()
    got = rows(decoder, pictures, 8)
    assert furthest(got, rows(pillow(), pictures, 8)) == 0
    by_key = {d.key: (d, pixels) for d, pixels in got}
    assert by_key["12,000 wide"][0].status == Status.OK
    assert by_key["zero length"][0].status == Status.EMPTY
    assert by_key["text.jpg"][0].status == Status.NOT_AN_IMAGE
    assert by_key["no end"][0].status == Status.TRUNCATED
    for decoded, pixels in rows(dali(), clean, 8):
        np.testing.assert_array_equal(by_key[decoded.key][1], pixels)


def samples_of(datas: list[bytes]) -> list[Sample]:
    """Straight to DALI, without triage: as what passed it by mistake. Each has bytes of its own."""
    own = [bytes(bytearray(data)) for data in datas]
    return [Sample(Picture(f"{i}", data), data, 240, 200) for i, data in enumerate(own)]


@pytest.mark.parametrize("bad", [{2}, {0, 7}, {1, 2, 3, 4}, set(range(8))])
def test_a_failed_run_is_taken_apart(photos, bad):
    """Runs before and after it are right too, and a single pipeline goes on."""
    whole = encoded(photos[0][:200, :240], quality=80)
    cut = whole[: len(whole) // 2]
    runner = Runner(Definition(None, 8, 2))
    clean = samples_of([whole] * 8)
    runner.start(clean)
    runner.start(samples_of([cut if i in bad else whole for i in range(8)]))
    runner.start(clean)
    results = [runner.finish() for _ in range(3)]
    assert [result.failed for result in results] == [(), tuple(sorted(bad)), ()]
    want = results[0].outputs[0].on_host()
    for result in results:
        places = sorted(place for output in result.outputs for place in output.places)
        assert places == [i for i in range(8) if i not in result.failed]
        for output in result.outputs:
            np.testing.assert_array_equal(np.stack(output.on_host()), np.stack(want[: len(output.places)]))
    assert 1 <= runner.rebuilt <= len(bad)  # an error names at least one picture
    runner.close()


def test_where_no_picture_is_named_halves_are_tried(photos, monkeypatch):
    import re

    monkeypatch.setattr("emonet_fast.decoders.dali.runner._NAMED", re.compile("(never said)"))
    whole = encoded(photos[0][:200, :240], quality=80)
    runner = Runner(Definition(None, 8, 2))
    runner.start(samples_of([whole] * 5 + [whole[:900]] + [whole] * 2))
    result = runner.finish()
    assert result.failed == (5,)
    assert sorted(i for output in result.outputs for i in output.places) == [0, 1, 2, 3, 4, 6, 7]
    runner.close()


def test_what_dali_fails_for_pillow_judges(photos, monkeypatch):
    """Files that triage lets pass and DALI cannot read: Pillow's pixels, or Pillow's reason."""
    from emonet_fast.decoders.dali import decoder as room

    def all_pass(picture, options):
        return Sample(picture, picture.data, 240, 200)

    monkeypatch.setattr(room, "triage", all_pass)
    jpeg, gif = encoded(photos[0][:200, :240]), encoded(photos[0][:200, :240], "GIF")
    pictures = [Picture("a", jpeg), Picture("gif", gif), Picture("cut", jpeg[:2000]), Picture("b", jpeg)]
    decoder = dali()
    got = rows(decoder, pictures)
    assert furthest(got, rows(pillow(), pictures)) == 0
    assert [d.status for d, _ in got] == [Status.OK, Status.OK, Status.TRUNCATED, Status.OK]
    assert decoder.note() == "2 by Pillow"
