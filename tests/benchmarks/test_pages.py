"""The table of results, and the pages and plots made of it: the same bytes every time, and nothing beside it."""

import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")

from benchmarks import measurements, runs
from benchmarks.measurements import Suite
from benchmarks.pages import replaced
from benchmarks.plots import plots
from benchmarks.tables import scaling, streams, suites


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
def run(tmp_path, monkeypatch):
    """A run that went through the table of results."""
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
    monkeypatch.setattr(measurements, "TABLE", tmp_path / "table.jsonl")
    runs.keep(runs.parse(made))
    return runs.newest("cpu")


# -- the table of results ----------------------------------------------------------------------------------------


def test_a_run_is_read_as_it_was_kept(run):
    assert run.machine == "2 cores of an a processor | of a kind"
    assert (run.device, run.date) == ("cpu", "2026-01-02T03:04:05")
    assert [(entry.group, entry.side) for entry in run.entries][:2] == [
        ("end to end: large", "published"),
        ("end to end: large", "openvino bf16"),
    ]
    assert run.entries[1].seconds == pytest.approx((0.8, 0.88, 0.72))
    assert runs.newest("cuda") is None


def test_a_case_that_is_measured_again_replaces_its_line_alone(tmp_path):
    table = tmp_path / "table.jsonl"
    measurements.keep("b", {"one": 1, "two": {"x": [1, 2]}}, date="2026-01-01", machine="m", table=table)
    measurements.keep("a", {"one": 10}, date="2026-01-01", machine="m", table=table)
    measurements.keep("b", {"one": 3, "three": 4}, date="2026-02-01", machine="n", table=table)
    kept = measurements.read("b", table)
    assert kept == Suite("n", "2026-02-01", {"one": 3, "two": {"x": [1, 2]}, "three": 4})
    assert measurements.read("a", table).values == {"one": 10}
    assert [line.date for line in measurements.lines(table) if line.case == "two"] == ["2026-01-01"]
    measurements.keep("b", {"four": 5}, date="2026-03-01", machine="m", whole=True, table=table)
    assert measurements.read("b", table).values == {"four": 5}
    assert measurements.read("c", table) is None


def test_this_machine_is_named_by_its_processor(tmp_path):
    measurements.keep("a", {"one": 1}, table=tmp_path / "table.jsonl")
    (line,) = measurements.lines(tmp_path / "table.jsonl")
    assert " cores of an " in line.machine


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (["avx2", "avx512f", "avx512_vnni", "avx512_bf16"], "2 cores of an Epyc, with VNNI and bf16"),
        (["avx2", "avx512f", "avx512_vnni"], "2 cores of an Epyc, with VNNI, without bf16"),
        (["avx2"], "2 cores of an Epyc, without bf16"),
        ("unknown on this system", "2 cores of an Epyc"),
    ],
)
def test_a_machine_says_which_low_precisions_are_fast(known, words):
    facts = {"machine": {"cores": 2}, "cpu_engine": {"name": "Epyc", "instructions": known}}
    assert measurements.processor(facts) == words


# -- tables and plots --------------------------------------------------------------------------------------------


def test_the_readmes_table(run):
    text = suites.readme([run])
    assert "| Large | published | 1.00x (0.90..1.10) | 0.5 | 1.0e-05 | 2.50 GB |" in text
    assert "| Large | openvino bf16 | 2.50x (2.25..2.75) | 1.25 | 1.0e-05 | 1.40 GB |" in text
    assert "| Large | batched | 2.00x (1.80..2.20) | 1 | 1.0e-05 | +0.35 GB |" in text
    assert "27" in text
    assert "0123456789ab" in text


def test_every_benchmark_is_a_row_and_sizes_are_in_order(run):
    text = suites.every(run)
    assert text.index("batch 2 |") < text.index("batch 16 |")
    assert "| 350 (88%) |" in text
    assert text.count("| end to end: large |") == 3
    assert "fp32 250, bf16 400" in text


