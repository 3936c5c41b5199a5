"""Both decoders turn a picture alike, by Pillow's reading of its header, and odd EXIF harms nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from emonet_fast.decoders.dali.turn import stored, upright
from emonet_fast.records import Box

from .exif_files import PIXELS


def turned_by_pillow(orientation: int) -> np.ndarray:
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_and_regions_are_turned_as_pillow_turns_them(orientation):
    want = turned_by_pillow(orientation)
    np.testing.assert_array_equal(upright(PIXELS, orientation), want)
    height, width, _ = want.shape
    box = Box(7, 11, 45, 83)
    part = stored(box, orientation, width, height)
    region = upright(PIXELS[part.top : part.bottom, part.left : part.right], orientation)
    np.testing.assert_array_equal(region, want[11:83, 7:45])
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    there = upright(torch.from_numpy(PIXELS), orientation)
    assert there.is_contiguous()
    np.testing.assert_array_equal(there.numpy(), want)


def test_odd_exif_beside_good_pictures_in_a_process_of_its_own():
    """DALI crashed at these, or gave the pictures after them other pixels, while it read the orientation itself."""
    pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
    command = [sys.executable, "-W", "ignore", "-m", "tests.decoders.exif_files"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr[-2000:]
