"""The GELU kernel against its formula in float64."""

import pytest
import torch

from .bounds import E4M3, excess, excess_rows, fresh
from .conftest import poisoned

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels.gelu import gelu, reference

OUTPUTS = [torch.bfloat16, E4M3]

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")


def run(x, out_dtype, bias=None):
    """(out, scales) with poisoned outputs. bias: None for zeros."""
    out = poisoned(tuple(x.shape), out_dtype, x.device.type)
    scales = poisoned((x.shape[0],), torch.float32, x.device.type) if out_dtype == E4M3 else None
    gelu(x, zeros(x) if bias is None else bias, out, scales)
    return out, scales


def zeros(x: torch.Tensor) -> torch.Tensor:
    """A bias that adds nothing."""
    return torch.zeros(x.shape[1], device=x.device)


def arithmetic(y: torch.Tensor) -> torch.Tensor:
    """What float32 may cost: the exponent reaches 126 before y vanishes, and 3 roundings of it (2^-24 each) times ln 2
    are 2^-16 of the exponential at worst; the other roundings are far smaller. Below 2^-120 y may become 0.
    """
    return y.abs() * 2.0**-16 + 2.0**-120


def check(x, out_dtype, bias=None):
    exact, _ = reference(x.double(), zeros(x) if bias is None else bias, torch.float64)
    out, scales = run(x, out_dtype, bias)
    assert not excess_rows(out, scales, exact, arithmetic(exact))


@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 4304), (3, 1152), (5, 32), (7, 144), (2, 33), (1, 1)])
def test_formula(rows, columns, with_bias, out_dtype, device):
    x = fresh(rows, columns, device=device, seed=rows) * 2
    bias = torch.randn(columns, generator=torch.Generator().manual_seed(columns)).to(device) if with_bias else None
    check(x, out_dtype, bias)


@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
def test_many_rows(out_dtype, device):
    # The interpreter takes some 5 ms a row.
    check(fresh(577 if device == "cuda" else 61, 32, device=device, seed=1), out_dtype)


def test_reference_is_pytorchs():
    """In float64, to the digits that 1 + tanh keeps."""
    h = torch.linspace(-30, 30, 6001, dtype=torch.float64).unsqueeze(0)
    ours, _ = reference(h, zeros(h), torch.float64)
    pytorchs = torch.nn.functional.gelu(h, approximate="tanh")
    assert not excess(ours, pytorchs, h.abs() * 1e-15)


def test_every_bf16_value(device):
    """All 65536, among them zeros, infinities and NaN: NaN and infinite where PyTorch is, else within the bound."""
    patterns = torch.arange(-(2**15), 2**15).to(torch.int16)
    # Not the subnormal numbers (below 1e-38), which the interpreter does not read correctly.
    magnitude = patterns.int() & 0x7FFF
    patterns[(magnitude > 0) & (magnitude < 0x80)] = 0
    x = patterns.view(torch.bfloat16).reshape(64, 1024).to(device)
    out, _ = run(x, torch.bfloat16)
    exact, _ = reference(x.double(), zeros(x), torch.float64)
    plain = torch.nn.functional.gelu(x.float(), approximate="tanh")
    assert torch.equal(out.isnan(), plain.isnan())
    assert torch.equal(out.isinf(), plain.bfloat16().isinf())
    finite = plain.bfloat16().isfinite()
    assert not excess(out[finite], exact[finite], exact[finite].abs() * 2.0**-8 + arithmetic(exact[finite]))


def test_zeros_and_far_negatives(device):
    """Rows whose GELU is 0 everywhere: scale 1, all zeros."""
    x = torch.zeros(2, 144, dtype=torch.bfloat16, device=device)
    x[1] = -1e4
    out, scales = run(x, E4M3)
    assert (out.float() == 0).all()
    assert (scales == 1).all()


@pytest.mark.parametrize("place", [0, 143])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_nan_stays_in_its_row(poison, place, device):
    x = fresh(4, 144, device=device, seed=2)
    clean, clean_scales = run(x, E4M3)
    clean_bf16, _ = run(x, torch.bfloat16)
    x[1, place] = poison
    out, scales = run(x, E4M3)
    assert (out[1].float() * scales[1]).isnan().all()
    others = [0, 2, 3]
    assert torch.equal(out[others].float(), clean[others].float())
    assert torch.equal(scales[others], clean_scales[others])
    # Without a scale for the whole row, only the place itself.
    out, _ = run(x, torch.bfloat16)
    assert out[1, place] == poison if poison == float("inf") else out[1, place].isnan()
    out[1, place] = clean_bf16[1, place]
    assert torch.equal(out, clean_bf16)


def test_rows_apart(device):
    """Every 2nd row of larger tensors; the rows between are not touched."""
    x = fresh(4, 144, device=device, seed=3)
    wide = poisoned((8, 144), torch.bfloat16, device)
    gelu(x.repeat_interleave(2, 0)[::2], zeros(x), wide[::2])
    assert torch.equal(wide[::2], run(x, torch.bfloat16)[0])
    assert wide[1::2].isnan().all()


def test_in_place(device):
    """`out` may be x: a program has read its row before it writes it."""
    x = fresh(3, 144, device=device, seed=4)
    out, _ = run(x, torch.bfloat16)
    gelu(x, zeros(x), x)
    assert torch.equal(x, out)


def test_no_rows(device):
    assert run(torch.empty(0, 144, dtype=torch.bfloat16, device=device), E4M3)[0].shape == (0, 144)


BAD = {
    "x: expected the shape": lambda x: {"x": x[0], "out": x},
    "x: expected torch.bfloat16, got torch.float32": lambda x: {"x": x.float(), "out": x},
    "out: expected torch.bfloat16 or torch.float8_e4m3fn, got torch.float32": lambda x: {"x": x, "out": x.float()},
    "out: expected the shape .4, 144., got .4, 143.": lambda x: {"x": x, "out": x[:, :143]},
    "bias: expected torch.float32, got torch.bfloat16": lambda x: {"x": x, "out": x, "bias": x[0]},
    "bias: expected the shape .144., got .4.": lambda x: {"x": x, "out": x, "bias": x[:, 0].float()},
    "scales: expected for an e4m3 output and for no other, got none": lambda x: {"x": x, "out": x.to(E4M3)},
    "all tensors must be on one device, got x on": lambda x: {"x": x, "out": x.to("meta")},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message, device):
    x = fresh(4, 144, device=device, seed=5)
    with pytest.raises(ValueError, match=message):
        gelu(**{"bias": zeros(x)} | BAD[message](x))
