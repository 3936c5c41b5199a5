"""pytest-benchmark's side of the suites: a real run of the cheapest one, and what its file says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .alone import alone

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark (extra bench) is not installed")
pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")

from benchmarks import compare

ROOT = Path(__file__).parents[2]
SUITE = "benchmarks/suites/test_scores.py"


def suites(*arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=alone())


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("suites")
    done = suites(SUITE, "--small", tiny_folder, "--quick", "--rounds", 3, f"--benchmark-json={folder / 'out.json'}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out.json"


def test_every_side_is_a_benchmark_with_its_ratio(results):
    found = json.loads(results.read_text("utf-8"))
    sides = {one["extra_info"]["side"]: one for one in found["benchmarks"]}
    assert set(sides) == {"dict a picture", "Scores"}
    for one in sides.values():
        assert one["group"] == "scores: 1000 rows"
        assert len(one["stats"]["data"]) >= 3
        assert one["stats"]["median"] * 1e3 == pytest.approx(one["extra_info"]["ms"]["median"], rel=1e-3)
        assert one["extra_info"]["fidelity"]["max_error"] <= 1e-12
    assert sides["dict a picture"]["extra_info"]["baseline"]


def test_what_starts_processes_is_not_tracked(tiny_folder):
    listed = suites("benchmarks/suites", "--small", tiny_folder, "--track", "--collect-only")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    # A suite without cases is listed as one test that pytest skips: NOTSET.
    tests = [line for line in listed.stdout.splitlines() if "::" in line and "NOTSET" not in line]
    tracked = {line.partition(".py")[0].rpartition("/")[2] for line in tests}
    every = {path.stem for path in (ROOT / "benchmarks" / "suites").glob("test_*.py")}
    assert every - tracked == {"test_bulk", "test_start"}


def test_a_run_says_where_it_was_made_but_not_on_which_machine(results):
    found = json.loads(results.read_text("utf-8"))
    machine = found["machine_info"]
    assert machine["device"] == "cpu"
    assert machine["gemm_tflops"].keys() == {"fp32", "bf16"}
    assert machine["emonet_fast"]["machine"]["cores"] >= 1
    assert machine["packages"]["pytest-benchmark"]
    assert found["commit_info"]["id"]
    text = results.read_text("utf-8")
    assert "node" not in machine
    assert str(ROOT) not in text


def test_a_run_compared_with_itself_is_the_same(results):
    assert compare.main([str(results), str(results)]) == 0
