"""A run of `score` that ends early: what was scored is kept, in every output, and no older file is replaced."""

import os
import signal
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from emonet_fast import job
from emonet_fast.bars import ProgressLines, phases
from emonet_fast.bars import progress as progress_of
from emonet_fast.errors import BackendError
from emonet_fast.process import held_signals
from emonet_fast.records import Decoded
from emonet_fast.scorer import ScoredBatch
from emonet_fast.sinks.tables import recover

from .sinks.rows import made


class Scorer:
    """Gives batches of one row, and then raises."""

    metadata = {"backend": "none", "precision": "fp32"}  # noqa: RUF012
    timings = {"engine": 1.0}  # noqa: RUF012
    decoder = SimpleNamespace(name="none", note=lambda: "")
    checkpoint = SimpleNamespace(vision=SimpleNamespace(hidden_size=6), names=())

    def __init__(self, rows, error=None):
        self._rows, self._error = rows, error

    def batches(self, pictures, **options):
        for i in range(self._rows):
            yield ScoredBatch(made([str(i)]), (Decoded(str(i), None),))
        if self._error is not None:
            raise self._error


def run(scorer, folder, advance=lambda rows: None):
    return job.run(scorer, [], job.ScoreOutputs(folder / "s.parquet", report=folder / "r.html"), advance)


def keys(path):
    return pq.read_table(path)["key"].to_pylist()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BackendError("the GPU is gone")])
def test_a_run_that_ends_early_keeps_what_was_scored(tmp_path, error):
    summary = run(Scorer(3, error), tmp_path)
    assert summary.ended is error
    assert summary.written == (tmp_path / "s.parquet", tmp_path / "r.html")
    assert keys(tmp_path / "s.parquet") == ["0", "1", "2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "s.parquet"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BackendError("no engine"), ZeroDivisionError()])
@pytest.mark.parametrize("rows", [0, 3])
def test_it_never_replaces_an_older_file(tmp_path, error, rows):
    """Nor leaves anything where nothing was scored. A fault of ours keeps the rows too."""
    run(Scorer(5), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    if rows == 0 or isinstance(error, ZeroDivisionError):
        with pytest.raises(type(error)):
            run(Scorer(rows, error), tmp_path)
    else:
        summary = run(Scorer(rows, error), tmp_path)
        assert summary.written == ()
        assert len(summary.notes) == 2 + len(made(["a"]).notes)
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    partial = after.pop("s.parquet.partial", None)
    assert after == before
    assert (partial is None) is (rows == 0)
    if rows:
        assert recover(tmp_path / "s.parquet") == rows
        assert keys(tmp_path / "s.parquet") == ["0", "1", "2"]


def test_rows_are_on_the_disk_when_their_batch_is_done(tmp_path):
    """JSON lines at once, so that a kill loses the present batch alone."""
    lines = []
    outputs = job.ScoreOutputs(tmp_path / "s.jsonl")
    partial = tmp_path / "s.jsonl.partial"
    job.run(Scorer(4), [], outputs, lambda rows: lines.append(partial.read_text().count("\n")))
    assert lines == [1, 2, 3, 4]


@pytest.fixture
def heard():
    """A test run in the background of a shell ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_a_signal_does_not_come_between_the_outputs_of_a_batch(tmp_path):
    """It comes when the table has the batch and the page has not; it takes effect when both have it."""

    class Stopping(Scorer):
        def batches(self, pictures, **options):
            for i, batch in enumerate(super().batches(pictures)):
                yield batch if i != 1 else Signalled(batch.scores, batch.decoded)

    class Signalled(ScoredBatch):
        @property
        def decoded(self):
            os.kill(os.getpid(), signal.SIGINT)
            return (Decoded("1", None),)

        def __init__(self, scores, decoded):
            object.__setattr__(self, "scores", scores)

    summary = run(Stopping(5), tmp_path)
    assert isinstance(summary.ended, KeyboardInterrupt)
    assert keys(tmp_path / "s.parquet") == ["0", "1"]
    assert '<b>2</b> <span class="soft">pictures' in (tmp_path / "r.html").read_text()


@pytest.mark.usefixtures("heard")
def test_held_signals_come_at_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with held_signals():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("inside")
        done.append("after")
    assert done == ["inside"]


def test_progress_comes_in_lines_where_there_is_no_terminal(capsys):
    """At each tenth of the way, but not in the same second, and every ten seconds."""
    times = iter([0.0, 5.0, 10.0, 12.0, 12.5, 22.0, 33.0])
    with ProgressLines(40, "image", None, clock=lambda: next(times)) as progress:
        for count in (3, 3, 3, 4, 2, 25):
            progress.update(count)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert [line.partition(" [")[0] for line in lines] == ["15% 6/40", "22% 9/40", "38% 15/40", "100% 40/40"]
    assert "00:10<00:56" in lines[0]


def test_lines_of_a_long_run_become_rarer(capsys):
    """10 hours, in which no tenth is known: some hundred lines, not 3,600."""
    now = [0.0]
    with ProgressLines(None, "row", None, clock=lambda: now[0]) as progress:
        for _ in range(36_000):
            now[0] += 1
            progress.update()
    lines = len(capsys.readouterr().err.splitlines())
    assert 100 < lines < 200


def test_a_phase_counts_in_its_own_unit(capsys):
    with phases("B", "bar", {"check": "picture"}) as show:
        show("check", 0, 4)
        show("weights", 0, 2_000_000)
    said = capsys.readouterr().err
    assert "0/4 [00:00<?, ?picture/s]" in said
    assert "0.00/2.00M [00:00<?, ?B/s]" in said


@pytest.mark.parametrize("show", ["auto", "bar", "lines", "none"])
def test_who_runs_the_command_chooses_how_progress_is_shown(capsys, show):
    """Here standard error is no terminal."""
    with progress_of(10, "row", "scoring", show) as shown:
        shown.update(10)
        assert isinstance(shown, ProgressLines) is (show != "bar")
    assert capsys.readouterr().out == ""
