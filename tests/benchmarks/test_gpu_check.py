"""`make gpu-check` on CPU tensors: every part runs, and an end at any moment loses nothing that was measured."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")
pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")

from benchmarks import timer  # noqa: E402
from benchmarks.gpu import check, checkpoints, context, install, table  # noqa: E402
from benchmarks.gpu import tests as gpu_tests  # noqa: E402
from emonet_fast.trust import foreign  # noqa: E402

ROOT = Path(__file__).parents[2]
PARTS = {part.name for part in check.PARTS} | {"facts", "checkpoint"}
# transformers needs huggingface_hub and tqdm itself; our own modules must not.
MISSING = ("PIL", "click", "openvino", "onnx", "pyarrow", "jinja2")
MISSING_TOO = (*MISSING, "hypothesis", "tqdm", "huggingface_hub", "transformers")


def until(condition, what, seconds=120.0):
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def stored(folder):
    """The results in a folder, as far as they are written."""
    paths = list(folder.glob("gpu-*.json"))
    return json.loads(paths[0].read_text("utf-8")) if paths else {"parts": {}}


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    """A process that has ended may wait for its parent's notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- one dry run, killed in its middle -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """(results, Markdown, what was stored when it was killed) of two runs, in processes where packages are missing."""
    folder = tmp_path_factory.mktemp("gpu-check")
    hidden = f"import sys, runpy\nfor name in {MISSING!r}: sys.modules[name] = None\n"
    worker = f"{hidden}runpy.run_module('benchmarks.gpu.worker', run_name='__main__')"
    arguments = ["--dry", "--commit", "abc", "--work", str(folder / "work"), "--results", str(folder / "results")]
    arguments += ["--tests", "tests/test_taxonomy.py"]
    code = (
        "import sys\nfrom benchmarks.gpu import check\n"
        f"status = check.main({arguments!r}, worker=(sys.executable, '-c', {worker!r}))\n"
        "assert 'torch' not in sys.modules, 'the budget would begin after its import'\nsys.exit(status)"
    )
    command = [sys.executable, "-c", code]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        until(lambda: stored(folder / "results")["parts"].get("kernels", {}).get("rows"), "the first row")
        begun = children(killed.pid)
    finally:
        killed.kill()
        killed.wait()
    assert begun
    until(lambda: not any(map(alive, begun)), "what a killed run has started ends with it")
    middle = stored(folder / "results")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "results").glob("gpu-*.json")
    return json.loads(path.read_text("utf-8")), path.with_suffix(".md").read_text("utf-8"), middle


def numbers(value):
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_a_killed_run_leaves_its_rows_and_the_next_goes_on(dry):
    doc, _, middle = dry
    assert middle["parts"]["kernels"]["status"] == "running"
    assert "ms" not in middle["parts"]["kernels"]["rows"][0]
    assert middle["parts"]["kernels"]["rows"][0]["error"] < 1e-2
    assert len(doc["runs"]) == 2
    assert doc["commit"] == middle["commit"] == "abc"
    assert doc["finished"]


def test_every_part_ran(dry):
    doc, _, _ = dry
    assert set(doc["parts"]) == PARTS
    for name, part in doc["parts"].items():
        assert part["status"] == "ok", (name, part)
        assert all(math.isfinite(n) for n in numbers(part)), name
    assert doc["parts"]["tests"]["passed"] > 5
    assert doc["dry"]


def test_every_figure_is_there(dry):
    parts = dry[0]["parts"]
    rows = [row for part in parts.values() for row in part.get("rows", [])]
    assert not [row for row in rows if "failed" in row]
    assert not [row for row in rows if row.get("wrong")]
    timed = [row for row in rows if "ms" in row]
    assert all(row["ms"]["q1"] <= row["ms"]["median"] <= row["ms"]["q3"] for row in timed)
    expected = {"heads", "LayerNorm + residual", "bias + GELU", "quantise", "patches", "resize", "device copy"}
    expected |= {"attention", "fc1 + GELU", "backbone + heads", "baselines", "torch.compile"}
    assert expected <= {row["what"].split(",")[0] for row in timed}
    assert [row["side"] for row in parts["interop"]["rows"]] == ["numpy"]
    assert all(parts[name]["latency"]["p50"] > 0 for name in ("bf16", "fp8"))
    assert set(parts["accuracy"]) >= {"torch_bf16", "fp32", "bf16", "fp8"}
    fp8 = parts["accuracy"]["fp8"]
    assert "uncertified" not in fp8
    assert "failed" not in fp8
    assert fp8["certificate"]["passed"]
    assert parts["compiled"]["factors"]


