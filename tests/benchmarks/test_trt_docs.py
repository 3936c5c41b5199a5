"""docs/tensorrt.md says what benchmarks/trt/graph.py measured."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_the_results():
    pytest.importorskip("torch", reason="the script measures PyTorch too (extra reference)")
    script = runpy.run_path(str(ROOT / "benchmarks" / "trt" / "graph.py"))
    doc = json.loads((ROOT / "benchmarks" / "results" / "trt-graph.json").read_text())
    text = (ROOT / "docs" / "tensorrt.md").read_text("utf-8")
    assert script["documented"](text, doc) == text
