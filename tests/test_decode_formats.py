"""Formats that need a package: read where it is installed, and else a row that says what to install."""

import importlib.util
from io import BytesIO

import numpy as np
import pytest

from emonet_fast.decode import FORMATS
from emonet_fast.records import Status
from emonet_fast.sources.folder import IMAGE_SUFFIXES

from .decoding import run
from .sources.made import gradient

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
JXL = b"\xff\x0a" + bytes(40)


@pytest.mark.parametrize(
    ("data", "package", "install"),
    [(HEIC, "pillow_heif", "'emonet-fast[heif]'"), (JXL, "pillow_jxl", "pillow-jxl-plugin")],
)
def test_a_row_says_what_to_install(data, package, install):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    got = run(data)
    assert got.status == Status.NOT_AN_IMAGE
    assert got.reason.endswith(f"which cannot be read here; install: pip install {install}" + " (GPL)" * (data == JXL))


def test_heic_where_the_extra_is_installed():
    plugin = pytest.importorskip("pillow_heif", reason="pillow-heif (extra heif) is not installed")
    rgb = gradient(96, 128)
    image = plugin.from_bytes("RGB", (128, 96), rgb.tobytes())
    out = BytesIO()
    image.save(out, quality=-1, chroma=444)
    got = run(out.getvalue())
    assert (got.status, got.reason) == (Status.OK, "")
    assert np.abs(got.rgb.astype(int) - rgb).max() < 8
    assert run(out.getvalue()[:-200]).status == Status.TRUNCATED
    assert run(out.getvalue(), max_pixels=1000).status == Status.TOO_LARGE


def test_every_format_says_its_suffixes_and_what_it_takes():
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert set(suffixes) == IMAGE_SUFFIXES, "a folder's listing takes others than are read"
    for one in FORMATS:
        assert one.readable or one.install, one.name
