"""How the tests of decoding call it, and what it is compared with."""

import io
import warnings

import numpy as np
from PIL import Image

from emonet_fast.decode import decode
from emonet_fast.options import Options
from emonet_fast.records import Picture, Status


def run(data, **options):
    got = decode(Picture("key", data), Options(**options))
    assert got.key == "key"
    assert (got.rgb is not None) == (got.status == Status.OK)
    if got.rgb is not None:
        assert got.rgb.dtype == np.uint8
        assert got.rgb.ndim == 3
        assert got.rgb.shape[2] == 3
        assert got.rgb.flags.c_contiguous
    else:
        assert got.reason
    return got


def pixels(data, **settings):
    got = run(data, **settings)
    assert got.status == Status.OK, got.reason
    return got.rgb


def published(data):
    """What the published pipeline does to a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
