"""The harness of benchmarks/suites: nothing unequal is timed, sides take turns, baselines run alone."""

import json
import runpy
import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch (extra reference) is not installed")
pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")

import torch

from benchmarks import fairness
from benchmarks.harness import Case, NotHereError, Pace, Replay, run_case
from benchmarks.scaling import fit
from benchmarks.timer import compare
from emonet_fast.backends.base import Outputs

from ..pictures import encoded, photographs

CPU, PACE = torch.device("cpu"), Pace(rounds=3, shortest=0.0, seconds=0.0)


def case(sides, **options):
    made = {"check": 2, "judge": lambda outputs: fairness.values(outputs, 0.5, "values"), **options}
    return Case("group", lambda: [np.arange(4.0), np.ones(4), np.zeros(4)], sides, **made)


def test_a_side_that_computes_something_else_is_not_timed():
    found = run_case(case({"base": lambda: np.cumsum, "ours": lambda: lambda x: np.cumsum(x) + 1}), CPU, PACE, {})
    assert found["base"].times is not None
    assert found["ours"].times is None
    assert found["ours"].failed == "values: 1 off, more than 0.5"


def test_a_side_of_another_shape_is_not_timed():
    found = run_case(case({"base": lambda: np.cumsum, "ours": lambda: lambda x: x[:2]}), CPU, PACE, {})
    assert "another shape" in found["ours"].failed


def test_sides_take_turns_on_rotating_inputs_and_are_divided_by_the_baseline():
    seen = []

    def side(name):
        def run(x):
            seen.append((name, float(x.sum())))
            return x

        return lambda: run

    found = run_case(case({"base": side("a"), "ours": side("b")}), CPU, PACE, {})
    timed = seen[4:]  # two checked inputs a side before
    assert [name for name, _ in timed] == ["a", "b"] + ["a", "b"] * 3  # warmed up, then three rounds
    assert [total for name, total in timed if name == "b"] == [6.0, 4.0, 0.0, 6.0]
    assert len(found["ours"].times.seconds) == 3
    assert found["base"].info["ratio"]["value"] == 1.0
    assert found["base"].info["baseline"]
    assert not found["ours"].info["baseline"]


def test_a_side_that_cannot_run_says_why_and_the_others_run():
    def missing():
        raise NotHereError("no GPU here")

    def broken():
        raise OSError("disk full")

    found = run_case(case({"base": lambda: np.cumsum, "gpu": missing, "bad": broken}), CPU, PACE, {})
    assert (found["gpu"].missing, found["bad"].failed) == ("no GPU here", "OSError: disk full")
    assert found["base"].times is not None
    without = run_case(case({"base": missing, "ours": lambda: np.cumsum}), CPU, PACE, {})
    assert "no baseline" in without["ours"].failed


def test_shares_of_the_ceiling():
    one = case({"base": lambda: np.cumsum}, flop=1e6, images=4, precisions={"base": "fp32"})
    info = run_case(one, CPU, PACE, {"fp32": 1e12})["base"].info
    assert info["tflops"] == pytest.approx(info["share_of_gemm"], rel=0.05, abs=1e-4)
    assert info["images_per_second"] > 0


def test_pytest_benchmark_reads_the_times_that_were_taken():
    timer = Replay()
    timer.load([0.5, 0.25])
    assert [-(timer() - timer()) for _ in range(2)] == [0.5, 0.25]


def test_scores_are_held_to_the_bars():
    """float32 to 1e-3; our bf16 to twice the error of PyTorch's."""
    rng = np.random.default_rng(0)
    names = ("amusement", "elation", "pain")
    embedding, raw = rng.normal(size=(8, 16)), rng.normal(size=(8, 3))

    def off(error):
        return [Outputs(np.float32(embedding + error / 50), np.float32(raw + error * np.sign(raw)))]

    outputs = {
        "base": off(0),
        "close": off(5e-4),
        "far": off(5e-3),
        "torch": off(0.02),
        "good": off(0.03),
        "bad": off(0.05),
    }
    precisions = {
        "base": "fp32",
        "close": "fp32",
        "far": "fp32",
        "torch": fairness.TORCH_BF16,
        "good": "bf16",
        "bad": "bf16",
    }
    found = fairness.scores(outputs, precisions, names)
    passed = {side: verdict.gate.passed for side, verdict in found.items()}
    assert passed == {"base": True, "close": True, "far": False, "torch": True, "good": True, "bad": False}
    assert found["good"].figures["unproved"], "too few pictures for ranks, and it says so"


class Ticks:
    """A clock that counts its marks, and a contestant's calls as a tenth of a second each."""

    def __init__(self):
        self.calls = 0

    def lead(self):
        pass

    def mark(self):
        return self.calls

    def seconds(self, begin, end):
        return (end - begin) / 10


def test_a_turn_is_repeated_until_it_is_long_enough():
    clock = Ticks()

    def call():
        clock.calls += 1

    (times,) = compare({"a": [call]}, CPU, rounds=2, warmup=1, clock=clock, shortest=0.45).values()
    assert clock.calls == 1 + 1 + 2 * 5, "warmed up, measured once, then two turns of five calls"
    assert times.seconds == (0.1, 0.1), "of one call"


def test_a_case_goes_on_for_its_seconds_but_not_for_ever():
    (times,) = compare({"a": [lambda: None]}, CPU, rounds=3, warmup=1, seconds=60.0).values()
    assert len(times.seconds) == 30


@pytest.mark.parametrize(("a", "b"), [(2.0, 3.0), (0.0, 1.5), (4.0, 0.0)])
def test_fit_finds_the_line(a, b):
    found = fit([1, 10, 100, 1000], [a + b * x for x in (1, 10, 100, 1000)])
    assert (found["a"], found["b"]) == (pytest.approx(a, abs=1e-6), pytest.approx(b, abs=1e-6))
    assert found["worst"] < 1e-6


def test_the_baselines_run_alone_and_agree(tiny_folder, tmp_path, monkeypatch, capsys):
    """Each as its file's head says; ONNX Runtime and `published` compute the same scores."""
    pytest.importorskip("onnxruntime", reason="onnxruntime (extra bench) is not installed")
    pytest.importorskip("skimage", reason="scikit-image (extra demo) is not installed")
    picture = tmp_path / "a.png"
    picture.write_bytes(encoded(photographs()[0], "PNG"))
    raw = {}
    for name in ("published", "onnx_runtime"):
        monkeypatch.setattr(sys, "argv", [name, str(picture), "--checkpoint", str(tiny_folder), "--json"])
        runpy.run_module(f"benchmarks.baselines.{name}", run_name="__main__")
        figures = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert figures["seconds_an_image"] > 0
        raw[name] = np.asarray(figures["raw"])
    assert np.abs(raw["published"] - raw["onnx_runtime"]).max() < 1e-3
