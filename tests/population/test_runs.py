"""--baseline in score, video and bulk: columns and refusals, and the same rows in a second pass."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import emonet_fast as ef
from emonet_fast import job
from emonet_fast.bulk.report import write_report
from emonet_fast.errors import EmonetError, OptionError
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.population import baseline_of
from emonet_fast.sources import Inputs

from ..bulk.made import data_set
from ..bulk.made import run as bulk_run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("pictures"), 1, 30) / "train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def scorer(tiny_folder, cache_dir):
    with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir, batch_size=8) as opened:
        yield opened


@pytest.fixture(scope="module")
def usual(scorer, pictures, tmp_path_factory):
    """A baseline of the pictures' own scores, in a file."""
    folder = tmp_path_factory.mktemp("usual")
    score(scorer, pictures, folder / "s.parquet")
    path = folder / "usual.json"
    path.write_text(baseline_of([folder / "s.parquet"]).to_json())
    return path


def score(scorer, pictures, path, **more):
    outputs = job.ScoreOutputs(path, report=path.with_suffix(".html"), **more)
    return job.run(scorer, Inputs([str(pictures)], scorer.options), outputs, lambda rows: None)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_score_against_a_file_and_against_itself_gives_the_same_rows(scorer, pictures, usual, tmp_path, suffix):
    """The population is the same, so the second pass must give what one pass gives with the file."""
    known, own = tmp_path / f"known{suffix}", tmp_path / f"own{suffix}"
    first = score(scorer, pictures, known, baseline=ef.Baseline.read(usual))
    second = score(scorer, pictures, own, baseline="self")
    assert first.faults == second.faults == ()
    assert first.first.top(3) == second.first.top(3)
    assert first.first.value_kind == "z"
    if suffix == ".parquet":
        assert pq.read_table(own).equals(pq.read_table(known))
        assert pq.read_schema(own).metadata[b"baseline"] == b"the run's own rows"
    else:
        assert own.read_bytes() == known.read_bytes()
    pages = [(tmp_path / f"{name}.html").read_text("utf-8") for name in ("known", "own")]
    assert all('id="v-z" checked' in page for page in pages)
    cards = [page[page.index('<ul class="cards" id="cards">') :] for page in pages]
    assert cards[0] == cards[1]


def test_another_checkpoints_baseline_is_refused_before_anything_is_scored(scorer, pictures, usual, tmp_path):
    facts = json.loads(usual.read_text())
    facts["metadata"]["checkpoint_hash"] = "sha256:other"
    (tmp_path / "b.json").write_text(json.dumps(facts))
    other = ef.Baseline.read(tmp_path / "b.json")
    with pytest.raises(OptionError, match=r"the scores are of checkpoint sha256:.* baseline is of sha256:other"):
        score(scorer, pictures, tmp_path / "s.parquet", baseline=other)
    assert not (tmp_path / "s.parquet").exists()
    with pytest.raises(EmonetError, match="sha256:other"):
        bulk_run(pictures, scorer.where, tmp_path / "out", baseline=str(tmp_path / "b.json"))


def test_bulk_against_a_file_and_against_itself(scorer, pictures, usual, tmp_path):
    folders = {}
    for name, baseline in (("known", str(usual)), ("own", "self")):
        folders[name] = tmp_path / name
        bulk_run(pictures, scorer.where, folders[name], baseline=baseline, shard_size=12)
        table = pq.read_table(sorted(folders[name].glob("[0-9]*.parquet"))[0])
        assert table.column_names[-1].startswith("percentile_")
        page = tmp_path / f"{name}.html"
        found = write_report(folders[name], page, pictures=False)
        assert list(found.figures) == ["raw", "score", "softmax", "z"]
        assert 'id="v-z" checked' in page.read_text("utf-8")
    own = ef.Baseline.read(folders["own"] / "baseline.json")
    assert own.rows == found.scored
    z = np.concatenate([pq.read_table(p)["z_awe"].drop_null() for p in sorted(folders["own"].glob("[0-9]*.parquet"))])
    assert np.median(z) == pytest.approx(0, abs=1e-12)
    # Every shard is done still: nothing is scored again, and the columns stay as they are.
    before = {p.name: p.read_bytes() for p in folders["own"].glob("[0-9]*.parquet")}
    summary, _ = bulk_run(pictures, scorer.where, folders["own"], baseline="self", shard_size=12)
    assert summary.scored_now == 0
    assert before == {p.name: p.read_bytes() for p in folders["own"].glob("[0-9]*.parquet")}
    with pytest.raises(EmonetError, match="baseline: the folder has self, this run has none"):
        bulk_run(pictures, scorer.where, folders["own"], shard_size=12)


def test_a_bulk_report_ranks_a_folder_without_z_columns(scorer, pictures, tmp_path):
    bulk_run(pictures, scorer.where, tmp_path / "out", shard_size=12)
    own = write_report(tmp_path / "out", tmp_path / "own.html", pictures=False, baseline="self")
    usual = baseline_of([tmp_path / "out"])
    known = write_report(tmp_path / "out", tmp_path / "k.html", pictures=False, baseline=usual)
    assert np.array_equal(own.figures["z"].together, known.figures["z"].together)
    assert "z" not in write_report(tmp_path / "out", tmp_path / "n.html", pictures=False).figures


@pytest.mark.parametrize("kind", ["file", "self", "person"])
def test_video_tables_have_the_columns_too(tiny_folder, cache_dir, tmp_path, kind):
    """Whole frames of a short clip: one person, whose rows are the run's."""
    pytest.importorskip("av", reason="PyAV (extra video) is not installed")
    from emonet_fast.video.job import VideoOutputs, VideoRun

    from ..video.making import write_clip

    clip = write_clip(tmp_path / "a.mp4", [i * 100 for i in range(12)])
    chosen = VideoOptions(fps=None, faces=FaceOptions(faces="none"), smooth=0.0)

    def run(baseline, *names):
        outputs = VideoOutputs(tuple(tmp_path / name for name in names), baseline=baseline)
        with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir) as scorer:
            one = VideoRun(scorer, [str(clip)], chosen, outputs)
            assert one.check()
            summary = one.run(lambda now: None)
        assert not summary.messages
        return summary

    run(None, "plain.parquet")
    usual = baseline_of([tmp_path / "plain.parquet"])
    summary = run(usual if kind == "file" else kind, "s.parquet", "s.csv")
    assert [path.name for path in summary.written] == ["s.parquet", "s.csv"]
    table = pq.read_table(tmp_path / "s.parquet")
    raw = table["raw_awe"].to_numpy().astype(np.float64)
    expected = (raw - np.median(raw)) / usual.spread[usual.names.index("awe")]
    np.testing.assert_allclose(table["z_awe"].to_numpy(), expected, rtol=0, atol=1e-12)
    assert "z_awe" in (tmp_path / "s.csv").read_text("utf-8").splitlines()[0].split(",")
