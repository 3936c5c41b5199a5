"""Tables and plots from a run's file: the same bytes every time, and nothing that the file does not say."""

import json
import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")

from benchmarks import bench_tables, scaling_page
from benchmarks.make_tables import page
from benchmarks.plots import plots
from benchmarks.runs import read_run


def benchmark(group, side, seconds, *, baseline=False, **info):
    base = 2.0
    value = base / seconds
    ratio = {"value": value, "low": value * 0.9, "high": value * 1.1, "q1": value, "q3": value}
    ms = {"median": seconds * 1e3, "q1": seconds * 990, "q3": seconds * 1010}
    extra = {
        "side": side,
        "baseline": baseline,
        "images": 1,
        "images_per_second": 1 / seconds,
        "ms": ms,
        "ratio": ratio,
    }
    extra |= {"fidelity": {"max_error": 1e-5}, "heads": "large", "memory": {"added_mb": 350.0}, **info}
    return {"group": group, "extra_info": extra, "stats": {"data": [seconds, seconds * 1.1, seconds * 0.9]}}


@pytest.fixture
def run(tmp_path):
    facts = {"machine": {"cores": 2}, "cpu_engine": {"name": "a processor | of a kind"}}
    memory = {"published": {"peak": 2500.0}, "openvino bf16 warm": {"peak": 1400.0}}
    made = {
        "datetime": "2026-01-02T03:04:05.678",
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "machine_info": {
            "device": "cpu", "emonet_fast": facts, "layers": {"large": 27}, "quick": False,
            "gemm_tflops": {"fp32": 0.25, "bf16": 0.4},
        },
        "benchmarks": [
            benchmark("end to end: large", "published", 2.0, baseline=True),
            benchmark("end to end: large", "openvino bf16", 0.8),
            benchmark("end to end: large", "batched", 1.0),
            benchmark("backbone: large, batch 16", "openvino bf16", 8.0, batch=16, tflops=0.35, share_of_gemm=0.875),
            benchmark("backbone: large, batch 2", "openvino bf16", 1.0, batch=2),
            benchmark("start: large", "published", 2.0, baseline=True, memory_of_the_process_mb=memory),
        ],
    }  # fmt: skip
    path = tmp_path / "bench-cpu-1.json"
    path.write_text(json.dumps(made))
    return read_run(path)


def test_the_readmes_table(run):
    text = bench_tables.readme([run])
    assert "| Large | published | 1.00x (0.90..1.10) | 0.5 | 1.0e-05 | 2.50 GB |" in text
    assert "| Large | openvino bf16 | 2.50x (2.25..2.75) | 1.25 | 1.0e-05 | 1.40 GB |" in text
    assert "| Large | batched | 2.00x (1.80..2.20) | 1 | 1.0e-05 | +0.35 GB |" in text
    assert "27" in text
    assert "0123456789ab" in text


def test_every_benchmark_is_a_row_and_sizes_are_in_order(run):
    text = bench_tables.every(run)
    assert text.index("batch 2 |") < text.index("batch 16 |")
    assert "| 350 (88%) |" in text
    assert text.count("| end to end: large |") == 3
    assert "fp32 250, bf16 400" in text


def test_cost_follows_from_the_rate(run):
    assert "| cpu | large, published | 56 | 0.10 |" in bench_tables.cost([run])


def test_plots_are_the_same_bytes_and_well_formed(run):
    first, second = plots(run), plots(run)
    assert first == second
    assert set(first) == set(bench_tables.PLOTS)
    for svg in first.values():
        ET.fromstring(svg)  # noqa: S314 - our own
        assert "http://www.w3.org/2000/svg" in svg
    assert ">2.50x<" in first["speedup"]


def test_nothing_measured_says_so():
    for text in (bench_tables.readme([]), bench_tables.every(None), bench_tables.cost([]), bench_tables.spread(None)):
        assert text.startswith("Not measured yet")
    assert scaling_page.blocks(None)["prediction"].startswith("Not measured yet")


def curve(what, unit, points, **facts):
    return {"what": what, "unit": unit, "points": points, "fit": {"a": 0.001, "b": 0.002, "worst": 0.05}, **facts}


def test_a_billion_images():
    found = {
        "cores": 2, "processor": "a processor", "date": "2026-01-02",
        "curves": {
            "sizes": [curve("decode", "megapixels", [(1.0, 0.003)])],
            "images": [curve("run", "images", [(100.0, 0.2), (1000.0, 2.0)], memory_mb=[200.0, 200.0])],
        },
    }  # fmt: skip
    text = scaling_page.prediction(found)
    assert "| 1 | 11.6 days | 8.3 days |" in text, "a billion / 1000 a second"
    assert "| 64 | 4.4 hours | 3.1 hours |" in text
    assert "110 to 154 MB/s" in text
    assert "110 TB" in text
    assert "200 MB after 1,000" in scaling_page.curves(found)
    ET.fromstring(scaling_page.plot(found))  # noqa: S314 - our own


def test_pages_keep_what_is_around_their_blocks():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb"
    assert page(text, {"x": "new"}) == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    assert page(page(text, {"x": "new"}), {"x": "old"}) == text
    with pytest.raises(ValueError, match="not enough values"):
        page("no markers", {"x": "new"})
