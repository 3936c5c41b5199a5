"""The resize kernel against Pillow, and against its formula: equal, bit for bit."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels import resize as room
from emonet_fast.kernels.resize import FILTERS, Pixels, Resizer, reference

from emonet_fast.optional import available

with_pillow = pytest.mark.skipif(not available("PIL"), reason="Pillow is not installed")

SIZE = 24
# Height, width: as they are, smaller, larger, far from square in both ways, one pixel.
SHAPES = [(24, 24), (32, 32), (48, 48), (15, 10), (1, 1), (1, 200), (300, 2), (97, 131), (23, 25), (80, 20), (20, 80)]


def by_pillow(picture: np.ndarray, size: int, filter_: str) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(picture).resize((size, size), Image.Resampling[filter_.upper()])
    return np.asarray(image).transpose(2, 0, 1)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Half of the values at an end: what a cubic overshoots must be clipped."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(rng.random(values.shape) < 0.5, values, (values > 127) * np.uint8(255)).astype(np.uint8)


def order(height: int, width: int, size: int) -> bool:
    if not available("PIL"):
        return False
    from emonet_fast.decoders.dali.exact import rows_first

    return rows_first(height, width, size)


def run(pictures: list[np.ndarray], filter_: str, device: str, size: int = SIZE) -> torch.Tensor:
    """As Pillow would, where it is there."""
    kept = [torch.from_numpy(one).to(device) for one in pictures]
    sizes = [one.shape[:2] for one in pictures]
    given_ = [Pixels(t.data_ptr(), h, w, order(h, w, size)) for t, (h, w) in zip(kept, sizes, strict=True)]
    found = Resizer(size, filter_, device)(given_)
    if device == "cuda":
        torch.cuda.synchronize()
    return found


@with_pillow
@pytest.mark.parametrize("filter_", FILTERS)
def test_a_batch_of_many_shapes(filter_, device):
    pictures = [noise(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    got = run(pictures, filter_, device).cpu().numpy()
    for i, picture in enumerate(pictures):
        np.testing.assert_array_equal(got[i], by_pillow(picture, SIZE, filter_), err_msg=str(SHAPES[i]))


def test_the_order_of_the_axes_matters_and_is_kept(device):
    """Both orders by the kernel, whatever the installed Pillow takes."""
    picture = noise(200, 60)
    kept = torch.from_numpy(picture).to(device)
    orders = (False, True)
    found = Resizer(SIZE, "bilinear", device)([Pixels(kept.data_ptr(), 200, 60, first) for first in orders])
    for got, first in zip(found.cpu().numpy(), orders, strict=True):
        np.testing.assert_array_equal(got, reference(picture, SIZE, "bilinear", rows_first=first))
    assert not torch.equal(found[0], found[1])


def test_a_row_does_not_depend_on_the_others(device):
    pictures = [noise(70, 50, 1), noise(20, 90, 2), noise(130, 30, 3)]
    together = run(pictures, "bilinear", device)
    for i, picture in enumerate(pictures):
        assert torch.equal(run([picture], "bilinear", device)[0], together[i])


def test_more_sizes_than_are_kept(device, monkeypatch):
    monkeypatch.setattr(room, "_KNOWN", 3)
    pictures = [noise(20 + 3 * i, 60 - 2 * i, i) for i in range(6)]
    resizer = Resizer(SIZE, "bilinear", device)
    for _ in range(2):
        kept = [torch.from_numpy(one).to(device) for one in pictures]
        given_ = [Pixels(t.data_ptr(), *p.shape[:2], False) for t, p in zip(kept, pictures, strict=True)]
        for got, picture in zip(resizer(given_).cpu().numpy(), pictures, strict=True):
            np.testing.assert_array_equal(got, reference(picture, SIZE, "bilinear", rows_first=False))
        assert len(resizer._known) == 3


def test_no_pictures(device):
    assert Resizer(SIZE, "bilinear", device)([]).shape == (0, 3, SIZE, SIZE)


def test_bad_input(device):
    with pytest.raises(ValueError, match="filter 'lanczos': expected one of bilinear, bicubic"):
        Resizer(SIZE, "lanczos", device)
    with pytest.raises(ValueError, match="a picture of 0 x 5 pixels; expected at least 1 x 1"):
        Resizer(SIZE, "bilinear", device)([Pixels(0, 0, 5, False)])
    with pytest.raises(ValueError, match=r"a picture of 30000000 x 3 pixels; expected .* fewer than 2\^31 values"):
        Resizer(SIZE, "bilinear", device)([Pixels(0, 30_000_000, 3, False)])
