"""DALI on a GPU: pixels beside Pillow's, damaged files, the hand-over to the engine. Skipped without a GPU or DALI."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

from emonet_fast.options import Options  # noqa: E402
from emonet_fast.records import Box, Picture, Status  # noqa: E402

from .. import tolerances  # noqa: E402
from .making import BILINEAR, encoded, pillow, rows, untimed  # noqa: E402


@pytest.fixture(scope="module")
def smooth() -> list[np.ndarray]:
    """Pictures with edges and gradients, from numpy alone."""
    y, x = np.mgrid[:600, :800].astype(np.float64)
    made = []
    for i in range(1, 9):
        planes = [128 + 100 * np.sin((x * i + 40 * c) / 90) * np.cos(y / (30 + 9 * i + c)) for c in range(3)]
        made.append(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)[: 600 - 31 * i, : 800 - 23 * i])
    return made


@pytest.fixture(scope="module")
def decoder():
    from emonet_fast.decoders.dali.decoder import DaliDecoder

    stream = torch.cuda.Stream()
    made = DaliDecoder(BILINEAR, Options(), untimed, 4, 0, stream.cuda_stream)
    made.torch_stream = stream  # lives as long as the decoder does
    return made


def on_host(decoder, pictures, batch_size=4):
    """Rows as `rows` gives them, read on the decoder's stream."""
    found = []
    for batch in decoder.batches(pictures, batch_size, keep_rgb=False):
        pixels = {}
        for part in batch.parts:
            with torch.cuda.stream(decoder.torch_stream):
                values = torch.from_dlpack(part.pixels).cpu().numpy() if part.on_device else part.pixels
            pixels |= dict(zip(part.places, values, strict=True))
        found += [(row, pixels.get(i)) for i, row in enumerate(batch.rows)]
    return found


def test_pixels_and_boxes(decoder, smooth):
    pictures = [Picture(f"{i}", encoded(p, subsampling=("4:2:0", "4:4:4")[i % 2])) for i, p in enumerate(smooth)]
    box = (Box(30, 40, 300, 290), Box(-20, 100, 250, 300))
    pictures += [Picture("boxes", pictures[0].data, boxes=box), Picture("cut", pictures[1].data[:4000])]
    got, want = on_host(decoder, pictures), rows(pillow(), pictures)
    assert [(d.key, d.status, d.reason) for d, _ in got] == [(d.key, d.status, d.reason) for d, _ in want]
    assert got[-1][0].status == Status.TRUNCATED
    differences = [np.abs(a.astype(int) - b) for (_, a), (_, b) in zip(got, want, strict=True) if b is not None]
    assert max(int(d.max()) for d in differences) <= tolerances.DALI_DECODE_MAX
    assert max(float(d.mean()) for d in differences) < tolerances.DALI_DECODE_MEAN


def test_resize_of_equal_pixels(decoder):
    rng = np.random.default_rng(0)
    shapes = ((1024, 1024), (400, 600), (385, 383), (100, 300), (1, 1), (900, 3))
    pictures = [Picture(f"{s}", encoded(rng.integers(0, 256, (*s, 3), dtype=np.uint8), "BMP")) for s in shapes]
    got, want = on_host(decoder, pictures), rows(pillow(), pictures)
    for (_, a), (_, b) in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pictures_pixels_do_not_depend_on_its_neighbours(decoder, smooth):
    """The hardware decoder and the other one round differently: which one decodes is a matter of the picture alone."""
    pictures = [Picture(f"{i}", encoded(pixels, quality=90)) for i, pixels in enumerate(smooth)]
    together = on_host(decoder, pictures, 8)
    for picture, (_, want) in zip(pictures, together, strict=True):
        ((_, alone),) = on_host(decoder, [picture], 8)
        np.testing.assert_array_equal(alone, want)
