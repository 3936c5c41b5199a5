"""benchmarks/compare.py and ratios.py: what is a loss, on made-up rounds whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="PyTorch (extra reference) is not installed")

from benchmarks import compare
from benchmarks.ratios import ratio

from .alone import alone

SECONDS = st.floats(1e-6, 1e3)
ROUNDS = st.lists(SECONDS, min_size=1, max_size=30)


def entry(name, seconds, *, group="g", baseline=False, turns=None, side=None):
    info = {"baseline": baseline} | ({"turns": turns} if turns else {}) | ({"side": side} if side else {})
    return {
        "name": name,
        "fullname": f"file.py::{name}",
        "group": group,
        "param": None,
        "extra_info": info,
        "stats": {"data": list(seconds)},
    }


def run(factor, *, noise=0.0, seed=0, speed=1.0, rounds=15, turns="t"):
    """A run whose `ours` is `factor` times as fast as its baseline, on a machine of this speed."""
    rng = np.random.default_rng(seed)
    drift = speed * np.exp(noise * rng.normal(size=rounds))
    return {
        "benchmarks": [
            entry("base", drift * 2.0, baseline=True, turns=turns),
            entry("ours", drift * 2.0 / factor, turns=turns),
        ]
    }


def written(folder: Path, name: str, made) -> Path:
    path = folder / name
    path.write_text(json.dumps(made))
    return path


def verdict(old, new, **options):
    (one,) = compare.changes(compare.measured(old), compare.measured(new), **options)
    return one


# -- ratios --------------------------------------------------------------------------------------------------------


@given(ROUNDS, st.floats(0.01, 100))
def test_a_ratio_of_paired_rounds_is_what_every_round_says(seconds, factor):
    found = ratio([s * factor for s in seconds], seconds, paired=True)
    assert found.value == pytest.approx(factor)
    assert (found.low, found.high) == (pytest.approx(factor), pytest.approx(factor))


@settings(max_examples=30)
@given(ROUNDS, ROUNDS, st.floats(0.01, 100))
def test_a_ratio_does_not_know_the_machines_speed(baseline, own, speed):
    slow = ratio([s * speed for s in baseline], [s * speed for s in own], paired=False)
    same = ratio(baseline, own, paired=False)
    assert slow.value == pytest.approx(same.value)
    assert (slow.low, slow.high) == (pytest.approx(same.low), pytest.approx(same.high))


@given(st.floats(0.1, 10), st.integers(0, 11), st.floats(1, 1e3))
def test_what_disturbs_some_rounds_does_not_move_the_quiet_ones(factor, disturbed, slower):
    """Rounds of one time each: eleven of sixteen may be disturbed, by however much."""
    base, own = [1.0] * 16, [1.0 / factor] * 16
    for i in range(disturbed):
        own[i] *= slower
    assert ratio(base, own, paired=True, quantile=0.25).value == pytest.approx(factor)


@settings(max_examples=30)
@given(ROUNDS, ROUNDS)
def test_the_interval_lies_within_what_the_rounds_allow(baseline, own):
    found = ratio(baseline, own, paired=False)
    assert min(baseline) / max(own) <= found.low * (1 + 1e-9)
    assert found.low <= found.high
    assert found.high <= max(baseline) / min(own) * (1 + 1e-9)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        base = np.exp(rng.normal(0, 0.1, 15))
        found = ratio(base * 2.0, np.exp(rng.normal(0, 0.1, 15)), paired=False)
        inside += found.low <= 2.0 <= found.high
    assert inside >= 180


@pytest.mark.parametrize("bad", [([], [1.0]), ([1.0], []), ([1.0], [0.0]), ([1.0], [float("nan")])])
def test_rounds_without_time_are_refused(bad):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        ratio(*bad, paired=False)
    with pytest.raises(ValueError, match="as many on both sides"):
        ratio([1.0, 1.0], [1.0], paired=True)


# -- verdicts ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.floats(0.01, 100.0))
def test_without_noise_a_loss_is_a_loss_on_any_machine(before, after, speed):
    found = verdict(run(before), run(after, speed=speed))
    assert found.value == pytest.approx(after / before)
    if abs(after / before - 0.9) > 1e-6:
        assert (found.verdict == "worse") == (after / before < 0.9)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.0, 0.5))
def test_noise_that_meets_both_sides_is_no_loss(seed, noise):
    """In turns, drift cancels; nothing became slower."""
    assert verdict(run(2.0, noise=noise, seed=seed), run(2.0, noise=noise, seed=seed + 1)).verdict == "same"


def test_a_loss_within_the_noise_is_unclear():
    rng = np.random.default_rng(4)
    noisy = [{"benchmarks": [entry("base", np.exp(rng.normal(0, 1, 5)), baseline=True), entry("ours", s)]}
             for s in (np.exp(rng.normal(0, 1, 5)), np.exp(rng.normal(0.3, 1, 5)))]  # fmt: skip
    found = verdict(*noisy)
    assert found.value < 0.9
    assert found.verdict == "unclear"


def test_exit_status(tmp_path, capsys):
    old = written(tmp_path, "old.json", run(2.0))
    same = written(tmp_path, "same.json", run(2.0, speed=7.0, noise=0.2))
    worse = written(tmp_path, "worse.json", run(1.7))
    assert compare.main([str(old), str(same)]) == 0
    assert compare.main([str(old), str(worse)]) == 1
    assert "| worse |" in capsys.readouterr().out
    assert compare.main([str(old), str(worse), "--loss", "0.2"]) == 0
    assert compare.main([str(worse), str(old)]) == 0, "better is no fault"


def test_what_vanished_is_a_loss(tmp_path, capsys):
    both = run(2.0)
    both["benchmarks"].append(entry("gone", [1.0, 1.0]))
    assert compare.main([str(written(tmp_path, "a", both)), str(written(tmp_path, "b", run(2.0)))]) == 1
    assert "vanished: g | gone" in capsys.readouterr().out


def test_somebody_elses_file_with_a_named_baseline(tmp_path, capsys):
    def plain(factor):
        sides = {"list": [1.0] * 5, "numpy": [1 / factor] * 7}
        return {
            "benchmarks": [
                {**entry(f"test_sort[{side}]", seconds), "extra_info": {}, "param": side}
                for side, seconds in sides.items()
            ]
        }

    old, new = written(tmp_path, "old", plain(3.0)), written(tmp_path, "new", plain(2.0))
    assert compare.main([str(old), str(new)]) == 2, "nothing says which is the baseline"
    assert "--baseline" in capsys.readouterr().err
    for name in ("test_sort[list]", "list"):
        assert compare.main([str(old), str(new), "--baseline", name]) == 1
    ratios = tmp_path / "ratios.json"
    compare.main([str(old), str(new), "--baseline", "list", "--ratios", str(ratios)])
    (tracked,) = json.loads(ratios.read_text())
    assert tracked["name"] == "g | test_sort[numpy]"
    assert tracked["value"] == 2.0


def test_real_files_of_pytest_benchmark(pytester_run):
    """Written by pytest-benchmark itself from plain benchmarks, not by our suites."""
    assert len(compare.measured(pytester_run)) == 1
    assert compare.changes(compare.measured(pytester_run), compare.measured(pytester_run))[0].value == 1.0


@pytest.fixture
def pytester_run(tmp_path):
    import subprocess
    import sys

    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark (extra bench) is not installed")
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('side', ['list', 'sum'])\n"
        "@pytest.mark.benchmark(group='mine')\n"
        "def test_it(benchmark, side):\n"
        "    benchmark.extra_info['baseline'] = side == 'list'\n"
        "    benchmark.pedantic(sum if side == 'sum' else list, args=(range(1000),), rounds=5)\n"
    )
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), f"--benchmark-json={out}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=alone())
    assert done.returncode == 0, done.stdout + done.stderr
    return compare.read(out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no file of pytest-benchmark"),
        ("[1]", "no file of pytest-benchmark"),
        ('{"benchmarks": [{"name": "x"}]}', "no file of pytest-benchmark"),
        ('{"benchmarks": [{"name": "x", "stats": {"mean": 1}}]}', "has no rounds"),
        (None, "No such file"),
    ],
)
def test_bad_files_are_named(tmp_path, capsys, text, said):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    assert compare.main([str(path), str(path)]) == 2
    assert said in capsys.readouterr().err


def test_a_side_that_names_another_is_divided_by_that():
    """And only by that: what it names may be missing, and what names nobody is left out."""
    made = [
        entry("base", [8.0], baseline=True, side="base"),
        entry("alike", [4.0], side="alike"),
        entry("ours", [2.0], side="ours"),
        entry("lost", [2.0], side="lost"),
    ]
    for one, beside in zip(made[1:], ("", "alike", "nobody"), strict=True):
        one["extra_info"]["beside"] = beside
    found = compare.measured({"benchmarks": made})
    assert {key: one.ratio.value for key, one in found.items()} == {"g | ours": 2.0}
    named = compare.measured({"benchmarks": made}, baseline="base")
    assert {key: one.ratio.value for key, one in named.items()} == {"g | alike": 2.0, "g | ours": 4.0, "g | lost": 4.0}


def test_two_baselines_are_refused():
    with pytest.raises(compare.InputError, match="2 baselines: a, b"):
        compare.measured({"benchmarks": [entry("a", [1.0], baseline=True), entry("b", [1.0], baseline=True)]})
