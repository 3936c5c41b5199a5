"""Which decoder is taken, and what is said of it."""

from dataclasses import replace

import pytest

from emonet_fast import doctor as machine
from emonet_fast.decoders import choose as room
from emonet_fast.decoders.choose import choose, open_decoder
from emonet_fast.decoders.dali import exact
from emonet_fast.errors import InputError, MissingPackageError, OptionError
from emonet_fast.gpu import Gpu, NoGpu
from emonet_fast.optional import available
from emonet_fast.options import Options
from emonet_fast.records import Box

from .making import BILINEAR, untimed

GPU = Gpu(0, "a GPU", (9, 0), 80_000_000_000)
NO_GPU = NoGpu("PyTorch is built without CUDA", hardware=True)


@pytest.mark.parametrize(
    ("asked", "gpu", "installed", "taken", "notable"),
    [
        ("auto", False, True, "pillow", False),
        ("auto", False, False, "pillow", False),
        ("auto", True, True, "dali", False),
        ("auto", True, False, "pillow", True),
        ("dali", False, True, "dali", False),
        ("pillow", True, True, "pillow", False),
    ],
)
def test_what_is_taken(asked, gpu, installed, taken, notable, monkeypatch):
    monkeypatch.setattr(room, "available", lambda package: installed)
    monkeypatch.setattr(exact, "look", lambda device: GPU)
    choice = choose(Options(decoder=asked), BILINEAR, 0 if gpu else None)
    assert (choice.decoder, choice.notable) == (taken, notable)
    assert ("pip install 'emonet-fast[dali]'" in choice.reason) == (gpu and not installed)


@pytest.mark.parametrize(("torch", "resample"), [(True, "lanczos"), (False, "bilinear")])
def test_auto_says_where_the_host_resizes(torch, resample, monkeypatch):
    monkeypatch.setattr(room, "available", lambda package: True)
    monkeypatch.setattr(exact, "look", lambda device: GPU if torch else NO_GPU)
    choice = choose(Options(), replace(BILINEAR, resample=resample), device_id=0)
    assert (choice.decoder, choice.notable) == ("dali", True)
    assert "the host crops and resizes" in choice.reason


def test_auto_is_pillow_on_the_cpu(monkeypatch):
    monkeypatch.setattr(room, "available", lambda package: True)
    choice = choose(Options(), BILINEAR, device_id=None)
    assert (choice.decoder, choice.reason) == ("pillow", "fast enough beside an engine on the CPU")


def test_dali_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("emonet_fast.optional.available", lambda package: False)
    with pytest.raises(MissingPackageError, match=r"pip install 'emonet-fast\[dali\]'"):
        open_decoder(BILINEAR, Options(decoder="dali"), untimed, threads=1, depth=0, device_id=None, stream=None)


def test_an_unknown_name_is_refused():
    with pytest.raises(OptionError, match="decoder is 'opencv'; expected one of auto, pillow, dali"):
        Options(decoder="opencv")


def test_packages_inside_packages_that_are_missing():
    assert not available("no_such_package.inside")


def test_doctor_says_what_there_is():
    facts = machine.report()["decoders"]
    assert set(facts) == {"pillow", "dali", "formats", "auto"}
    assert "JPEG" in facts["formats"]
    assert any(text.startswith("HEIF") for text in facts["formats"])
    if available("nvidia.dali"):
        assert "(nvidia-dali-cuda" in facts["dali"]
    else:
        assert facts["dali"] == "not installed: pip install 'emonet-fast[dali]'"


@pytest.mark.parametrize("sides", [(0, 0, 0, 5), (5, 0, 4, 5), (0, 0, 1.5, 5), (0, 3, 2, 3)])
def test_boxes_without_pixels_are_refused(sides):
    with pytest.raises(InputError, match="expected whole numbers with left < right"):
        Box(*sides)
