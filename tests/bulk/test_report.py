"""`emonet-fast report`: figures equal to plain numpy on all rows at once, and a page that needs nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.bulk.folder import Folder
from emonet_fast.bulk.report import write_report
from emonet_fast.bulk.report.collect import EDGES, STRONGEST, TYPICAL, collect, quantile
from emonet_fast.bulk.report.labels import LabelAgreement
from emonet_fast.bulk.report.pictures import _inside, _OutsideError, _roots
from emonet_fast.errors import DataError, OptionError
from emonet_fast.reliability import reliability

from ..checkpoint.hub import Hub
from .made import jpeg, rows, run, table


def test_figures_are_those_of_all_rows(whole):
    folder = Folder(whole)
    found = collect(folder, folder.read_plan(), range(12))
    every = rows(whole).to_pylist()
    scored = [r for r in every if r["status"] == "ok"]
    values = np.array([[r["score_" + e] for e in found.emotions] for r in scored])
    assert found.total == 240
    assert found.scored == len(scored)
    for e in range(40):
        clipped = np.clip(values[:, e], EDGES[0], EDGES[-1])
        assert found.main.histogram[e].tolist() == np.histogram(clipped, EDGES)[0].tolist()
    top = np.argsort(-values, axis=1, kind="stable")[:, :STRONGEST]
    both = sum(1 for row in top if {3, 7} <= set(row.tolist()))
    assert found.main.together[3, 7] == found.main.together[7, 3] == both
    assert np.diag(found.main.together).sum() == STRONGEST * len(scored)
    for e in range(40):
        best = sorted(((r["score_" + found.emotions[e]], r["key"]) for r in scored), reverse=True)[:TYPICAL]
        assert [b.value for b in found.best[e]] == [v for v, _ in best]
    arousal, valence = (np.array([r["raw_" + name] for r in scored]) for name in ("arousal", "valence"))
    assert found.scales["arousal"].tolist() == np.histogram(arousal.clip(0, 7), np.linspace(0, 7, 81))[0].tolist()
    assert found.scales["valence"].tolist() == np.histogram(valence.clip(-3, 3), np.linspace(-3, 3, 81))[0].tolist()
    bad = {r["key"]: r["reason"] for r in every if r["status"] == "truncated"}
    assert all(bad[key] == reason for key, reason in found.examples["truncated"])
    labels = [(r["keep_emotion"], row) for r, row in zip(scored, values, strict=True) if r["keep_emotion"]]
    agreement = found.main.agreements["emotion"]
    assert agreement.rows == len(labels)
    assert agreement.strange == 0
    assert not found.main.agreements["score"].rows


def test_what_experts_do_not_agree_on_is_among_no_rows_strongest(whole):
    """From alpha 0.3 on there are five, fewer than the page counts a row's strongest by; the rest stays as it is."""
    folder = Folder(whole)
    found = collect(folder, folder.read_plan(), range(12), None, 0.3)
    every = collect(folder, folder.read_plan(), range(12))
    allowed = [e for e, slug in enumerate(found.emotions) if reliability()[slug].alpha >= 0.3]
    counts = np.diag(found.main.together)
    assert np.flatnonzero(counts).tolist() == allowed
    assert set(counts[allowed]) == {found.scored}
    assert (found.main.histogram == every.main.histogram).all()
    assert "alpha is below 0.3" in found.notes[0]
    assert every.notes == []


def test_shards_of_schema_version_1(whole, tmp_path):
    """softmax_* was prob_* then: the figures are the same."""
    older = tmp_path / "older"
    shutil.copytree(whole, older)
    for path in older.glob("*.parquet"):
        now = pq.read_table(path)
        pq.write_table(now.rename_columns([re.sub("^softmax_", "prob_", n) for n in now.column_names]), path)
    found, wanted = (collect(f, f.read_plan(), range(12)).figures["softmax"] for f in (Folder(older), Folder(whole)))
    assert found.histogram.sum() == wanted.histogram.sum() > 0
    np.testing.assert_array_equal(found.histogram, wanted.histogram)
    np.testing.assert_array_equal(found.together, wanted.together)


@given(st.lists(st.integers(0, 30), min_size=len(EDGES) - 1, max_size=len(EDGES) - 1), st.floats(0.01, 0.99))
def test_quantiles_lie_in_the_right_bin(counts, share):
    counts = np.array(counts)
    value = quantile(counts, share)
    if not counts.sum():
        assert np.isnan(value)
        return
    below = counts[EDGES[1:] <= value - 1e-9].sum()
    above = counts[EDGES[:-1] >= value + 1e-9].sum()
    assert below <= share * counts.sum() + 1e-6
    assert above <= (1 - share) * counts.sum() + 1e-6


