"""The heads kernel against its formula in float64."""

import os
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels.head_launch import LaunchConfig, Scratch, Tile, launch_config, partial_sums
from emonet_fast.kernels.head_weights import HeadWeights
from emonet_fast.kernels.heads import reference, score_heads

from .bounds import excess
from .conftest import assert_same, poisoned

LARGE, SMALL = (1152, 1024, 512, 256, 1), (1152, 128, 32, 1)
TYPES = [torch.bfloat16, torch.float32]

# (embeddings, heads, layer sizes). The interpreter takes about 10 ms a program, so there the layers are narrow; odd
# sizes are padded, D = 72 needs a mask, W2 = 256 is split among programs.
NARROW = [
    (1, 44, (64, 32, 16, 1)),
    (5, 1, (40, 24, 20, 1)),
    (16, 3, (72, 64, 256, 64, 1)),
    (17, 40, (128, 16, 16, 16, 1)),
    (33, 2, (130, 64, 256, 33, 1)),
    (67, 3, (128, 64, 256, 64, 1)),
]
FULL = [(batch, 44, sizes) for batch in (1, 15, 33, 65, 300) for sizes in (LARGE, SMALL)]
FULL += [(17, heads, sizes) for heads in (1, 3, 40) for sizes in (LARGE, SMALL)]
WAYS = list(product(TYPES, (True, False)))
if torch.cuda.is_available():
    CASES = [(*case, *way) for case in FULL for way in WAYS]
else:
    # Many heads are many programs: one way each.
    CASES = [(*case, *way) for case in NARROW for way in (WAYS if case[1] < 40 else WAYS[case[0] % 3 :][:1])]


@pytest.fixture
def seed() -> int:
    """New with every test; pytest shows it where the test fails."""
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    return seed


