"""The patch kernel against the Conv2d that it prepares, and against its formula in float64."""

import pytest
import torch

from .bounds import BF16_HALF_STEP, excess
from .conftest import poisoned

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels.patches import patches, reference

FACTOR = (1 / 127.5, 1 / 57.0, 1 / 60.0)
SHIFT = (-1.0, -2.1, -1.8)


def images(number: int, size: int, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    """[N, 3, S, S], random."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (number, 3, size, size), generator=generator, dtype=torch.uint8)
    return (pixels if dtype == torch.uint8 else (pixels / 127.5 - 1).to(dtype)).to(device)


def run(pixels: torch.Tensor, patch: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """`out`, poisoned before."""
    number, _, size, _ = pixels.shape
    out = poisoned((number * (size // patch) ** 2, 3 * patch * patch), dtype, pixels.device.type)
    patches(pixels, out, patch, factor=FACTOR, shift=SHIFT)
    return out


def check(pixels: torch.Tensor, patch: int) -> None:
    exact = reference(pixels, patch, factor=FACTOR, shift=SHIFT, dtype=torch.float64)
    # Numbers below 8 in float32: factor, product, shift and sum each round by 2^-22 at most. Then half a step of bf16.
    arithmetic = 2.0**-20
    assert not excess(run(pixels, patch), exact, exact.abs() * BF16_HALF_STEP + arithmetic)
    assert not excess(run(pixels, patch, torch.float32), exact, torch.full_like(exact, arithmetic))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("number", "size", "patch"), [(1, 96, 16), (3, 8, 2), (2, 42, 14), (5, 16, 16), (1, 5, 1)])
def test_formula(number, size, patch, dtype, device):
    check(images(number, size, dtype, device), patch)


def test_the_models_image(device):
    pixels = images(1, 384, torch.uint8, device)
    expected = reference(pixels, 16, factor=FACTOR, shift=SHIFT, dtype=torch.float64)
    assert not excess(run(pixels, 16), expected, expected.abs() * BF16_HALF_STEP + 2.0**-20)


def test_columns_are_those_of_the_convolution(device):
    """rows @ flattened weight = Conv2d, in float64: neither channels, nor rows and columns of a patch are swapped."""
    pixels = images(2, 32, torch.float32, device)
    weight = torch.randn(7, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(device)
    expected = torch.nn.functional.conv2d(pixels.double(), weight, stride=8).flatten(2).transpose(1, 2).reshape(-1, 7)
    product = run(pixels, 8, torch.float32).double() @ weight.flatten(1).T
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-12)


def test_floats_are_only_rounded(device):
    """Already normalised: factor and shift are not applied, bf16 goes through bit for bit, float32 to the nearest."""
    for dtype in (torch.bfloat16, torch.float32):
        pixels = images(2, 32, dtype, device, seed=2)
        expected = reference(pixels, 16, factor=FACTOR, shift=SHIFT).bfloat16()
        assert torch.equal(run(pixels, 16), expected)


LAYOUTS = {
    "channels last": lambda p: p.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "every 2nd image": lambda p: p.repeat_interleave(2, 0)[::2],
    "channels first of all": lambda p: p.transpose(0, 1).contiguous().transpose(0, 1),
    "a crop": lambda p: torch.nn.functional.pad(p, (3, 5, 2, 1))[:, :, 2:-1, 3:-5],
    "transposed": lambda p: p.transpose(2, 3).contiguous().transpose(2, 3),
    "one image, expanded": lambda p: p[:1].expand(3, -1, -1, -1),
    "one channel, expanded": lambda p: p[:, :1].expand(-1, 3, -1, -1),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout, dtype, device):
    pixels = LAYOUTS[layout](images(3, 48, dtype, device, seed=3))
    assert not pixels.is_contiguous()
    assert torch.equal(run(pixels, 16), run(pixels.contiguous(), 16))
    check(pixels, 16)


def test_offsets_beyond_32_bits(device):
    """The second image lies 2^31 elements behind the first: of that memory only two images are ever touched."""
    memory = torch.empty(2**31 + 3 * 16 * 16, dtype=torch.uint8, device=device)
    pixels = memory.as_strided((2, 3, 16, 16), (2**31, 256, 16, 1))
    pixels.copy_(images(2, 16, torch.uint8, device, seed=4))
    assert torch.equal(run(pixels, 16), run(pixels.contiguous(), 16))


def test_nan_stays_in_its_place(device):
    pixels = images(2, 32, torch.float32, device, seed=5)
    clean = run(pixels, 16)
    pixels[1, 2, 17, 3] = float("nan")
    out = run(pixels, 16)
    # Image 1, token (1, 0), channel 2, row 1, column 3.
    place = (4 + 2, 2 * 256 + 16 + 3)
    assert out[place].isnan()
    out[place] = clean[place]
    assert torch.equal(out, clean)


def test_rows_of_a_wider_matrix(device):
    """`out` may be some columns of a wider matrix; those beside it are not touched."""
    pixels = images(1, 32, torch.uint8, device, seed=6)
    wide = poisoned((4, 1024), torch.bfloat16, device)
    patches(pixels, wide[:, :768], 16, factor=FACTOR, shift=SHIFT)
    assert torch.equal(wide[:, :768], run(pixels, 16))
    assert wide[:, 768:].isnan().all()


def test_no_images(device):
    assert run(images(0, 32, torch.uint8, device), 16).shape == (0, 768)


BAD = {
    "pixels: expected the shape .images, 3, size, size., got .2, 1, 32, 32.": lambda a: (
        a | {"pixels": a["pixels"][:, :1]}
    ),
    "pixels: expected the shape .images, 3, size, size., got .2, 3, 32, 16.": lambda a: (
        a | {"pixels": a["pixels"][..., :16]}
    ),
    "pixels: expected .* got torch.int32": lambda a: a | {"pixels": a["pixels"].int()},
    "patch: expected a divisor of the image's size 32, got 12": lambda a: a | {"patch": 12},
    "patch: expected a divisor of the image's size 32, got 0": lambda a: a | {"patch": 0},
    "factor and shift: expected 3 numbers each": lambda a: a | {"factor": (1.0,)},
    "out: expected the shape .8, 768., got .4, 768.": lambda a: a | {"out": a["out"][:4]},
    "out: expected torch.bfloat16 or torch.float32, got torch.float16": lambda a: a | {"out": a["out"].half()},
    "all tensors must be on one device": lambda a: a | {"out": a["out"].to("meta")},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message, device):
    out = torch.empty(8, 768, dtype=torch.bfloat16, device=device)
    arguments = {
        "pixels": images(2, 32, torch.uint8, device),
        "out": out,
        "patch": 16,
        "factor": FACTOR,
        "shift": SHIFT,
    }
    with pytest.raises(ValueError, match=message):
        patches(**BAD[message](arguments | {"factor": FACTOR, "shift": SHIFT}))