def test_cost_follows_from_the_rate(run):
    assert "| cpu | large, published | 56 | 0.10 |" in suites.cost([run])


def test_plots_are_the_same_bytes_and_well_formed(run):
    first, second = plots(run), plots(run)
    assert first == second
    assert set(first) == set(suites.PLOTS)
    for svg in first.values():
        ET.fromstring(svg)  # noqa: S314 - our own
        assert "http://www.w3.org/2000/svg" in svg
    assert ">2.50x<" in first["speedup"]


def test_nothing_measured_says_so():
    texts = [suites.readme([]), suites.every(None), suites.cost([]), suites.spread(None), suites.others(None)]
    for text in (*texts, scaling.curves(None), scaling.prediction(None), streams.measured(None)):
        assert text.startswith("Not measured yet")


def test_other_packages_have_a_rate_or_a_reason():
    values = {
        "fast": {"task": "7 emotions", "crops": 8, "seconds_an_image": [0.5, 0.25, 1.0]},
        "lost": {"task": "8 emotions", "crops": 8, "failed": "no | weights"},
    }
    text = suites.others(Suite("a machine", "2026-01-02", values))
    assert text.startswith("8 crops, a machine, 2026-01-02.\n")
    assert "| fast | 7 emotions | 2 |" in text
    assert "| lost | 8 emotions | failed: no / weights |" in text


def curve(what, unit, points, **facts):
    return {"what": what, "unit": unit, "points": points, "fit": {"a": 0.001, "b": 0.002, "worst": 0.05}, **facts}


def test_streams_and_what_they_would_gain_on_more_cores():
    """Two streams of one thread are 1.1 times as fast as one of two: a tenth of the work is not shared."""
    side = {"seconds_a_picture": 0.55, "memory_mb": {"now": 900.0, "peak": 1000.0}}
    sides = [
        {"streams": n, "ratio": {"value": value, "low": value, "high": value}, **side}
        for n, value in [(1, 1.0), (2, 1.1)]
    ]
    one = {"precision": "int8", "layers": 27, "cores": 2, "sides": sides}
    suite = Suite("2 cores of a processor", "2026-01-02", {"int8, 27 layers": one})
    assert "| int8, 27 layers | 2 of 1 | 0.55 | 1.100 (1.100..1.100) | 900, 1000 |" in streams.measured(suite)
    assert streams.alone(one) == pytest.approx(0.1)
    assert streams.gain(0.1, 8, 8) == pytest.approx(1.7)
    assert streams.gain(0.1, 8, 2) == pytest.approx(1.7 / 1.3)
    assert "| 8 | 2 of 4 | 1.31 |" in streams.expected(suite)


def test_a_billion_images():
    values = {
        "sizes": [curve("decode", "megapixels", [(1.0, 0.003)])],
        "images": [curve("run", "images", [(100.0, 0.2), (1000.0, 2.0)], memory_mb=[200.0, 200.0])],
    }
    suite = Suite("2 cores of a processor", "2026-01-02", values)
    text = scaling.prediction(suite)
    assert "| 1 | 11.6 days | 8.3 days |" in text, "a billion / 1000 a second"
    assert "| 64 | 4.4 hours | 3.1 hours |" in text
    assert "110 to 154 MB/s" in text
    assert "110 TB" in text
    assert "200 MB after 1,000" in scaling.curves(suite)
    ET.fromstring(scaling.plot(suite))  # noqa: S314 - our own


def test_pages_keep_what_is_around_their_blocks():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb"
    assert replaced(text, {"x": "new"}, "page") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    assert replaced(replaced(text, {"x": r"\1"}, "page"), {"x": "old"}, "page") == text
    with pytest.raises(ValueError, match=r"page\.md has no lines <!-- x -->"):
        replaced("no markers", {"x": "new"}, "page.md")
