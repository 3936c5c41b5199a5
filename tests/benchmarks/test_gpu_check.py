"""`make gpu-check` on CPU tensors: every part runs, without packages that may be missing; a failure loses one part."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")
pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")

from benchmarks import timer  # noqa: E402
from benchmarks.gpu import check, install, outside, table  # noqa: E402

ROOT = Path(__file__).parents[2]
PARTS = ("facts", "tests", "checkpoint", *(part.name for part in check.PARTS))
# transformers needs huggingface_hub and tqdm itself; our own modules must not.
MISSING = ("PIL", "hypothesis", "click", "openvino", "onnx", "pyarrow", "jinja2")
MISSING_TOO = (*MISSING, "tqdm", "huggingface_hub", "transformers")


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """(results, Markdown) of one dry run in a process where packages are missing."""
    folder = tmp_path_factory.mktemp("gpu-check")
    code = (
        f"import sys, runpy\nfor name in {MISSING!r}: sys.modules[name] = None\n"
        f"sys.argv = ['check', '--dry', '--results', {str(folder)!r}, '--tests', 'tests/test_taxonomy.py']\n"
        f"runpy.run_module('benchmarks.gpu.check', run_name='__main__')"
    )
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # more only wait for each other over so small tensors
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=one_thread
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("gpu-*.json")
    return json.loads(path.read_text("utf-8")), path.with_suffix(".md").read_text("utf-8")


def numbers(value):
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_every_part_ran(dry):
    doc, _ = dry
    assert list(doc["parts"]) == list(PARTS)
    for name, part in doc["parts"].items():
        assert part["status"] == "ok", (name, part)
        assert all(math.isfinite(n) for n in numbers(part)), name
    assert doc["parts"]["tests"]["passed"] > 5
    assert doc["dry"]


def test_every_figure_is_there(dry):
    doc, _ = dry
    rows = [row for part in doc["parts"].values() for row in part.get("rows", [])]
    assert not [row for row in rows if "failed" in row]
    assert not [row for row in rows if row.get("wrong")]
    assert all(row["ms"]["q1"] <= row["ms"]["median"] <= row["ms"]["q3"] for row in rows)
    whats = {row["what"].split(",")[0] for row in rows}
    assert {"heads", "LayerNorm + residual", "bias + GELU", "quantise", "patches", "resize", "device copy"} <= whats
    assert {
        "attention",
        "fc1 + GELU",
        "backbone + heads",
        "baselines",
        "torch.compile",
    } <= whats
    assert set(doc["parts"]["backbone"]["latency"]) == {
        f"{precision}, attention {by}" for precision in ("bf16", "fp8") for by in ("sdpa", "triton")
    }
    assert set(doc["parts"]["accuracy"]) >= {"torch_bf16", "fp32", "bf16", "fp8"}
    fp8 = doc["parts"]["accuracy"]["fp8"]
    assert "uncertified" not in fp8
    assert "failed" not in fp8
    assert fp8["certificate"]["passed"]
    assert doc["parts"]["compiled"]["factors"]


def test_markdown_has_the_rows(dry):
    doc, text = dry
    assert "Dry run" in text
    assert all(bar.what in text for bar in table.BARS)
    assert all(f"\n| {name} | ok |" in text for name in PARTS)
    assert text.count("| quantise, fp8 out |") == 2
    assert str(ROOT) not in text + json.dumps(doc), "paths of this machine are nobody's business"


def test_our_modules_need_no_package_that_may_be_missing():
    modules = [p.stem for p in (ROOT / "benchmarks" / "gpu").glob("*.py")]
    code = (
        f"import sys\nfor name in {MISSING_TOO!r}: sys.modules[name] = None\n"
        "import importlib\n"
        f"for name in {modules!r}: importlib.import_module('benchmarks.gpu.' + name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def parts_with_a_fault():
    def broken(context):
        raise RuntimeError(f"no luck in {ROOT}/somewhere/file.py")

    return (
        check.Part("first", lambda context: {"rows": [], "value": 1.5}, 0, model=False),
        check.Part("broken", broken, 0, model=False),
        check.Part("last", lambda context: {"seen": sorted(context.found), "bad": float("nan")}, 0, model=False),
        check.Part("modelled", lambda context: {}, 0),
    )


def test_one_failure_loses_one_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outside, "tiny", lambda folder: None)  # no checkpoint either
    arguments = ["--dry", "--results", str(tmp_path), "--tests"]
    assert check.main(arguments, parts_with_a_fault()) == 1
    (path,) = tmp_path.glob("*.json")
    parts = json.loads(path.read_text("utf-8"))["parts"]
    found = {name: part["status"] for name, part in parts.items()}
    assert found == {
        "facts": "ok", "checkpoint": "failed", "first": "ok", "broken": "failed", "last": "ok", "modelled": "skipped",
    }  # fmt: skip
    assert parts["broken"]["error"] == "RuntimeError: no luck in .../file.py"
    assert parts["broken"]["where"][-1].startswith("test_gpu_check.py:")
    assert parts["last"]["seen"] == ["broken", "checkpoint", "facts", "first"]
    assert parts["last"]["bad"] == "nan"
    assert parts["modelled"]["note"] == "there is no checkpoint"
    assert "| broken | failed |" in path.with_suffix(".md").read_text("utf-8")
    check.main(arguments, parts_with_a_fault()[:1])
    assert len(list(tmp_path.glob("*.json"))) == 2, "no run overwrites another"


def test_budget_skips_with_a_note(tmp_path):
    asked = check.options(["--device", "cuda", "--budget", "0", "--results", str(tmp_path)])
    run = check.Run(asked, check.Context(torch.device("cpu"), False, tmp_path), 0.0)
    assert "of the budget left, 15 needed" in run.skipped(check.PARTS[0])


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", {"value": 7}),
        ("time.sleep(60)", {"value": 7, "note": "stopped after 3 s"}),
        ("sys.exit(3)", {"value": 7, "status": "failed", "error": "exit status 3", "tail": ["said"]}),
    ],
    ids=["ends", "runs too long", "fails"],
)
def test_a_part_of_its_own_keeps_what_it_had(tmp_path, monkeypatch, rest, expected):
    script = tmp_path / "part.py"
    code = "import json, sys, time\nprint('said')\nat = sys.argv.index\nout = sys.argv[at('--out') + 1]\n"
    code += "found = json.load(open(sys.argv[at('--found') + 1]))\nassert sys.argv[at('--packed') + 1] == 'packed'\n"
    script.write_text(f"{code}json.dump({{'value': found['facts']}}, open(out, 'w'))\nsys.stdout.flush()\n{rest}\n")
    monkeypatch.setattr(outside, "CHECK", (str(script),))
    checkpoint = SimpleNamespace(path="packed")
    context = check.Context(torch.device("cpu"), False, tmp_path / "cache", checkpoint)
    assert outside.part_alone(["--part", "some"], context, {"facts": 7}, 3 if "sleep" in rest else 60) == expected


def test_pytest_is_counted(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # else the names in the log depend on where the checkout lies
    (tmp_path / "test_it.py").write_text("import nowhere\n")
    (tmp_path / "test_other.py").write_text("def test_a(): pass\ndef test_b(): assert 1 == 2\n")
    (tmp_path / "test_third.py").write_text("raise ModuleNotFoundError(\"No module named 'hypothesis'\")\n")
    environment = dict(os.environ)
    found, _ = outside.pytest([str(tmp_path)], tmp_path, 60)
    assert (found["passed"], found["failures"], found["errors"]) == (1, 1, 1)
    assert found["status"] == "failed"
    assert any("test_b" in text for text in found["bad"])
    assert found["left_out"] == ["test_third (no hypothesis)"]
    assert dict(os.environ) == environment
    (tmp_path / "test_it.py").unlink()
    (tmp_path / "test_other.py").write_text("def test_a(): pass\n")
    found, _ = outside.pytest([str(tmp_path)], tmp_path, 60)
    assert found["status"] == "ok", found


# -- the timer ---------------------------------------------------------------------------------------------------


class FakeClock:
    """Time passes by what the contestants say."""

    def __init__(self):
        self.now, self.leads = 0.0, 0

    def lead(self):
        self.leads += 1

    def mark(self):
        return self.now

    def seconds(self, begin, end):
        return end - begin


def test_turns_alternate_and_are_divided_by_their_calls():
    clock, order = FakeClock(), []

    def call(name, seconds):
        def run():
            order.append(name)
            clock.now += seconds

        return run

    contestants = {"a": [call("a", 1.0), call("a", 3.0)], "b": [call("b", 5.0)]}
    found = timer.compare(contestants, torch.device("cpu"), rounds=3, warmup=1, clock=clock)
    assert order == ["a", "a", "b"] + ["a", "a", "b"] * 3
    assert found["a"].seconds == (2.0, 2.0, 2.0)
    assert found["b"].median == 5.0
    assert clock.leads == 6


def test_medians_and_quartiles():
    np = pytest.importorskip("numpy")
    values = tuple(np.random.default_rng().random(17))
    times = timer.Times(values)
    assert times.median == pytest.approx(np.median(values))
    assert times.quartiles == pytest.approx(tuple(np.quantile(values, [0.25, 0.75])))
    assert times.quantile(0.95) == pytest.approx(np.quantile(values, 0.95))
    assert timer.Times((2.0,)).quartiles == (2.0, 2.0)
    assert times.record()["median"] == pytest.approx(np.median(values) * 1e3, abs=1e-6)


# -- the tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "verdict"), [(1200.0, "goal met"), (1000.0, "met"), (999.0, "missed"), (None, "unmeasured")]
)
def test_verdicts(measured, verdict):
    row = {"side": "bf16, attention sdpa", "shape": "batch 256", "images_per_second": measured}
    assert table.BARS[0].verdict({"backbone": {"rows": [row]}})[1] == verdict
    assert table.BARS[0].verdict({"backbone": {"rows": [row | {"wrong": True}]}})[1] == "unmeasured"
    assert table.BARS[0].verdict({})[1] == "unmeasured"


def test_lower_is_better_for_times_and_errors():
    latency = next(bar for bar in table.BARS if bar.unit == "ms")
    for milliseconds, verdict in ((1.0, "goal met"), (2.5, "met"), (2.6, "missed")):
        parts = {"backbone": {"latency": {"bf16, attention sdpa": {"p50": milliseconds}}}}
        assert latency.verdict(parts)[1] == verdict


def test_scores_that_are_no_numbers_are_shown_and_missed():
    broken = {"cosine_min": "nan", "max_error": "nan", "rms_error": "nan", "spearman_min": "nan", "top1_agreement": 0.0}
    parts = {"accuracy": {"status": "ok", "pictures": 64, "torch_bf16": broken, "fp8": {**broken, "passed": False}}}
    doc = {"date": "2026-01-01", "dry": False, "seconds": 1.0, "parts": parts}
    assert "| fp8 | nan | nan / nan | nan |" in table.markdown(doc)
    bar = next(bar for bar in table.BARS if "Spearman" in bar.what)
    assert bar.verdict(parts)[1] == "missed"


def test_a_part_leaves_time_to_those_after_it(tmp_path, monkeypatch):
    limits = {}
    monkeypatch.setattr(
        outside, "part_alone", lambda options, context, parts, limit: limits.update({options[1]: limit}) or {}
    )
    asked = check.options(["--device", "cuda", "--results", str(tmp_path)])
    context = check.Context(torch.device("cpu"), False, tmp_path, checkpoint=object())
    run = check.Run(asked, context, time.monotonic())
    run.parts["facts"] = {"status": "ok"}
    alone = {part.name: part for part in check.PARTS if part.alone}
    for part in alone.values():
        run.part(part)
    later = sum(part.cost for part in check.PARTS[check.PARTS.index(alone["compiled"]) + 1 :])
    assert limits["compiled"] == pytest.approx(check.BUDGET - 5 - later, abs=5)
    assert limits["memory"] > limits["compiled"]


def test_a_broken_gpu_is_left_to_fresh_processes(tmp_path, monkeypatch):
    """After an illegal access, every CUDA call of that process fails."""
    asked = check.options(["--device", "cuda", "--results", str(tmp_path)])
    run = check.Run(asked, check.Context(torch.device("cpu"), False, tmp_path), time.monotonic())
    run.parts["facts"] = {"status": "ok"}

    def broken():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(run.context, "free", broken)
    monkeypatch.setattr(outside, "part_alone", lambda *_: {"alone": True})
    for name in ("first", "second"):
        run.part(check.Part(name, lambda context: {"alone": False}, 0, model=False))
    assert [run.parts[name]["alone"] for name in ("first", "second")] == [False, True]


@pytest.mark.parametrize(("found", "said"), [("75.8.0", "77 or newer"), ("84.2.1", "")])
def test_an_old_setuptools_is_said_and_gone_around(tmp_path, monkeypatch, capsys, found, said):
    calls = []
    monkeypatch.setattr(install, "version", lambda package: found)
    monkeypatch.setattr(install.subprocess, "run", lambda command, check: calls.append(command))
    monkeypatch.setattr(install.shutil, "rmtree", lambda path, ignore_errors: None)  # build/ is somebody's
    install.install(tmp_path / "site")
    assert said in capsys.readouterr().err
    assert bool(calls) == (not said)
    assert (tmp_path / "site" / "emonet_fast" / "kernels" / "heads.py").exists() == bool(said)


def test_readme_table_without_results():
    assert "Not measured yet" in table.readme_table(None)
