"""Training: it learns, heads end by themselves, a run goes on where it stopped, one seed gives the same heads."""

import numpy as np
import pytest

from emonet_fast.errors import CheckpointError, DataError, OptionError
from emonet_fast.evaluate.metrics import spearman
from emonet_fast.training import LAYOUTS, Examples, Training, train
from emonet_fast.training.stack import scores_of

torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
WIDTH, ROWS = 12, 400


pytestmark = pytest.mark.usefixtures("one_thread")


def examples(heads=3, noise=0.2, seed=0, scale=(0.0, 7.0)):
    """Rows whose labels follow a curve of one direction, on the scale; the last quarter stops heads."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    answers = 1 / (1 + np.exp(-3 * values @ rng.normal(size=(WIDTH, heads))))
    low, high = scale
    labels = low + (high - low) * np.clip(answers + noise * rng.normal(size=answers.shape), 0, 1)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    weights = rng.uniform(0.5, 1.5, labels.shape).astype(np.float32)
    names = tuple(f"h{i}" for i in range(heads))
    rows = np.arange(ROWS)
    return Examples(
        values, labels.astype(np.float32), weights, names, (scale,) * heads, rows[:300], rows[300:]
    ), answers


def same(a, b):
    return all(
        x.tobytes() == y.tobytes()
        for name in a
        for one, other in zip(a[name], b[name], strict=True)
        for x, y in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("loss", "scale"), [("mae", (-3, 3)), ("mse", (0, 7)), ("bce", (0, 1)), ("ordinal", (0, 7))])
def test_every_loss_learns_the_order_and_the_scale(loss, scale):
    data, answers = examples(scale=tuple(map(float, scale)))
    done = train(data, Training(loss=loss, layout="linear", precision="fp32"))
    scores = scores_of(done.heads, data.values[300:])
    for h in range(3):
        assert spearman(scores[:, h].astype(float), answers[300:, h]) > 0.9
    if loss != "bce":  # whose scores are log-odds
        spread = scale[1] - scale[0]
        assert np.abs(scores - (scale[0] + spread * answers[300:])).mean() < 0.15 * spread
    losses = np.nanmin(done.stopping, axis=0)
    assert (losses < done.stopping[0]).all()


def test_a_head_keeps_its_best_epoch_and_leaves_when_it_gets_no_better():
    data, _ = examples(noise=2.0)  # nothing to learn for long
    done = train(data, Training(layout="small", epochs=30, patience=2, learning_rate=0.02))
    for h, name in enumerate(data.names):
        curve = done.stopping[:, h]
        ended = int((~np.isnan(curve)).sum())
        assert done.best[name] == int(np.nanargmin(curve)) + 1
        assert ended == min(done.best[name] + 2, len(curve))
        known = ~np.isnan(data.targets[data.stopping, h])
        rows = data.stopping[known]
        errors = np.abs(scores_of(done.heads, data.values[rows])[:, h] - data.targets[rows, h])
        # The written layers are those of that epoch: float32 sums of numbers about 3
        assert np.average(errors, weights=data.weights[rows, h]) == pytest.approx(np.nanmin(curve), abs=1e-4)
    assert len(done.stopping) < 30


class Stop(KeyboardInterrupt):
    pass


def test_a_stopped_run_goes_on_and_gives_the_same_heads(tmp_path):
    data, _ = examples(noise=0.5)
    how, state = Training(epochs=6, patience=2, seed=5), tmp_path / "state"
    whole = train(data, how)
    seen = []

    def stop(done, total, words):
        seen.append(done)
        if done == total // 2 + 1:
            raise Stop

    with pytest.raises(Stop):
        train(data, how, state=state, step=stop)
    first = len(seen)
    went_on = train(data, how, state=state, step=lambda done, *_: seen.append(done))
    assert seen[first] > 1  # not from the beginning
    assert same(whole.heads, went_on.heads)
    np.testing.assert_array_equal(whole.stopping, went_on.stopping)
    assert same(whole.heads, train(data, how, state=state).heads)  # of a run that is at its end
    assert not same(whole.heads, train(data, Training(epochs=6, patience=2, seed=6)).heads)


def test_a_state_of_other_data_or_settings_is_refused(tmp_path):
    data, _ = examples()
    state = tmp_path / "state"
    train(data, Training(epochs=1), state=state)
    with pytest.raises(OptionError, match=r"another training: seed \(0 then, 1 now\)"):
        train(data, Training(epochs=1, seed=1), state=state)
    with pytest.raises(OptionError, match="another training: data"):
        train(examples(seed=1)[0], Training(epochs=1), state=state)
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        train(data, Training(epochs=1), state=state)


def test_heads_go_on_from_others():
    data, _ = examples()
    before = train(data, Training(epochs=8))
    init = [before.heads[name] for name in data.names]
    on = train(data, Training(epochs=1, learning_rate=1e-9), init=init)  # a step of nothing
    np.testing.assert_allclose(
        scores_of(on.heads, data.values), scores_of(before.heads, data.values), atol=1e-4
    )  # folded and unfolded in float32
    worse = train(data, Training(epochs=3, learning_rate=10.0), init=init)
    assert set(worse.best.values()) == {0}
    np.testing.assert_allclose(scores_of(worse.heads, data.values), scores_of(before.heads, data.values), atol=1e-4)
    with pytest.raises(OptionError, match="have widths 12-128-32-1; expected 12-1"):
        train(data, Training(layout="linear"), init=init)


def test_yes_and_no_move_heads_within_their_scale():
    """Heads of 0..7 that learn shares stay there: their scores tell yes from no, and are no log-odds."""
    data, answers = examples()
    before = train(data, Training(epochs=12))
    shares = Examples(
        data.values, (answers > 0.5).astype(np.float32), np.ones_like(data.weights), data.names, ((0.0, 1.0),) * 3,
        data.training, data.stopping,
    )  # fmt: skip
    after = train(shares, Training(loss="bce", epochs=5), init=[before.heads[name] for name in data.names])
    was, now = scores_of(before.heads, data.values[300:]), scores_of(after.heads, data.values[300:])
    assert np.abs(was - now).mean() < 1.0
    assert 2.5 < now.mean() < 4.5


def changed(**fields):
    data, _ = examples()
    values = {name: getattr(data, name).copy() for name in ("values", "targets", "weights")}
    for name, change in fields.items():
        change(values[name])
    return Examples(**values, names=data.names, scales=data.scales, training=data.training, stopping=data.stopping)


EVERY = slice(None)
BAD = {
    "no label in a part": (changed(targets=lambda t: t.__setitem__((slice(300, None), 1), np.nan)), "h1 has no label"),
    "no weight": (changed(weights=lambda w: w.__setitem__((EVERY, 2), 0)), "h2 has no labels in the part to learn"),
    "one label": (changed(targets=lambda t: t.__setitem__((slice(None), 0), 1)), "h0 has one and the same label"),
    "outside": (changed(targets=lambda t: t.__setitem__((5, 0), 9)), "h0 has labels outside their scale"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_what_cannot_be_learnt_is_refused(case):
    data, text = BAD[case]
    with pytest.raises(DataError, match=text):
        train(data, Training(loss="ordinal"))


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"layout": "huge"}, "layout is 'huge'; expected one of small, large, linear"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_settings_that_cannot_work(setting, text):
    with pytest.raises(OptionError, match=text):
        Training(**setting)


def test_what_is_chosen_for_so_many_rows():
    assert [Training().batch_of(n) for n in (10, 1_000, 18_000, 180_000)] == [10, 16, 256, 1024]
    assert [Training().epochs_of(n) for n in (1_000, 18_000, 180_000)] == [20, 17, 12]
    assert {name: (layout.hidden, layout.dropout) for name, layout in LAYOUTS.items()} == {
        "small": ((128, 32), 0.1),  # as published
        "large": ((1024, 512, 256), 0.2),
        "linear": ((), 0.0),
    }
