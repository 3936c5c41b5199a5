"""Fidelity reports: their figures, their hash, their store and their page."""

import json
import subprocess
from dataclasses import asdict, replace

import numpy as np
import pytest

from emonet_fast import taxonomy
from emonet_fast.engines.fidelity import Fidelity, gate_int8
from emonet_fast.engines.report import FORMAT, REPORT_VERSION, FidelityReport, Place, compared, read_report
from emonet_fast.engines.reports import ReportStore
from emonet_fast.errors import EmonetError
from emonet_fast.reports.fidelity import fidelity_page
from emonet_fast.text import counted_parts

NAMES = (*(d.slug for d in taxonomy.DIMENSIONS[:4]), "arousal")
PLACE = Place("sha256:w", "3.1", "2026.4", "a processor")


def made(noise=0.01, n=64, **changes):
    """A report of random outputs, whose errors are `noise` of each head's spread."""
    rng = np.random.default_rng(0)
    want = rng.normal(size=(n, 5)).astype(np.float32)
    got = (want + noise * want.std(axis=0) * rng.normal(size=want.shape)).astype(np.float32)
    embedding = rng.normal(size=(n, 8)).astype(np.float32)
    pictures = {"count": n, "from": "drawn by the package", "sha256": "1" * 64}
    facts = {
        "format": FORMAT,
        "version": REPORT_VERSION,
        "created": "2026-01-01T00:00:00+00:00",
        "precision": "int8",
        "checkpoint": "large",
        "untrained": False,
        "place": asdict(PLACE),
        "versions": {"emonet_fast": "1", "recipe": 1},
        "bars": {"spearman": 0.99, "rms": 0.05, "top1": 0.97},
        "recipe": {"hash": "a" * 64, "layers": 8, "float": ["0.fc2"]},
        "given": False,
        "pictures": {"calibration": pictures, "proof": pictures, "left_out": 0},
        "engines": [
            {"precision": "fp32", "seconds": 2.0, "memory_mb": {"now": 900.0}},
            {"precision": "int8", "seconds": 0.5, "memory_mb": {"now": 400.0}},
        ],
        "tried": [{"float": 0, "rms": noise, "spearman": 0.5}],
        "seconds": {"search": 1.0},
        **compared((embedding, want), (embedding + 0.01, got), NAMES, [f"<b>{i}</b>.jpg" for i in range(n)]),
    }
    for worst in facts["worst"]:
        worst["image"] = ""
    return FidelityReport(json.loads(json.dumps({**facts, **changes})))


def test_figures_by_hand():
    want = np.array([[0.0, 3.0, 1.0], [2.0, 1.0, 1.0], [4.0, 2.0, 1.0], [6.0, 0.0, 1.0]], np.float32)
    got = want.copy()
    got[3] = [3.0, 0.0, 1.25]  # between the second and the third picture
    embedding = np.array([[1.0, 0.0]] * 4)
    other = np.array([[1.0, 0.0]] * 3 + [[3.0, 4.0]])
    names = ("amusement", "elation", "arousal")
    found = compared((embedding, want), (other, got), names, "abcd")
    spread = np.sqrt(5.0)  # of 0, 2, 4, 6
    amusement, elation, arousal = found["heads"]
    assert amusement == {
        "name": "amusement",
        "spread": pytest.approx(spread),
        "rms": pytest.approx(1.5 / spread),
        "max": pytest.approx(3 / spread),
        "spearman": pytest.approx(0.8),  # 1 - 6 (1 + 1) / (4 (16 - 1))
    }
    assert (elation["rms"], elation["spearman"]) == (0.0, pytest.approx(1.0))
    assert (arousal["rms"], arousal["max"], arousal["spearman"]) == (None, None, None)  # it says the same of all
    assert found["cosines"] == [1.0, 1.0, 1.0, pytest.approx(0.6)]
    assert found["fidelity"]["top1_agreement"] == 1.0
    assert found["fidelity"]["rms_relative"] == pytest.approx(np.sqrt(9 / 5 / 8))
    first = found["worst"][0]
    assert (first["name"], first["error"]) == ("d", pytest.approx(np.sqrt(9 / 5 / 2)))
    assert (first["reference"], first["engine"]) == ([6.0, 0.0, 1.0], [3.0, 0.0, 1.25])


def test_five_strongest_emotions():
    want = np.arange(14.0)[None, ::-1].repeat(2, axis=0).astype(np.float32)
    got = want.copy()
    got[0, [4, 5]] = got[0, [5, 4]]  # the fifth and the sixth change places
    names = [d.slug for d in taxonomy.EMOTIONS[:14]]
    same = np.ones((2, 3))
    assert compared((same, want), (same, got), names, "ab")["top5_agreement"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({}, None),
        ({"spearman": (0.99, 1.0)}, None),
        ({"spearman": (1.0, 0.9899)}, "lowest Spearman of a head 0.98990 is below 0.99"),
        ({"spearman": (1.0, float("nan"))}, "lowest Spearman of a head nan is below 0.99"),
        ({"rms_relative": 0.0501}, "RMS error 5.0% of the spread is above 5%"),
        ({"rms_relative": float("nan")}, "RMS error nan% of the spread is above 5%"),
        ({"top1_agreement": 0.969}, "top-1 agreement 96.9% is below 97%"),
    ],
)
def test_bars(changes, failure):
    good = Fidelity(64, 0.99, 0.99, 0.1, 0.1, 0.1, 0.05, 1.0, (0.99, 1.0), 0.97)
    gate = gate_int8(replace(good, **changes))
    assert gate.failures == (() if failure is None else (failure,))
    assert gate.unproved == ()
    assert gate_int8(replace(good, pictures=63)).unproved == ("Spearman per head: needs 64 pictures, had 63",)


