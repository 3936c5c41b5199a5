"""Stacked heads learn as plain modules do, one by one; what is folded into layers changes no score."""

import math

import numpy as np
import pytest

from emonet_fast.training.losses import Link, head_losses
from emonet_fast.training.stack import Standard, draw_masks, forward, from_layers, new_stack, scores_of, to_layers

torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")
HEADS, ROWS, WIDTHS = 3, 16, (7, 5, 4, 1)
SCALES = np.array([[0.0, 7.0], [-3.0, 3.0], [0.0, 5.0]])


def plain_module(layers):
    """The published module of one head: Linear, ReLU, Dropout, ..., Linear; dropout is off."""
    steps = []
    for weight, bias in layers:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(weight))
            linear.bias.copy_(torch.as_tensor(bias))
        steps += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*steps[:-1])


def plain_loss(kind, scores, targets, weights, scale):
    """The loss of one head, written down from its definition."""
    if kind in ("mae", "mse"):
        each = (scores - targets).abs() if kind == "mae" else (scores - targets) ** 2
    else:
        low, high = scale
        levels = [low] if kind == "bce" else [low + k for k in range(int(high - low))]
        each = 0
        for level in levels:
            above = ((targets - level) / (high - low if kind == "bce" else 1)).clamp(0, 1)
            p = torch.sigmoid(scores if kind == "bce" else 2 * (scores - level - 0.5))
            each = each - (above * p.log() + (1 - above) * (1 - p).log()) / len(levels)
    return (each * weights).sum() / weights.sum()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["mae", "mse", "bce", "ordinal"])
def test_ten_steps_are_those_of_plain_modules(kind, masked):
    """Losses and gradients to 1e-5: float32 sums of a few numbers in another order."""
    stack = [tuple(t.clone().requires_grad_() for t in pair) for pair in new_stack(HEADS, WIDTHS, seed=1)]
    modules = [plain_module([(w[h].detach(), b[h].detach()) for w, b in stack]) for h in range(HEADS)]
    mine = torch.optim.AdamW([t for pair in stack for t in pair], lr=0.05, weight_decay=0.1, fused=True)
    theirs = [torch.optim.AdamW(m.parameters(), lr=0.05, weight_decay=0.1) for m in modules]
    link = {"bce": Link.yes_no(SCALES), "ordinal": Link.ordinal(SCALES)}.get(kind)
    draw = torch.Generator().manual_seed(2)
    for _ in range(10):
        x = torch.randn(ROWS, WIDTHS[0], generator=draw)
        low, high = (torch.tensor(SCALES[:, i : i + 1], dtype=torch.float32) for i in (0, 1))
        targets = low + (high - low) * torch.rand(HEADS, ROWS, generator=draw)
        weights = torch.rand(HEADS, ROWS, generator=draw) * (torch.rand(HEADS, ROWS, generator=draw) > 0.3)
        masks = draw_masks(stack, ROWS, 0.2, draw) if masked else []
        mine.zero_grad()
        losses = head_losses(kind, forward(stack, x, masks), targets, weights, np.arange(HEADS), link)
        losses.sum().backward()
        for h, (module, optimiser) in enumerate(zip(modules, theirs, strict=True)):
            optimiser.zero_grad()
            y = x
            for i, step in enumerate(module):
                y = step(y)
                if masked and isinstance(step, torch.nn.ReLU):
                    y = y * masks[i // 2][h]
            loss = plain_loss(kind, y[:, 0], targets[h], weights[h], SCALES[h])
            loss.backward()
            assert losses[h].item() == pytest.approx(loss.item(), abs=1e-5)
            for (weight, bias), linear in zip(stack, module[::2], strict=True):
                assert torch.allclose(weight.grad[h], linear.weight.grad, atol=1e-5)
                assert torch.allclose(bias.grad[h], linear.bias.grad, atol=1e-5)
            optimiser.step()
        mine.step()


def test_dropout_drops_its_share_and_keeps_the_mean():
    stack = new_stack(4, (3, 500, 1), seed=0)
    (mask,) = draw_masks(stack, 100, 0.2, torch.Generator().manual_seed(0))
    assert mask.shape == (4, 100, 500)
    assert mask.unique().tolist() == pytest.approx([0.0, 1.25], rel=1e-4)
    # 200,000 draws: a deviation of the share of 0.0009
    assert (mask == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert draw_masks(stack, 100, 0.0, torch.Generator()) == []


def test_standardising_is_folded_into_the_layers():
    rng = np.random.default_rng(0)
    standard = Standard(rng.normal(size=7), 3.5, rng.normal(size=HEADS), rng.uniform(0.5, 2, HEADS))
    stack = new_stack(HEADS, WIDTHS, seed=3)
    x = rng.normal(size=(ROWS, 7)).astype(np.float32)
    heads = to_layers(stack, ["a", "b", "c"], standard)
    inner = forward(stack, torch.from_numpy(((x - standard.centre) * standard.gain).astype(np.float32))).numpy().T
    expected = inner * standard.spread + standard.shift
    np.testing.assert_allclose(scores_of(heads, x), expected, atol=1e-5)  # of numbers about 1, in float32
    for h, (name, layers) in enumerate(heads.items()):
        with torch.no_grad():
            plain = plain_module(layers)(torch.from_numpy(x))[:, 0].numpy()
        np.testing.assert_allclose(plain, expected[:, h], atol=1e-5, err_msg=name)
    again = from_layers(list(heads.values()), standard)
    for pair, other in zip(stack, again, strict=True):
        for a, b in zip(pair, other, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)


def test_heads_that_go_on_with_yes_and_no_keep_their_scale():
    """Shares made of scores by a known line give that line back; beside few data, its penalty of 0.001 moves it."""
    scores = np.random.default_rng(0).uniform(0, 7, size=(4000, 1))
    share = 1 / (1 + np.exp(-1.5 * (scores - 2.5)))
    link = Link.yes_no(np.array([[0.0, 1.0]])).fitted(scores, share, np.ones_like(share))
    assert link.slope[0] == pytest.approx(1.5, rel=0.05)
    assert link.thresholds[0, 0] == pytest.approx(2.5, abs=0.1)
    shifted = link.standardised(Standard(np.zeros(1), 1.0, np.array([3.0]), np.array([2.0])))
    assert shifted.slope[0] * ((5 - 3) / 2 - shifted.thresholds[0, 0]) == pytest.approx(
        link.slope[0] * (5 - link.thresholds[0, 0])
    )


def test_a_link_never_turns_a_score_round():
    scores = np.linspace(0, 7, 50)[:, None]
    link = Link.yes_no(np.array([[0.0, 1.0]])).fitted(scores, (scores < 3).astype(float), np.ones_like(scores))
    assert link.slope[0] > 0
    assert math.isfinite(link.thresholds[0, 0])
