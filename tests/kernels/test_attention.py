"""The attention kernel against softmax in float64."""

import math

import pytest
import torch

from .bounds import excess
from .conftest import poisoned

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels import attention as module
from emonet_fast.kernels.attention import attention, launch, launch_config, reference

# What the interpreter's numpy says of the infinities that tests put in.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")


def packed(batch: int, tokens: int, heads: int, head_dim: int, device: str, seed: int, sharpness: float = 1.0):
    """qkv [B T, 3 D] in bf16; the logits' spread grows with the square of `sharpness`."""
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(batch * tokens, 3, heads * head_dim, generator=generator)
    qkv[:, :2] *= sharpness
    return qkv.flatten(1).bfloat16().to(device)


def run(qkv: torch.Tensor, batch: int, tokens: int, heads: int) -> torch.Tensor:
    """`out`, poisoned before."""
    out = poisoned((batch * tokens, qkv.shape[1] // 3), torch.bfloat16, qkv.device.type)
    attention(qkv, out, batch, tokens, heads)
    return out


def plain(qkv: torch.Tensor, batch: int, tokens: int, heads: int) -> torch.Tensor:
    """Attention in plain PyTorch with what a kernel in bf16 cannot avoid: probabilities and output rounded to bf16."""
    q, k, v = qkv.float().view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1).bfloat16().float()
    return (weights @ v).transpose(1, 2).reshape(batch * tokens, -1).bfloat16()


def check(out: torch.Tensor, qkv: torch.Tensor, batch: int, tokens: int, heads: int) -> None:
    """Every value within the bound of its roundings; the whole at most twice as far off as plain PyTorch."""
    exact = reference(qkv.double(), batch, tokens, heads)
    # Each probability is rounded by 2^-8 of itself at most, so their sum of |v| by 2^-8 of it; the output as well. The
    # float32 arithmetic (logits up to 100, exponentials) is far below: 2^-12.
    magnitudes = qkv.double().clone().view(batch * tokens, 3, -1)
    magnitudes[:, 2] = magnitudes[:, 2].abs()
    spread = reference(magnitudes.flatten(1), batch, tokens, heads)
    assert not excess(out, exact, spread * (2.0**-8 + 2.0**-12) + exact.abs() * 2.0**-8)
    # That bound supposes that all roundings fall the same way, and would not see one key of 576 missing. This one does.
    error, usual = ((t.double() - exact).square().mean().sqrt() for t in (out, plain(qkv, batch, tokens, heads)))
    assert error <= 2 * usual, f"error {float(error):.3g}, plain PyTorch in bf16 {float(usual):.3g}"


SHAPES = [
    # batch, tokens, heads, head_dim
    (1, 576, 1, 72),
    (1, 1, 1, 72),
    (3, 9, 2, 72),
    (2, 35, 3, 72),
    (1, 65, 1, 72),
    (2, 130, 1, 72),
    (3, 35, 2, 16),
    (2, 64, 2, 32),
    (1, 100, 1, 64),
    (2, 17, 2, 24),
    (1, 33, 2, 80),
    (1, 20, 1, 41),
    (1, 40, 1, 128),
]


@pytest.mark.parametrize(("batch", "tokens", "heads", "head_dim"), SHAPES)
def test_formula(batch, tokens, heads, head_dim, device):
    qkv = packed(batch, tokens, heads, head_dim, device, seed=tokens)
    check(run(qkv, batch, tokens, heads), qkv, batch, tokens, heads)


@pytest.mark.parametrize("tokens", [576, 200, 140, 128, 70, 20])
def test_tiles_of_128_queries(tokens, device):
    """As for large batches on 9.0: whole tiles, a last tile of 64 that is full or not, and one of 128 that is not."""
    small = launch_config(1, tokens, 1, 72, 90)
    assert small.constants["QUERIES"] == 64
    large = launch_config(100_000, tokens, 1, 72, 90)
    assert large.constants["QUERIES"] == 128
    assert large.constants["LAST"] == (64 if 0 < tokens % 128 <= 64 else 128)
    qkv = packed(1, tokens, 1, 72, device, seed=tokens)
    out = poisoned((tokens, 72), torch.bfloat16, device)
    launch(qkv, out, 1, large)
    check(out, qkv, 1, tokens, 1)


@pytest.mark.parametrize("sharpness", [0.0, 3.0, 9.0])
def test_uneven_logits(sharpness, device):
    """From all equal to logits of some hundreds, where one key takes all; float32's exp overflows from 88 on."""
    qkv = packed(2, 100, 2, 72, device, seed=1, sharpness=sharpness)
    check(run(qkv, 2, 100, 2), qkv, 2, 100, 2)


@pytest.mark.parametrize("offset", [80.0, -80.0])
def test_logits_far_from_zero(offset, device):
    """A constant added to every logit changes nothing: the maximum is subtracted, in every step of 64 keys."""
    tokens, head_dim = 130, 72
    qkv = packed(1, tokens, 1, head_dim, device, seed=2).view(tokens, 3, head_dim)
    qkv[:, 0, 0] = 1
    qkv[:, 1, 0] = offset * math.sqrt(head_dim)
    qkv = qkv.flatten(1)
    check(run(qkv, 1, tokens, 1), qkv, 1, tokens, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_the_largest_logit_first_or_last(order, device):
    """Rising logits rescale the sums in every step, falling ones never: from -80 to 80 along the keys."""
    tokens, head_dim = 200, 16
    qkv = packed(1, tokens, 1, head_dim, device, seed=3, sharpness=0.1).view(tokens, 3, head_dim)
    qkv[:, 0, 0] = 1
    qkv[:, 1, 0] = torch.linspace(-80 * order, 80 * order, tokens, device=device) * math.sqrt(head_dim)
    qkv = qkv.flatten(1)
    check(run(qkv, 1, tokens, 1), qkv, 1, tokens, 1)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_nan_stays_in_its_image_and_head(part, poison, device):
    """Also at the edges: the last token lies beside the next image, the head's last column beside the next head."""
    batch, tokens, heads, head_dim = 3, 35, 2, 72
    qkv = packed(batch, tokens, heads, head_dim, device, seed=4)
    clean = run(qkv, batch, tokens, heads).view(batch, tokens, heads, head_dim)
    rows = qkv.view(batch, tokens, 3, heads, head_dim)
    rows[1, 0, part, 0, 0] = poison
    rows[1, tokens - 1, part, 0, head_dim - 1] = poison
    out = run(qkv, batch, tokens, heads).view(batch, tokens, heads, head_dim)
    poisoned_head = out[1, :, 0]
    if part == 0:
        assert poisoned_head[[0, tokens - 1]].isnan().all()
        assert torch.equal(poisoned_head[1:-1], clean[1, 1:-1, 0])
    elif part == 1:
        # A key of -inf or inf may count nothing, or all, or make NaN: as PyTorch has it. NaN always makes NaN.
        expected = reference(qkv, batch, tokens, heads).view(batch, tokens, heads, head_dim)[1, :, 0]
        assert torch.equal(poisoned_head.isnan(), expected.isnan())
        assert poisoned_head.isnan().all() or not math.isnan(poison)
    else:
        assert not poisoned_head[:, [0, head_dim - 1]].isfinite().any()
        assert torch.equal(poisoned_head[:, 1:-1], clean[1, :, 0, 1:-1])
    assert torch.equal(out[:, :, 1], clean[:, :, 1])
    assert torch.equal(out[[0, 2]], clean[[0, 2]])


def test_an_image_does_not_depend_on_its_place_or_batch(device):
    qkv = packed(3, 35, 2, 72, device, seed=5)
    together = run(qkv, 3, 35, 2).view(3, 35, 144)
    for image in range(3):
        assert torch.equal(run(qkv.view(3, 35, -1)[image], 1, 35, 2), together[image])


def test_tile_sizes_agree(device):
    """Small and large batches take other tiles. Where sums have another order, single roundings to bf16 flip."""
    qkv = packed(1, 192, 1, 72, device, seed=6)
    out = poisoned((192, 72), torch.bfloat16, device)
    launch(qkv, out, 1, launch_config(100_000, 192, 1, 72, 90))
    small = run(qkv, 1, 192, 1)
    # A step of bf16 of the result, or of one weight: of about 1/192 of the sum, times values of up to 4.
    assert not excess(out, small.double(), small.double().abs() * 2**-7 + 4 * 2**-8 / 192)


@pytest.mark.parametrize("tokens", [35, 70])
def test_nothing_is_written_behind_the_last_row(tokens, device):
    """Queries of the last tile beyond the image are not written; nor does what lies behind `qkv` matter."""
    qkv = packed(1, tokens, 1, 72, device, seed=9)
    larger = poisoned((tokens + 128, 3 * 72), torch.bfloat16, device)
    larger[:tokens] = qkv
    out = poisoned((tokens + 128, 72), torch.bfloat16, device)
    attention(larger[:tokens], out[:tokens], 1, tokens, 1)
    assert torch.equal(out[:tokens], run(qkv, 1, tokens, 1))
    assert out[tokens:].isnan().all()


def test_reference_is_pytorchs():
    qkv = packed(2, 35, 3, 72, "cpu", seed=7).double()
    q, k, v = qkv.view(2, 35, 3, 3, 72).permute(2, 0, 3, 1, 4)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(70, -1)
    torch.testing.assert_close(reference(qkv, 2, 35, 3), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("head_dim", [16, 24, 72, 128])
@pytest.mark.parametrize("capability", [80, 89, 90, 100, 120, 121])
def test_launch_fits_into_shared_memory(capability, head_dim):
    """Queries, and keys and values of every stage, by the same sum as the compiler's at most."""
    for batch in (1, 256):
        config = launch_config(batch, 576, 16, head_dim, capability)
        sizes = config.constants
        columns = sizes["MAIN"] + sizes["TAIL"]
        shared = 2 * columns * (sizes["QUERIES"] + 2 * sizes["KEYS"] * sizes["STAGES"])
        limit = module.SHARED_LIMIT_KIB.get(capability, 99) * 1024
        assert shared <= limit


def test_no_images(device):
    assert run(torch.empty(0, 3 * 72, dtype=torch.bfloat16, device=device), 0, 35, 1).shape == (0, 72)


BAD = {
    "expected batch >= 0, tokens >= 1 and heads >= 1": lambda a: a | {"heads": 0},
    "qkv: expected the shape .rows, 3 . 5 heads": lambda a: a | {"heads": 5},
    "head_dim: expected 16 to 128, got 8": lambda a: a | {"heads": 18},
    "head_dim: expected 16 to 128, got 144": lambda a: a | {"heads": 1},
    "expected less than 2.31 elements an image": lambda a: a | {"tokens": 2**23, "batch": 1},
    "qkv: expected the shape .8, 432., got .6, 432.": lambda a: a | {"qkv": a["qkv"][:6]},
    "qkv: expected torch.bfloat16, got torch.float16": lambda a: a | {"qkv": a["qkv"].half()},
    "qkv: must be contiguous": lambda a: a | {"qkv": a["qkv"].repeat_interleave(2, 0)[::2]},
    "out: expected the shape .8, 144., got .8, 143.": lambda a: a | {"out": a["out"][:, :143]},
    "out: expected torch.bfloat16, got torch.float32": lambda a: a | {"out": a["out"].float()},
    "all tensors must be on one device": lambda a: a | {"out": a["out"].to("meta")},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message, device):
    qkv = packed(2, 4, 2, 72, device, seed=8)
    arguments = {"qkv": qkv, "out": torch.empty(8, 144, dtype=torch.bfloat16, device=device)}
    with pytest.raises(ValueError, match=message):
        attention(**BAD[message](arguments | {"batch": 2, "tokens": 4, "heads": 2}))