def layers(heads: int, sizes: tuple[int, ...], seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Weights [H, out, in] and biases [H, out] float32 that keep the size of values from layer to layer."""
    g = torch.Generator().manual_seed(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = [torch.randn(heads, out, taken, generator=g) * (2 / taken) ** 0.5 for out, taken in shapes]
    return weights, [0.3 * torch.randn(heads, out, generator=g) for out, _ in shapes]


def embeddings(batch: int, sizes: tuple[int, ...], seed: int) -> torch.Tensor:
    """[B, D] float32, of norms that differ by a factor of 10: a forgotten or misplaced norm must show."""
    g = torch.Generator().manual_seed(seed + 1)
    return torch.randn(batch, sizes[0], generator=g) * (0.3 + 3 * torch.rand(batch, 1, generator=g))


def plain(x: torch.Tensor, weights: HeadWeights, l2_normalise: bool) -> torch.Tensor:
    """The same in PyTorch's own bf16 arithmetic, every step rounded."""
    n = x.bfloat16()
    if l2_normalise:
        n = functional.normalize(n, dim=1)
    y = functional.linear(n, weights.first[:, : weights.embedding], weights.first_bias.flatten().bfloat16()).relu()
    y = y.view(len(x), weights.heads, -1).transpose(0, 1)
    y = (torch.bmm(y, weights.second.transpose(1, 2)) + weights.second_bias.bfloat16().unsqueeze(1)).relu()
    if weights.third is not None:
        y = (torch.bmm(y, weights.third) + weights.third_bias.bfloat16().unsqueeze(1)).relu()
    y = torch.bmm(y, weights.last.bfloat16().unsqueeze(2)).squeeze(2)
    return y.T + weights.last_bias.bfloat16()


def tolerance(weights: HeadWeights, sizes: tuple[int, ...], seed: int, l2_normalise: bool) -> torch.Tensor:
    """Twice the largest error that plain bf16 makes in 64 other embeddings of the same kind."""
    x = embeddings(64, sizes, seed + 2).to(weights.first.device)
    return 2 * (plain(x, weights, l2_normalise).double() - reference(x.double(), weights, l2_normalise)).abs().max()


def poisoned_scratch(weights: HeadWeights, batch: int) -> Scratch:
    """NaN wherever a launch must write before it reads."""
    scratch = Scratch.allocate(weights, batch)
    scratch.hidden.fill_(float("nan"))
    scratch.partials.fill_(float("nan"))
    return scratch


def run(x, weights, *, l2_normalise=True, scratch=None, config=None) -> torch.Tensor:
    """Scores, from poisoned outputs."""
    raw = poisoned((len(x), weights.heads), torch.float32, x.device)
    scratch = scratch or poisoned_scratch(weights, len(x))
    score_heads(x, weights, scratch, raw, l2_normalise=l2_normalise, config=config)
    assert not scratch.counters.any()
    return raw


@pytest.mark.parametrize(("batch", "heads", "sizes", "dtype", "l2_normalise"), CASES, ids=str)
def test_formula(batch, heads, sizes, dtype, l2_normalise, device, seed):
    weights = HeadWeights.from_layers(*layers(heads, sizes, seed), device)
    x = embeddings(batch, sizes, seed).to(device, dtype)
    exact = reference(x.double(), weights, l2_normalise)
    got = run(x, weights, l2_normalise=l2_normalise)
    assert not excess(got, exact, tolerance(weights, sizes, seed, l2_normalise)), f"seed {seed}"


def test_full_width(device, seed):
    weights = HeadWeights.from_layers(*layers(1, LARGE, seed), device)
    x = embeddings(3, LARGE, seed).to(device)
    exact = reference(x.double(), weights, True)
    assert not excess(run(x, weights), exact, tolerance(weights, LARGE, seed, True)), f"seed {seed}"


CONFIGS = [
    # Several slices a program, alone and with partial sums; tiles of 128 rows, which only full layers would get.
    LaunchConfig(Tile(16, 32, 64, 4, 4), Tile(16, 64, 64, 4, 4), 1),
    LaunchConfig(Tile(64, 64, 32, 8, 3), Tile(64, 64, 64, 8, 3), 2),
    LaunchConfig(Tile(128, 128, 64, 8, 3), Tile(32, 32, 32, 4, 3), 4),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_way_to_launch(config, device, seed):
    sizes = (96, 64, 256, 64, 1)
    weights = HeadWeights.from_layers(*layers(2, sizes, seed), device)
    x = embeddings(37, sizes, seed).to(device)
    scratch = poisoned_scratch(weights, 37)
    scratch = replace(scratch, partials=poisoned((partial_sums(config, 37, 2, 64),), torch.float32, device))
    got = run(x, weights, config=config, scratch=scratch)
    assert not excess(got, reference(x.double(), weights, True), tolerance(weights, sizes, seed, True)), f"seed {seed}"


@pytest.mark.parametrize("sizes", [(40, 24, 20, 1), (130, 24, 100, 33, 1)])
def test_weights_keep_the_layers(sizes, device, seed):
    matrices, biases = layers(3, sizes, seed)
    weights = HeadWeights.from_layers(matrices, biases, device)
    x = embeddings(4, sizes, seed).double()
    # The last layer stays float32; padding must add nothing.
    rounded = [w.bfloat16() for w in matrices[:-1]] + [matrices[-1]]
    for head in range(3):
        y = x
        for number, (weight, bias) in enumerate(zip(rounded, biases, strict=True)):
            y = y @ weight[head].double().T + bias[head]
            y = y if number == len(sizes) - 2 else y.relu()
        torch.testing.assert_close(
            reference(x.to(device), weights, False)[:, head].cpu(), y[:, 0], rtol=1e-12, atol=1e-12
        )


@pytest.fixture(scope="module")
def one(device) -> tuple[HeadWeights, torch.Tensor]:
    """Weights whose layer 2 is split among programs, and 20 float32 embeddings: two row tiles of 16 or one of 32."""
    sizes = (96, 32, 256, 32, 1)
    return HeadWeights.from_layers(*layers(2, sizes, 7), device), embeddings(20, sizes, 7).to(device)


BROKEN = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": -float("inf"),
    "too long": 1e25,
    "too short": 1e-18,
    "zero": 0.0,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's NumPy meets infinities, as it should
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_broken_rows_stay_alone(one, dtype):
    weights, x = one
    x = x.to(dtype)
    clean = run(x, weights)
    assert clean.isfinite().all()
    broken = x.clone()
    at = [0, 3, 8, 15, 16, 19]
    for row, value in zip(at, BROKEN.values(), strict=True):
        broken[row] = value
    got = run(broken, weights)
    others = [i for i in range(len(x)) if i not in at]
    assert torch.equal(got[others], clean[others])
    assert got[at].isnan().all(), dict(zip(BROKEN, got[at].tolist(), strict=True))


def test_nan_shows_without_normalisation(one):
    weights, x = one
    broken = x.clone()
    broken[4, 17] = float("nan")
    got = run(broken, weights, l2_normalise=False)
    assert got[4].isnan().all()
    assert torch.equal(got[5:], run(x, weights, l2_normalise=False)[5:])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_place_and_company_do_not_matter(one, dtype, seed):
    weights, x = one
    x = x.to(dtype)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    together = run(x, weights)
    assert_same(run(x[order], weights), together[order])
    # Alone, launched in the same way.
    config = launch_config(len(x), weights.heads, weights.widths, x.element_size(), 90)
    for row in (0, 11, 19):
        scratch = poisoned_scratch(weights, len(x))
        assert_same(run(x[row : row + 1], weights, scratch=scratch, config=config), together[row : row + 1])


def test_again_with_the_same_scratch(one):
    weights, x = one
    scratch = poisoned_scratch(weights, 32)
    first = run(x, weights, scratch=scratch)
    assert torch.equal(run(x, weights, scratch=scratch), first)
    # A smaller batch after a larger one; nothing is written behind it.
    scratch.hidden.fill_(float("nan"))
    run(x[:3], weights, scratch=scratch)
    assert scratch.hidden[3:].isnan().all()
    assert scratch.hidden[:3].isfinite().all()


@pytest.mark.parametrize("power", [-40, 40])
def test_length_does_not_matter(one, power):
    weights, x = one
    # A power of two changes no digit of any sum; the GPU's square root and division may round by one in the last place.
    torch.testing.assert_close(run(x * 2.0**power, weights), run(x, weights), rtol=1e-5, atol=1e-6)


def test_empty_batch(one):
    weights, x = one
    score_heads(x[:0], weights, Scratch.allocate(weights, 0), x.new_empty(0, 2), l2_normalise=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_replayed_graph(one):
    weights, x = one
    x, scratch, raw = x.clone(), Scratch.allocate(weights, len(x)), x.new_empty(len(x), 2)
    score_heads(x, weights, scratch, raw, l2_normalise=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        score_heads(x, weights, scratch, raw, l2_normalise=True)
    for shift in (0, 1, 2):
        x.copy_(one[1].roll(shift, dims=0))
        raw.fill_(float("nan"))
        graph.replay()
        assert torch.equal(raw, run(x, weights))


def bad_calls(weights, x) -> dict[str, tuple]:
    """What is wrong, to (x, scratch, raw)."""
    good, out = Scratch.allocate(weights, len(x)), x.new_empty(len(x), weights.heads)
    return {
        "x: expected torch.bfloat16 or torch.float32": (x.half(), good, out),
        "x: expected the shape": (x[:, 1:].contiguous(), good, out),
        "contiguous": (x.T.contiguous().T, good, out),
        "raw: expected float32": (x, good, out.bfloat16()),
        "raw: expected float32 of": (x, good, out[:, :1]),
        "strides": (x, good, out.T.contiguous().T),
        "scratch.hidden": (x, Scratch.allocate(weights, len(x) - 1), out),
        "scratch.partials": (x, replace(good, partials=good.partials[1:]), out),
        "scratch.counters": (x, replace(good, counters=good.counters[:1]), out),
        "all tensors must be on one device": (x, good, out.to("meta")),
    }


@pytest.mark.parametrize("number", range(10))
def test_bad_calls(one, number):
    weights, x = one
    text, (x, scratch, raw) = list(bad_calls(weights, x).items())[number]
    with pytest.raises(ValueError, match=text):
        score_heads(x, weights, scratch, raw, l2_normalise=True)


def bad_layers() -> dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]]:
    weights, biases = layers(3, (40, 24, 20, 1), 0)
    return {
        "3 or 4 layers": (weights[:2], biases[:2]),
        "a bias each": (weights, biases[:2]),
        "expected float32": ([w.double() for w in weights], biases),
        "layer 1: expected the shape": ([weights[0][0], *weights[1:]], biases),
        "layer 2: expected a bias": (weights, [biases[0], biases[1][:, 1:], biases[2]]),
        "3 heads that take 24 values": ([weights[0], weights[1][:, :, 1:], weights[2]], biases),
        "3 heads": ([weights[0], weights[1][:2], weights[2]], [biases[0], biases[1][:2], biases[2]]),
        "must be 1 wide": layers(3, (40, 24, 20, 2), 0),
        # No memory is behind these.
        "at most 2\\^30": (
            [torch.empty(1).expand(2048, *shape) for shape in ((1024, 1024), (8, 1024), (1, 8))],
            [torch.empty(1).expand(2048, out) for out in (1024, 8, 1)],
        ),
        "last hidden layer has 512": layers(1, (16, 16, 16, 300, 1), 0),
    }


@pytest.mark.parametrize("text", bad_layers())
def test_bad_layers(text, device):
    with pytest.raises(ValueError, match=text):
        HeadWeights.from_layers(*bad_layers()[text], device)


@pytest.mark.parametrize("capability", [80, 86, 90, 100, 120])
@pytest.mark.parametrize("widths", [(1024, 512, 256), (128, 32, 0), (16, 16, 16), (64, 1024, 32)])
def test_tiles_cover_all(widths, capability):
    w1, w2, w3 = widths
    for heads in (1, 3, 40, 43, 44):
        for batch in (1, 16, 17, 32, 33, 64, 65, 128, 129, 500, 4096):
            for element_bytes in (2, 4):
                config = launch_config(batch, heads, widths, element_bytes, capability)
                first, second = config.first, config.second
                assert heads * w1 % first.columns == 0
                assert w1 % second.step == 0
                assert w2 % (second.columns * config.splits) == 0
                assert w3 or second.columns * config.splits == w2


def test_scratch_suffices_for_every_smaller_batch(device):
    weights = HeadWeights.from_layers(*layers(2, (16, 16, 512, 16, 1), 0), device)
    scratch = Scratch.allocate(weights, 200)
    for batch in range(1, 201):
        config = launch_config(batch, 2, weights.widths, 2, 90)
        assert partial_sums(config, batch, 2, 16) <= scratch.partials.numel()
        assert 2 * -(-batch // config.second.rows) <= scratch.counters.numel()