def test_labels_of_every_published_form():
    agreement = LabelAgreement(("awe", "anger", "fear"))
    order = np.array([[1, 0, 2]] * 7)
    ratings = "[{'human-1': {'Awe': 3, 'Fear': 1}}, {'human-2': {'Awe': 0, 'Fear': 5}}]"
    labels = ["Anger", "Group|Awe", ratings, None, "", "a portrait", "[{'human-1': {'Awe': 1, 'Fear': 1}}]"]
    agreement.add(labels, order)
    assert agreement.ranks.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert agreement.strange == 2
    assert agreement.within(1) == pytest.approx(1 / 3)
    assert agreement.within(3) == 1
    assert agreement.mean_rank(2) == 3
    assert np.isnan(LabelAgreement(("awe",)).within(1))


def test_page_needs_nothing_else(whole, tmp_path):
    path = tmp_path / "report.html"
    found = write_report(whole, path)
    page = path.read_text("utf-8")
    assert (found.done, found.shards, found.scored) == (12, 12, found.statuses["ok"])
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page)
    assert page.count("data:image/jpeg") == 40 * TYPICAL
    assert f"<b>{found.total - found.scored}</b>" in page
    assert "Agreement with the data set’s column “emotion”" in page
    assert "<h2>Arousal, valence, dominance, emotional vulnerability</h2>" in page
    with pytest.raises(DataError, match=r"no plan.json; expected the output folder"):
        write_report(tmp_path, path)
    with pytest.raises(OptionError, match=r"alpha is 0\.58 at most"):
        write_report(whole, path, min_reliability=0.9)


def test_hostile_keys_and_lost_inputs(tiny, tmp_path):
    """A name that would be markup, and pictures that are gone: text, and a page all the same."""
    name = "<img src=x onerror=alert(1)>.jpg"
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(jpeg(0))
    table(data / "t.parquet", [jpeg(1)])
    run(data, tiny, tmp_path / "out")
    (data / name).unlink()
    (data / "t.parquet").unlink()
    write_report(tmp_path / "out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<img src=x" not in page
    assert "no picture" in page


def test_a_strangers_plan_shows_no_pictures_from_elsewhere(whole, tmp_path):
    """A plan whose inputs are not where its files lie: these are shown only where that is asked for."""
    foreign = tmp_path / "foreign"
    subprocess.run(["cp", "-r", whole, foreign], check=True)
    plan = replace(Folder(whole).plan(), inputs=(str(tmp_path / "pictures"),))
    (foreign / "plan.json").write_text(plan.text())
    for path in foreign.glob("[0-9]*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"plan": plan.id}))
    page = tmp_path / "report.html"
    for pictures, shown in ((None, 0), (True, 40 * TYPICAL), (False, 0)):
        found = write_report(foreign, page, pictures=pictures)
        assert page.read_text("utf-8").count("data:image/jpeg") == shown
        outside = [note for note in found.notes if "do not lie below the run's inputs" in note]
        assert len(outside) == page.read_text("utf-8").count("do not lie below") == (pictures is None)


def test_what_lies_below_the_inputs(tmp_path):
    """Links are followed; a pattern stands for the folder before it, a hub id for its cache."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").touch()
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    roots = _roots((f"{tmp_path}/in/*/x?.jpg", "laion/emonet-face-big"))
    for path in ("in/a/x1.jpg", "hub/datasets--laion--emonet-face-big/snapshots/a/t.parquet"):
        assert _inside(str(tmp_path / path), roots)
    for path in ("in/link.jpg", "secret.jpg", "in/../secret.jpg", "inside/x.jpg"):
        with pytest.raises(_OutsideError):
            _inside(str(tmp_path / path), roots)
        assert _inside(str(tmp_path / path), None)


_FIND = """
import json, sys
from pathlib import Path
from emonet_fast.bulk.inputs import find
found = find([sys.argv[1]], keep=("emotion",), cache_dir=Path(sys.argv[2]))
print(json.dumps([[file.key, sum(footer.groups)] for file, footer in found.tables]))
"""


def test_data_set_by_its_hub_id(tmp_path):
    """Keys name the place in the repository, not in this machine's cache."""
    table(tmp_path / "a" / "train-00000-of-00001.parquet", [jpeg(0)] * 3)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    name = "laion/emonet-face-big"
    with Hub() as hub:
        hub.publish(name, tmp_path / "a", "a" * 40)
        command = [sys.executable, "-c", _FIND, name, str(tmp_path / "cache")]
        done = subprocess.run(
            command, env=env | {"HF_ENDPOINT": hub.address}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[f"{name}/train-00000-of-00001.parquet", 3]]