def test_a_report_is_read_as_it_was_written():
    report = made()
    again = read_report(report.as_bytes())
    assert again == report
    assert again.gate.passed
    assert again.place == PLACE
    assert again.speedup == 4.0
    assert "passes: lowest Spearman of a head 0.99" in again.verdict()
    assert "in float: 0.fc2" in again.text()
    assert not made(noise=0.2).gate.passed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rms_relative": 0.', b'"rms_relative": 0.0'),
        (b'"seconds": 0.5', b'"seconds": 0.4'),
        (b'"from": "drawn', b'"from": "draws'),
        (b'"version": 1', b'"version": 2'),
        (b'"sha256": "', b'"sha256": "0'),
        (b'"heads": [', b'"heads": [1, '),
        (b"{", b"["),
    ],
)
def test_an_edited_report_is_refused(old, new):
    document = made().as_bytes()
    assert old in document
    with pytest.raises(ValueError, match=r"after it was written|expected emonet-fast|no fidelity report|Expecting"):
        read_report(document.replace(old, new, 1))


def test_a_verdict_is_of_the_figures_not_of_words():
    assert not made(noise=0.2, passed=True, failures=[]).gate.passed


@pytest.fixture
def store(tmp_path):
    return ReportStore(tmp_path / "cache")


def put(store, report):
    """Store it with a file for its recipe."""
    store.check()
    recipe = store.folder / "candidate"
    recipe.write_bytes(b"recipe")
    return store.store(report, recipe, b"page")


def with_recipe(report, letter, created):
    return FidelityReport(
        {**report.facts, "recipe": {**report.facts["recipe"], "hash": letter * 64}, "created": created}
    )


def test_the_newest_that_passes_counts(store, caplog):
    assert store.find(PLACE) is None
    passed, failed = made(), made(noise=0.2)
    put(store, with_recipe(passed, "a", "2026-01-01"))
    put(store, with_recipe(passed, "b", "2026-01-02"))
    put(store, with_recipe(failed, "c", "2026-01-03"))
    assert store.find(PLACE).recipe == "b" * 64
    assert store.find(PLACE, "a" * 64).recipe == "a" * 64
    assert not store.find(PLACE, "c" * 64).gate.passed
    assert store.find(PLACE, "d" * 64) is None
    for field, other in asdict(PLACE).items():
        assert store.find(replace(PLACE, **{field: other + "x"})) is None
    assert not caplog.records
    store.recipe_path("b" * 64).unlink()
    assert store.find(PLACE).recipe == "a" * 64
    assert "is not used: there is none" in caplog.text
    store.path(with_recipe(passed, "a", "")).chmod(0o666)  # others could have written it
    assert store.find(PLACE).recipe == "c" * 64
    assert "everybody may write" in caplog.text


def test_one_edited_by_hand_does_not_count(store, caplog):
    path = put(store, made(noise=0.2))
    document = json.loads(path.read_bytes())
    document["fidelity"].update(rms_relative=0.01, top1_agreement=1.0, spearman=[1.0] * 5)
    path.write_text(json.dumps(document))
    assert store.find(PLACE) is None
    assert "it was changed after it was written" in caplog.text


def test_a_full_disk_leaves_nothing_new(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        store = ReportStore(disk)
        with pytest.raises(EmonetError, match="No space left"):
            put(store, made())
        assert [path.name for path in store.folder.iterdir()] == ["candidate"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_page_shows_the_figures_and_escapes_names():
    report = made(noise=0.2)
    page = fidelity_page(report.facts, report.gate.failures, report.gate.unproved).decode()
    assert "int8 misses its bars" in page
    assert f"{report.fidelity.rms_relative:.1%}" in page
    assert page.count("&lt;b&gt;") == 10
    assert "<b>6" not in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "4.00 times" in page
    assert "chosen on 64 other pictures" in page
    given = made(given=True)
    assert "Its recipe was given." in fidelity_page(given.facts, (), ()).decode()
    assert "the recipe was given" in given.text()
    nothing = made(heads=[{**head, "rms": None, "max": None, "spearman": None} for head in report.facts["heads"]])
    assert "–" in fidelity_page(nothing.facts, ["x"], ["y"]).decode()


def test_of_many_parts_in_float_blocks_are_counted():
    names = [f"{block}.{part}" for block in range(9) for part in ("v_proj", "out")]
    assert counted_parts([*names, "8.fc1"]) == "v_proj of 9 blocks, out of 9 blocks, fc1 of 1 block"
    assert counted_parts(["0.out", "3.fc2"]) == "0.out, 3.fc2"
    assert counted_parts([]) == "none"
