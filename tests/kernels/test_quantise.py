"""Per-token quantisation: bit for bit PyTorch's, and within the bound of e4m3."""

import pytest
import torch

from .bounds import E4M3, excess_rows, fresh
from .conftest import poisoned

triton = pytest.importorskip("triton", reason="Triton is not installed")
import triton.language as tl  # noqa: E402
from emonet_fast.kernels.precision import rounded  # noqa: E402
from emonet_fast.kernels.quantise import quantise, reference  # noqa: E402


def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, scales) with poisoned outputs."""
    out = poisoned(tuple(x.shape), E4M3, x.device.type)
    scales = poisoned((x.shape[0],), torch.float32, x.device.type)
    quantise(x, out, scales)
    return out, scales


def bits(values: torch.Tensor) -> torch.Tensor:
    """e4m3 as bytes, with one zero and one NaN."""
    return torch.where(values.float() == 0, 0, values.view(torch.uint8).int() & (0xFF - 0x80 * values.isnan().int()))


@triton.jit
def _round(values, out, N: tl.constexpr):
    index = tl.arange(0, N)
    tl.store(out + index, rounded(tl.load(values + index), out.dtype.element_ty))


def test_e4m3_rounds_as_pytorch_does(device):
    """All codes, all midpoints between two of them and their neighbours, both signs.

    The interpreter's own conversion to e4m3 does not: it loses carries and NaN (Triton 3.6 to 3.9). `precision.py`
    makes the bits itself there, so this is a test of that on a CPU, and of the GPU's instruction on a GPU.
    """
    codes = torch.arange(128).to(torch.uint8).view(E4M3).float()
    middle = (codes[:126] + codes[1:127]) / 2
    around = [torch.nextafter(middle, torch.tensor(end)) for end in (0.0, 1e9)]
    spread = torch.randn(1024, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 2, 1024)
    positive = torch.cat([codes, middle, *around, spread.clamp(-448, 448)])
    values = torch.zeros(4096, device=device)
    both = torch.cat([positive, -positive])
    values[: len(both)] = both
    out = poisoned((4096,), E4M3, device)
    _round[(1,)](values, out, 4096, enable_fp_fusion=True)
    assert torch.equal(bits(out), bits(values.cpu().to(E4M3).to(device)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_other_types_round_as_pytorch_does(dtype, device):
    pattern = torch.randint(-(2**31), 2**31 - 1, (4096,), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    values = pattern.view(torch.float32)
    # Half of bf16's last place, exactly: ties, to even and from odd.
    values[:1024] = ((pattern[:1024] & ~0xFFFF) | 0x8000).view(torch.float32)
    if dtype == torch.float16:
        values = values.clamp(-6e4, 6e4)
    values = values.to(device)
    out = poisoned((4096,), dtype, device)
    _round[(1,)](values, out, 4096, enable_fp_fusion=True)
    torch.testing.assert_close(out, values.to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 1152), (3, 4304), (5, 32), (7, 144), (2, 33), (61, 144)])
def test_formula(rows, columns, device):
    x = fresh(rows, columns, device=device, seed=columns)
    out, scales = run(x)
    assert not excess_rows(out, scales, x.double(), torch.zeros(rows, 1, dtype=torch.float64, device=device))
    expected, expected_scales = reference(x)
    # Every step of the formula is one correctly rounded operation: nothing may differ.
    assert torch.equal(scales, expected_scales)
    assert torch.equal(bits(out), bits(expected))


def test_rows_from_very_small_to_very_large(device):
    """2^-114 to 2^120: no scale underflows, no reciprocal overflows."""
    x = fresh(7, 144, device=device, seed=1, outliers=False).abs() + 1
    x = (x * 2.0 ** torch.arange(-114, 121, 39, device=device).unsqueeze(1)).bfloat16()
    out, scales = run(x)
    assert scales.isfinite().all()
    assert not excess_rows(out, scales, x.double(), torch.zeros(7, 1, dtype=torch.float64, device=device))


def test_a_row_below_the_smallest_scale(device):
    """Under 5e-36 the scale stops at float32's smallest normal number; values keep the absolute bound."""
    x = torch.full((1, 32), 2.0**-125, dtype=torch.bfloat16, device=device)
    out, scales = run(x)
    assert scales.item() == 2.0**-126
    assert (out.float() == 2).all()


def test_zeros(device):
    out, scales = run(torch.zeros(3, 144, dtype=torch.bfloat16, device=device))
    assert (out.float() == 0).all()
    assert (scales == 1).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("place", [0, 143])
def test_nan_stays_in_its_row(place, device):
    x = fresh(5, 144, device=device, seed=2)
    clean, clean_scales = run(x)
    x[1, place], x[3, place] = float("nan"), float("-inf")
    out, scales = run(x)
    assert scales[1].isnan()
    assert (out.float() * scales.unsqueeze(1))[[1, 3]].isnan().all()
    others = [0, 2, 4]
    assert torch.equal(bits(out[others]), bits(clean[others]))
    assert torch.equal(scales[others], clean_scales[others])


def test_rows_apart(device):
    """Every 2nd row of larger tensors; the rows between are not touched."""
    x = fresh(4, 144, device=device, seed=3)
    wide = poisoned((8, 144), E4M3, device)
    scales = poisoned((4,), torch.float32, device)
    quantise(x.repeat_interleave(2, 0)[::2], wide[::2], scales)
    assert torch.equal(bits(wide[::2]), bits(run(x)[0]))
    assert wide[1::2].isnan().all()


def test_no_rows(device):
    assert run(torch.empty(0, 144, dtype=torch.bfloat16, device=device))[0].shape == (0, 144)


BAD = {
    "x: expected the shape": lambda x, out, scales: (x[0], out, scales),
    "x: expected torch.bfloat16, got torch.float32": lambda x, out, scales: (x.float(), out, scales),
    "out: expected torch.float8_e4m3fn, got torch.bfloat16": lambda x, out, scales: (x, x, scales),
    "out: expected the shape .4, 144., got .3, 144.": lambda x, out, scales: (x, out[:3], scales),
    "scales: expected the shape .4., got .4, 1.": lambda x, out, scales: (x, out, scales.unsqueeze(1)),
    "all tensors must be on one device, got x on": lambda x, out, scales: (x, out, scales.to("meta")),
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message, device):
    x = fresh(4, 144, device=device, seed=4)
    with pytest.raises(ValueError, match=message):
        quantise(*BAD[message](x, torch.empty_like(x, dtype=E4M3), torch.empty(4, device=device)))