def test_markdown_has_the_rows(dry):
    doc, text, _ = dry
    assert "Dry run" in text
    assert "Commit abc" in text
    assert all(bar.what in text for bar in table.BARS)
    assert all(f"\n| {name} | ok |" in text for name in PARTS)
    assert text.count("| quantise, fp8 out |") == 6, "both sides: once, timed, and small"
    assert str(ROOT) not in text + json.dumps(doc), "paths of this machine are nobody's business"


def test_our_modules_need_no_package_that_may_be_missing():
    modules = [p.stem for p in (ROOT / "benchmarks" / "gpu").glob("*.py")]
    code = (
        f"import sys\nfor name in {MISSING_TOO!r}: sys.modules[name] = None\n"
        "import importlib\n"
        f"for name in {modules!r}: importlib.import_module('benchmarks.gpu.' + name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# -- the run around a worker that is none ------------------------------------------------------------------------------

STUB = """
import json, sys
from pathlib import Path
work = Path(sys.argv[sys.argv.index("--work") + 1])
say = lambda **what: print(json.dumps(what), flush=True)
row = {"what": "w", "shape": "s", "side": "x"}
for line in sys.stdin:
    order = json.loads(line)
    part = order["part"]
    if part == "facts": say(end={"status": "ok", "card": "NVIDIA Stub (x)"})
    elif part == "dies": say(row=row); print("said", file=sys.stderr); sys.exit(3)
    elif part == "fails": say(end={"status": "failed", "error": "RuntimeError: no luck"})
    elif part == "hangs": say(row=row); say(tell={"half": 1.5}); sys.stdin.read()
    elif part == "fill":
        while not (work / "main-is-done").exists(): pass
        say(end={"status": "ok"})
    else:
        (work / "main-is-done").touch()
        say(row=row); say(end={"status": "ok", "seen": sorted(order["found"]), "beside": order["beside"]})
"""


def parts_of(*names, **options):
    return tuple(check.Part(name, 1000, 0, options.get("limit", 60), options.get(name, "")) for name in names)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs parts with the stub; gives the status and the results."""
    monkeypatch.setattr(check, "install", lambda tree: tree.mkdir(exist_ok=True))

    def run(parts, *arguments, results="results"):
        folder = tmp_path / results
        command = ["--commit", "abc", "--work", str(tmp_path / "work"), "--results", str(folder), *arguments]
        status = check.main(command, parts, (sys.executable, "-c", STUB), time.monotonic())
        return status, stored(folder)

    return run


def test_one_failure_loses_one_part(run, capsys):
    status, doc = run(parts_of("first", "dies", "fails", "last"))
    assert status == 1
    assert {name: part["status"] for name, part in doc["parts"].items()} == {
        "facts": "ok", "first": "ok", "dies": "failed", "fails": "failed", "last": "ok",
    }  # fmt: skip
    assert doc["parts"]["dies"]["error"] == "exit status 3"
    assert doc["parts"]["dies"]["tail"][-1] == "said"
    assert len(doc["parts"]["dies"]["rows"]) == 1
    assert doc["parts"]["last"]["seen"] == ["dies", "facts", "fails", "first", "last"]
    assert "first: w, s, x" in capsys.readouterr().out


def test_a_part_that_hangs_is_stopped_and_keeps_what_it_had(run):
    status, doc = run((*parts_of("hangs", limit=0.5), *parts_of("last")))
    assert status == 0
    part = doc["parts"]["hangs"]
    assert (part["status"], part["half"], len(part["rows"])) == ("stopped", 1.5, 1)
    assert doc["parts"]["last"]["status"] == "ok"
    assert not doc["finished"]


def test_until_ends_a_run_and_the_next_goes_on_elsewhere(run):
    """The folder of the results may be empty the second time; the folder of work is not."""
    _, doc = run(parts_of("first", "hangs", "last"), "--until", str(check.SPARE + 2.0))
    assert [part["status"] for part in doc["parts"].values()] == ["ok", "ok", "stopped", "skipped"]
    _, doc = run(parts_of("first", "last"), results="others")
    assert [part["status"] for part in doc["parts"].values()] == ["ok", "ok", "stopped", "ok"]
    assert "first" in doc["parts"]["last"]["seen"], "it was not measured again"
    assert len(doc["runs"]) == 2
    _, doc = run(parts_of("first"), "--commit", "def", results="third")
    assert len(doc["runs"]) == 1, "another commit begins anew"


@pytest.mark.parametrize("alone", [False, True], ids=["a short part", "a part of its own, once it is late"])
def test_what_waits_for_the_background_is_put_off(run, monkeypatch, alone):
    monkeypatch.setattr(check, "BACKGROUND", ("fill",))
    first = check.Part("first", 0.5 if alone else 1000, 0, 60, after="fill")
    _, doc = run((first, check.Part("last", 1000, 0, 60, alone=alone)))
    assert doc["parts"]["fill"]["status"] == "ok"
    assert "first" not in doc["parts"]["last"]["seen"]
    assert len(doc["parts"]["last"]["beside"]) == 1
    assert doc["parts"]["first"]["status"] == "ok"


def test_what_is_not_asked_for_is_left_for_the_next_run(run, monkeypatch):
    monkeypatch.setattr(check, "BACKGROUND", ("fill",))
    _, doc = run(parts_of("first", "last", first="fill"), "--only", "last")
    assert list(doc["parts"]) == ["facts", "last"], "and nothing is begun in the background for it"
    assert not doc["finished"]


def test_a_part_begins_where_there_is_time_for_it(run):
    _, doc = run((check.Part("first", 1000, 500, 60),), "--until", "100")
    assert doc["parts"]["first"]["status"] == "skipped"
    assert "500 needed" in doc["parts"]["first"]["note"]


def test_work_lies_where_the_package_uses_a_cache(tmp_path, monkeypatch, capsys):
    """A checkout that root's archive program gave another owner, or everybody's rights, would lose six parts."""
    monkeypatch.setattr(check, "gettempdir", lambda: str(tmp_path))
    closed, everybodys = tmp_path / "closed" / "work", tmp_path / "everybody's" / "work"
    assert check.options(["--dry", "--work", str(closed)]).work == closed
    everybodys.parent.mkdir()
    everybodys.parent.chmod(0o777)
    asked = check.options(["--dry", "--work", str(everybodys)])
    assert asked.work.is_dir()
    assert foreign(everybodys)
    assert foreign(asked.work) is None
    assert asked.results == asked.work
    assert check.options(["--dry", "--work", str(everybodys)]).work == asked.work, "the next run goes on there"
    assert "everybody may write" in capsys.readouterr().out


def test_a_signal_ends_a_run_cleanly(tmp_path):
    command = ["--commit", "abc", "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    code = (
        f"import sys\nfrom benchmarks.gpu import check\ncheck.install = lambda tree: tree.mkdir()\n"
        f"sys.exit(check.main({command!r}, (check.Part('hangs', 9, 0, 60),), (sys.executable, '-c', {STUB!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    until(lambda: "half" in stored(tmp_path / "results")["parts"].get("hangs", {}), "the part's first figure")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" in said
    assert stored(tmp_path / "results")["parts"]["hangs"]["status"] == "stopped"


def test_the_background_stands_still_while_something_is_timed():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0)
    try:
        measuring = context.Context(torch.device("cpu"), True, Path(), beside=[process.pid, 2**22 + 1])
        with measuring.quiet():
            until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T", "it stands still")
        until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "S", "it goes on")
    finally:
        process.kill()
        process.wait()


def test_the_tree_is_the_whole_package(tmp_path):
    """Whatever starts in it finds the kernels, without a path that is set: also the programs that tests start."""
    install.install(tmp_path / "tree")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import emonet_fast.kernels, tests.kernels, benchmarks.gpu; print(emonet_fast.kernels.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path / "tree", env=environment
    )
    assert done.stdout.startswith(str(tmp_path / "tree" / "emonet_fast" / "kernels"))


def test_tests_are_told_one_by_one(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # else the names depend on where the checkout lies
    (tmp_path / "test_broken_import.py").write_text("import nowhere\n")
    (tmp_path / "test_two_of_them.py").write_text("def test_a(): pass\ndef test_b(): assert 1 == 2\n")
    (tmp_path / "test_left_out.py").write_text("raise ModuleNotFoundError(\"No module named 'hypothesis'\")\n")
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)
    told, rows = [], []
    asked = context.Context(torch.device("cpu"), True, tmp_path, tests=[str(tmp_path)], tell=told.append)
    asked.row = rows.append
    found = gpu_tests.measure(asked)
    assert (found["passed"], found["failed"], found["status"]) == (1, 2, "failed")
    assert any("test_b" in text and "assert 1 == 2" in text for text in found["bad"])
    assert len(rows) == 2
    assert found["left_out"] == ["test_left_out.py (no hypothesis)"]
    assert [one["passed"] + one["failed"] for one in told] == [1, 2, 3]
    assert Path.cwd() != tmp_path
    (tmp_path / "test_broken_import.py").unlink()
    asked.tests = [str(tmp_path / "test_two_of_them.py::test_a")]
    assert "status" not in gpu_tests.measure(asked)


def test_pictures_of_a_killed_run_are_made_again(tmp_path, monkeypatch):
    """Half a file would fail every later run of this folder."""
    network = SimpleNamespace(vision=SimpleNamespace(image_size=2))
    asked = context.Context(torch.device("cpu"), False, tmp_path, network=network)
    made = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    monkeypatch.setattr(checkpoints, "opened", lambda context: None)
    monkeypatch.setattr(checkpoints, "generated_pixels", lambda checkpoint, count, seed: made)

    def killed(path, values):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.pixels(asked, 1, 2)
    np.testing.assert_array_equal(checkpoints.pixels(asked, 1, 2), made)


def test_a_side_that_cannot_be_timed_loses_no_other_case():
    """Its error is known; the part goes on with its next case."""
    rows, calls = [], []

    def once():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("operation not permitted when stream is capturing")

    asked = context.Context(torch.device("cpu"), True, Path(), row=rows.append)
    context.case(asked, "w", "s", {"x": context.Side(lambda: [once], lambda: 0.001)})
    (row,) = rows
    assert row["error"] == 0.001
    assert row["failed"] == "RuntimeError: operation not permitted when stream is capturing"


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
    assert table.BARS[0].verdict({"bf16": {"rows": [row]}})[1] == verdict
    assert table.BARS[0].verdict({"bf16": {"rows": [row | {"wrong": True}]}})[1] == "unmeasured"
    assert table.BARS[0].verdict({})[1] == "unmeasured"


def test_lower_is_better_for_times_and_errors():
    latency = next(bar for bar in table.BARS if bar.unit == "ms")
    for milliseconds, verdict in ((1.0, "goal met"), (2.5, "met"), (2.6, "missed")):
        parts = {"bf16": {"latency": {"p50": milliseconds}}}
        assert latency.verdict(parts)[1] == verdict


def test_scores_that_are_no_numbers_are_shown_and_missed():
    broken = {"cosine_min": "nan", "max_error": "nan", "rms_error": "nan", "spearman_min": "nan", "top1_agreement": 0.0}
    accuracy = {
        "status": "ok",
        "seconds": 1.0,
        "pictures": 64,
        "torch_bf16": broken,
        "fp8": {**broken, "passed": False},
    }
    parts = {"accuracy": accuracy}
    doc = {"date": "2026-01-01", "dry": False, "commit": "abc", "runs": [{"seconds": 1.0}], "parts": parts}
    assert "| fp8 | nan | nan / nan | nan |" in table.markdown(doc)
    bar = next(bar for bar in table.BARS if "Spearman" in bar.what)
    assert bar.verdict(parts)[1] == "missed"


def test_readme_table_without_results():
    assert "Not measured yet" in table.readme_table(None)
