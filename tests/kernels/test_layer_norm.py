"""The LayerNorm kernel against its formula in float64."""

import pytest
import torch

from .bounds import E4M3, excess_rows, fresh
from .conftest import poisoned

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels.layer_norm import layer_norm, reference

EPS = 1e-6
ROWS_COLUMNS = [(1, 1152), (3, 4304), (5, 32), (7, 144), (1, 1), (2, 33), (19, 1152)]
OUTPUTS = [torch.bfloat16, torch.float32, E4M3]


def affine(columns: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """weight and bias [D] float32."""
    weight, bias = torch.randn(2, columns, generator=torch.Generator().manual_seed(columns))
    return weight.to(device), bias.to(device)


def run(x, out_dtype, *, delta=None):
    """(x after the call, out, scales) with poisoned outputs."""
    rows, columns = x.shape
    device = x.device.type
    weight, bias = affine(columns, device)
    x = x.clone()
    out = poisoned((rows, columns), out_dtype, device)
    scales = poisoned((rows,), torch.float32, device) if out_dtype == E4M3 else None
    layer_norm(x, weight, bias, EPS, out, delta=delta, scales=scales)
    return x, out, scales


def check(x, out_dtype, *, delta=None):
    """Compare with the formula in float64, and with plain PyTorch in float32 for the error that float32 costs."""
    weight, bias = affine(x.shape[1], x.device.type)
    stored, out, scales = run(x, out_dtype, delta=delta)
    # x + delta in PyTorch's own arithmetic: bit for bit.
    added = x if delta is None else x + delta
    assert torch.equal(stored, added)
    _, exact, _ = reference(added.double(), weight, bias, EPS, torch.float64)
    plain = torch.nn.functional.layer_norm(added.float(), added.shape[1:], weight, bias, EPS)
    # float32: twice the largest error of PyTorch in that row, and 4 roundings of the row's largest value for a row in
    # which PyTorch happens to be exact.
    arithmetic = 2 * (plain.double() - exact).abs().amax(1, keepdim=True) + 2.0**-22 * exact.abs().amax(1, keepdim=True)
    assert not excess_rows(out, scales, exact, arithmetic)


@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
@pytest.mark.parametrize(("rows", "columns"), ROWS_COLUMNS)
def test_formula(rows, columns, out_dtype, device):
    x = fresh(rows, columns, device=device, seed=rows)
    delta = fresh(rows, columns, device=device, seed=rows + 1)
    check(x, out_dtype, delta=delta)


@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
@pytest.mark.parametrize("x_dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("with_delta", [False, True])
def test_every_combination(x_dtype, out_dtype, with_delta, device):
    x = fresh(4, 144, device=device, seed=2).to(x_dtype) * 1.01
    delta = fresh(4, 144, device=device, seed=3) if with_delta else None
    check(x, out_dtype, delta=delta)


def test_many_rows(device):
    # The interpreter takes some 10 ms a row.
    rows = 577 if device == "cuda" else 61
    x, delta = (fresh(rows, 1152, device=device, seed=seed) for seed in (4, 5))
    check(x, E4M3, delta=delta)


def test_channels_far_above_the_others(device):
    """E[x^2] - mean^2 would lose all digits here: mean 1000, spread 4 (a step of bf16 at 1000)."""
    x = (1000 + 4 * fresh(3, 1152, device=device, seed=6, outliers=False).float()).bfloat16()
    check(x, torch.float32)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1151])
def test_nan_stays_in_its_row(place, poison, out_dtype, device):
    x, delta = (fresh(5, 1152, device=device, seed=seed) for seed in (7, 8))
    clean = run(x, out_dtype, delta=delta)
    x[2, place] = poison
    delta[4, place] = poison
    _, out, scales = run(x, out_dtype, delta=delta)
    value = out.float() if scales is None else out.float() * scales.unsqueeze(1)
    assert value[[2, 4]].isnan().all()
    others = [0, 1, 3]
    assert torch.equal(out.float()[others], clean[1].float()[others])
    assert scales is None or torch.equal(scales[others], clean[2][others])


@pytest.mark.parametrize("out_dtype", OUTPUTS, ids=str)
def test_a_constant_row_gives_the_bias(out_dtype, device):
    columns = 144
    x = torch.full((2, columns), 3.0, dtype=torch.bfloat16, device=device)
    zero, one = torch.zeros(columns, device=device), torch.ones(columns, device=device)
    out = poisoned((2, columns), out_dtype, device)
    scales = poisoned((2,), torch.float32, device) if out_dtype == E4M3 else None
    layer_norm(x, one, zero, EPS, out, scales=scales)
    assert (out.float() == 0).all()
    assert scales is None or (scales == 1).all()


def test_a_row_does_not_depend_on_its_place_or_batch(device):
    x = fresh(9, 1152, device=device, seed=9)
    _, together, scales = run(x, E4M3)
    for row in (0, 4, 8):
        _, alone, scale = run(x[row : row + 1], E4M3)
        assert torch.equal(alone[0].float(), together[row].float())
        assert torch.equal(scale[0], scales[row])


def test_rows_apart(device):
    """Every 2nd row of a larger tensor for x, delta and out; the rows between are not touched."""
    weight, bias = affine(144, device)
    x, delta = (fresh(8, 144, device=device, seed=seed) for seed in (10, 11))
    wide_x, wide_delta = (t.repeat_interleave(2, 0) for t in (x, delta))
    wide_out = poisoned((16, 144), torch.bfloat16, device)
    layer_norm(wide_x[::2], weight, bias, EPS, wide_out[::2], delta=wide_delta[::2])
    stored, out, _ = run(x, torch.bfloat16, delta=delta)
    assert torch.equal(wide_out[::2], out)
    assert torch.equal(wide_x[::2], stored)
    assert torch.equal(wide_x[1::2], x)
    assert wide_out[1::2].isnan().all()


def test_no_rows(device):
    x, out, _ = run(torch.empty(0, 144, dtype=torch.bfloat16, device=device), torch.bfloat16)
    assert x.shape == out.shape == (0, 144)


BAD = {
    "x: expected the shape": lambda a: a | {"x": a["x"][0]},
    "x: expected torch.bfloat16 or torch.float32, got torch.float16": lambda a: a | {"x": a["x"].half()},
    "out: expected the shape .4, 144.": lambda a: a | {"out": a["out"][:3]},
    "x: the values of a row must be contiguous": lambda a: a | {"x": a["x"].T.contiguous().T},
    "out: rows overlap": lambda a: a | {"out": a["out"][:1].expand(4, -1)},
    "weight: expected the shape .144., got .143.": lambda a: a | {"weight": a["weight"][:143]},
    "bias: expected torch.float32, got torch.bfloat16": lambda a: a | {"bias": a["bias"].bfloat16()},
    "bias: must be contiguous": lambda a: a | {"bias": torch.zeros(288, device=a["x"].device)[::2]},
    "delta: expected torch.bfloat16, got torch.float32": lambda a: a | {"delta": a["x"].float()},
    "scales: expected for an e4m3 output and for no other, got some": lambda a: a | {"scales": a["weight"][:4]},
    "scales: expected for an e4m3 output and for no other, got none": lambda a: a | {"out": a["out"].to(E4M3)},
    "all tensors must be on one device": lambda a: a | {"weight": a["weight"].to("meta")},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message, device):
    weight, bias = affine(144, device)
    x = fresh(4, 144, device=device, seed=12)
    arguments = {"x": x, "weight": weight, "bias": bias, "eps": EPS, "out": torch.empty_like(x)}
    with pytest.raises(ValueError, match=message):
        layer_norm(**BAD[message](arguments))
