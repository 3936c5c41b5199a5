"""int8 certified end to end: measured, stopped and gone on with, given up to float, refused, accepted, in outputs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast import Scorer
from emonet_fast.backends.openvino.certify import Certify
from emonet_fast.backends.openvino.certifying import settled
from emonet_fast.backends.openvino.settle import certify, find_report, place_of, serves_auto, settle
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.commands.main import cli
from emonet_fast.engines.pictures import PictureSets, pictures_of
from emonet_fast.engines.report import FidelityReport
from emonet_fast.engines.reports import ReportStore
from emonet_fast.errors import BackendError, CheckpointError, EmonetError, InputError, OptionError
from emonet_fast.graph.int8 import load_recipe, save_recipe
from emonet_fast.options import Options

from ...conftest import once
from ...tiny import write_tiny
from ...tolerances import BF16_TINY_RMS


@pytest.fixture(scope="module")
def vivid(tmp_path_factory):
    """A tiny checkpoint whose scores differ between pictures by far more than bf16 rounds."""
    pytest.importorskip("torch", reason="torch (extra reference) is not installed")
    return once(tmp_path_factory, "vivid", lambda to: write_tiny(to, contrast=40))


def random_pictures(n, seed, spread=255):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, spread + 1, (n, 3, 4, 4), np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def sets(seed=0, spread=255, proof=64):
    names = tuple(f"picture {i}" for i in range(proof))
    pixels = (random_pictures(n, seed + i, spread) for n, i in ((16, 1), (16, 2), (proof, 0)))
    return PictureSets(*pixels, names, ((24, 32),) * proof, "of a test")


@pytest.fixture(scope="module")
def run(vivid, tmp_path_factory):
    """A certification that was stopped, whose recipe was then spoiled, and that went on: what each part did."""
    cache = tmp_path_factory.mktemp("int8-cache")
    options = Options(cache_dir=cache, precision="int8", device="cpu")
    checkpoint = open_checkpoint(vivid, cache)
    phases = {"stopped": [], "whole": []}

    def stopping(phase, done, total):
        phases["stopped"].append(phase)
        if phase.startswith("search in int8") and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify(checkpoint, options, sets, stopping)
    left = sorted(path.name for path in (cache / "engines").glob("[!0-9]*") if not path.suffix)
    folder = next((cache / "engines").glob("calibration-*"))
    # As if one layer could not be int8: its weights have the wrong sign.
    recipe = load_recipe(folder / "chosen.safetensors", checkpoint)
    one = recipe.layers["1.out"]
    spoiled = replace(one, codes={prefix: -codes for prefix, codes in one.codes.items()})
    save_recipe(folder / "chosen.safetensors", replace(recipe, layers={**recipe.layers, "1.out": spoiled}))
    order = json.loads((folder / "order.json").read_text())
    (folder / "order.json").write_text(json.dumps(sorted(order, key=lambda one: one != "1.out_proj")))
    report = certify(checkpoint, options, sets, lambda phase, done, total: phases["whole"].append(phase))
    return options, checkpoint, report, phases, left


@pytest.fixture
def store(run):
    return ReportStore(run[0].cache_dir)


def test_a_stopped_calibration_counts_for_nothing_and_goes_on(run, store):
    _, _, _, phases, left = run
    assert left == [next(name for name in left if name.startswith("calibration-"))]  # neither report nor recipe
    assert {"proof in float32", "calibration", "search in int8"} <= set(phases["stopped"])
    assert not {"proof in float32", "calibration"} & set(phases["whole"])
    assert not list(store.folder.glob("calibration-*"))


def test_layers_go_back_to_float_while_other_pictures_gain(run):
    """As long as it pays; the proof's pictures are scored once, at the end."""
    _, _, report, phases, _ = run
    assert [one["float"] for one in report.facts["tried"]] == [0, 1]
    assert report.facts["recipe"]["float"] == ["1.out"]
    assert "search in int8, 1 part in float" in phases["whole"]
    assert report.gate.passed
    tried = [one["rms"] for one in report.facts["tried"]]
    assert tried[0] > 0.05 >= tried[1] != report.fidelity.rms_relative
    assert len({phase for phase in phases["whole"] if phase.startswith("proof in int8")}) == 1
    assert report.facts["pictures"]["search"]["count"] == 16


@pytest.mark.parametrize(
    ("errors", "kept", "scored"),
    [
        ([0.019, 0.0, 0.0], 0, 1),  # close enough at once
        ([0.030, 0.019, 0.0], 9, 2),
        ([0.050, 0.040, 0.030], 18, 3),  # no more steps
        ([0.0283, 0.0278, 0.0], 0, 2),  # 3.5% of the square for an eleventh of the time
        ([0.050, 0.040, 0.039], 9, 3),
        ([0.030, 0.031, 0.0], 0, 2),
    ],
)
def test_a_step_that_gains_less_than_it_costs_is_taken_back(errors, kept, scored):
    asked = []

    def error(layers):
        asked.append(layers)
        return errors[layers // 9]

    assert settled([0, 9, 18], error) == kept
    assert asked == [0, 9, 18][:scored]


def test_figures_are_those_of_the_scores(run, vivid):
    """What `Scorer` gives in float32 and in int8 is as far apart as the report says, picture by picture."""
    options, _, report, _, _ = run
    pixels, raw = sets().proof, {}
    for precision in ("fp32", "int8"):
        with Scorer(vivid, options=replace(options, precision=precision)) as scorer:
            raw[precision] = np.concatenate([scorer.score_pixels(pixels[i : i + 1]).raw for i in range(len(pixels))])
            metadata = scorer.metadata
    spread = raw["fp32"].astype(np.float64).std(axis=0)
    np.testing.assert_allclose([head["spread"] for head in report.facts["heads"]], spread, rtol=1e-6)
    rms = np.sqrt((((raw["int8"] - raw["fp32"]) / spread) ** 2).mean())
    assert 1 / BF16_TINY_RMS < rms / report.fidelity.rms_relative < BF16_TINY_RMS
    for worst in report.facts["worst"]:
        np.testing.assert_array_equal(raw["fp32"][worst["index"]], np.float32(worst["reference"]))
    assert metadata["precision"] == "int8"
    assert metadata["recipe"] == report.recipe
    assert metadata["fidelity"].startswith("int8 passes: lowest Spearman")
    assert metadata["fidelity"].endswith("on 64 pictures of a test")


def test_the_engine_that_was_proven_is_kept(store):
    """It is not built again, and no engine of a recipe that was tried before is left."""
    records = [path.read_text() for path in store.folder.glob("*.json")]
    assert sum('"int8+' in record for record in records) == 1
    assert sum("int8 recipe" in record for record in records) == 1


def test_the_same_again_is_read_not_measured(run):
    options, checkpoint, report, _, _ = run
    assert certify(checkpoint, options, sets, _never) == report


def _never(phase, done, total):
    raise AssertionError(phase)


def changed(report, **facts):
    """As if another run had given it."""
    return FidelityReport({**report.facts, **facts})


def put(store, report):
    store.path(report).write_bytes(report.as_bytes())


def failing(report):
    return changed(report, fidelity={**report.facts["fidelity"], "top1_agreement": 0.5})


@pytest.fixture
def restored(run, store):
    """Puts the report back at the end."""
    yield
    put(store, run[2])


def faster(report, times):
    plain, int8 = report.facts["engines"]
    return changed(report, engines=[{**plain, "seconds": int8["seconds"] * times}, int8])


@pytest.mark.usefixtures("restored")
def test_auto_takes_int8_only_by_a_passing_report_that_gains(run, store, caplog):
    options, checkpoint, report, _, _ = run
    auto = replace(options, precision="auto")
    plain = report.facts["engines"][0]["precision"]
    few = changed(report, fidelity={**report.facts["fidelity"], "pictures": 63})
    for made, precision in (
        (faster(report, 2), "int8"),
        (faster(report, 0.9), plain),
        (failing(faster(report, 2)), plain),
        (faster(few, 2), plain),
    ):
        put(store, made)
        assert settle(checkpoint, auto).precision == precision
        assert serves_auto(made) == (precision == "int8")
    assert not caplog.records
    document = store.path(report).read_text()
    store.path(report).write_text(document.replace('"top1_agreement": 1.0', '"top1_agreement": 0.99', 1) + " ")
    put(store, faster(report, 2))
    store.path(report).write_text(store.path(report).read_text().replace('"seconds"', '"Seconds"', 1))
    assert settle(checkpoint, auto).precision == plain
    assert "is refused: it was changed after it was written" in caplog.text


@pytest.mark.usefixtures("restored")
def test_one_that_fails_is_refused_or_accepted_and_said(run, store, vivid, tmp_path):
    options, _, report, _, _ = run
    put(store, failing(report))
    picture = tmp_path / "a.png"
    Image.fromarray(random_pictures(1, 9)[0].transpose(1, 2, 0)).save(picture)
    arguments = ["score", str(picture), "-c", str(vivid), "--precision", "int8", "--cache-dir", str(options.cache_dir)]
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, BackendError)
    assert "it misses its bars: top-1 agreement 50.0% is below 97%; on 64 pictures of a test" in str(done.exception)
    assert "--accept-fidelity" in str(done.exception)
    out = tmp_path / "scores.csv"
    done = CliRunner().invoke(cli, [*arguments, "--accept-fidelity", "-o", str(out)])
    assert done.exit_code == 0, done.output
    said = "int8 misses its bars: top-1 agreement 50.0% is below 97%"
    assert said in done.output
    metadata = json.loads((tmp_path / "scores.csv.meta.json").read_text())
    assert metadata["accepted_fidelity"].startswith(said)
    assert "fidelity" not in metadata


def test_settings_that_go_with_int8_alone():
    for setting in ({"accept_fidelity": True}, {"recipe": "r.safetensors"}):
        with pytest.raises(OptionError, match="is for precision 'int8', and the precision is 'auto'"):
            Options(**setting)


def test_a_recipe_is_proven_on_another_processor(run, store, monkeypatch):
    """Then nothing is calibrated, the same recipe counts, and reports of this processor do not."""
    options, checkpoint, report, _, _ = run
    options = replace(options, recipe=store.recipe_path(report.recipe))
    assert find_report(checkpoint, options) == report
    monkeypatch.setattr("emonet_fast.backends.openvino.settle.instructions", lambda: ["other"])
    assert find_report(checkpoint, options) is None
    phases = []
    again = certify(checkpoint, options, sets, lambda phase, done, total: phases.append(phase))
    assert again.recipe == report.recipe
    assert 1 / BF16_TINY_RMS < again.fidelity.rms_relative / report.fidelity.rms_relative < BF16_TINY_RMS
    assert "calibration" not in phases
    assert options.recipe.exists()
    assert find_report(checkpoint, options) == again
    other = replace(checkpoint, weights_hash="sha256:other")
    for use in (find_report, lambda c, o: certify(c, o, sets, _never)):
        with pytest.raises(CheckpointError, match=r"with weights hash sha256:.*; expected sha256:other"):
            use(other, options)


def test_pictures_without_spread(run):
    options, checkpoint, _, _, _ = run
    with pytest.raises(InputError, match=r"the 64 pictures of a test have no spread.*expected different pictures"):
        certify(checkpoint, options, lambda: sets(spread=0), lambda *_: None)
    assert find_report(checkpoint, options) is not None
    assert not list((options.cache_dir / "engines").glob("calibration-*"))


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_measured(run, tmp_path):
    _, checkpoint, _, _, _ = run
    (tmp_path / "engines").write_text("")
    with pytest.raises(EmonetError, match="choose another cache folder"):
        Certify(checkpoint, place_of(checkpoint), "fp32", None, tmp_path)(lambda: _never("pictures", 0, 0))


@pytest.fixture
def folder(tmp_path):
    for i, pixels in enumerate(random_pictures(40, 5)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / f"{i:02}.png")
    return tmp_path


def test_pictures_of_a_folder_are_cut_in_two(run, folder):
    checkpoint = run[1]
    (folder / "05.png").write_bytes(b"broken")
    (folder / "06.png").write_bytes((folder / "07.png").read_bytes())
    found = pictures_of(checkpoint, folder, 256, Options())
    assert (len(found.calibration), len(found.search), len(found.proof)) == (24, 5, 19)
    assert (found.left_out, found.drawn) == (2, 10)
    every = {p.tobytes() for p in (*found.calibration, *found.search, *found.proof)}
    assert len(every) == 48
    assert found.names[0] == str(folder / "00.png")
    assert found.shapes[0] == (32, 32)
    fewer = pictures_of(checkpoint, folder, 16, Options())
    assert (len(fewer.calibration), len(fewer.search), len(fewer.proof), fewer.drawn) == (24, 2, 8, 18)
    assert max(fewer.names) > str(folder / "30.png")  # spread over the folder, not its beginning


def test_too_few_pictures(run, folder):
    for path in sorted(folder.iterdir())[15:]:
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"gave 15 different readable pictures \(25 could not be read.*expected 16"):
        pictures_of(run[1], folder, 256, Options())
    for number in range(1, 40):
        shutil.copy(folder / "00.png", folder / f"{number:02}.png")
    with pytest.raises(InputError, match=r"gave 1 different readable picture \(39 could not be read or came twice"):
        pictures_of(run[1], folder, 256, Options())


def test_the_command(run, vivid, tmp_path, monkeypatch):
    """It says the figures, copies what it is told to, and its status is that of the bars."""
    options, _, report, _, _ = run
    from emonet_fast.engines import pictures

    monkeypatch.setattr(pictures, "int8_pictures", lambda _: sets())
    out = tmp_path / "r.safetensors"
    arguments = ["calibrate", "-c", str(vivid), "--cache-dir", str(options.cache_dir), "-o", str(out)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert report.verdict() in done.output
    assert json.loads(out.with_suffix(".json").read_text())["recipe"] == report.facts["recipe"]
    assert "Fidelity of int8" in out.with_suffix(".html").read_text()
    assert out.read_bytes() == ReportStore(options.cache_dir).recipe_path(report.recipe).read_bytes()
    done = CliRunner().invoke(cli, [*arguments[:-2], "--precision", "fp8"])
    assert isinstance(done.exception, BackendError)
    assert "precision fp8 needs an NVIDIA GPU" in str(done.exception)


def test_doctor_and_the_cache_tell_of_it(run, monkeypatch, caplog):
    options, _, report, _, _ = run
    monkeypatch.setenv("EMONET_FAST_CACHE", str(options.cache_dir))
    told = CliRunner().invoke(cli, ["doctor", "--json"]).stdout
    cpu = json.loads(told)["cpu_engine"]
    assert cpu["precisions"][0] == "fp32"
    assert cpu["precisions"][-1] == "int8"
    assert report.verdict() in cpu["int8_reports"][0]
    listed = CliRunner().invoke(cli, ["cache", "list"]).output
    assert "recipe " in listed
    assert f"int8 of {report.facts['checkpoint']}, {report.created}" in listed


def test_a_later_certificate_does_not_change_a_begun_run(run, store):
    """Bulk: what the plan's fingerprint says is what later parts and later days compute in."""
    from emonet_fast.bulk.settings import Settings, differences
    from emonet_fast.errors import DataError

    options, _, report, _, _ = run
    auto = Settings(inputs=("a",), checkpoint="c", output=store.folder, options=replace(options, precision="auto"))
    assert auto.pinned({"precision": "bf16", "backend": "openvino"}).options.precision == "bf16"
    begun = {"precision": "int8", "backend": "openvino", "recipe": report.recipe, "fidelity": "int8 passes"}
    pinned = auto.pinned(begun).options
    assert (pinned.precision, pinned.recipe) == ("int8", store.recipe_path(report.recipe))
    with pytest.raises(DataError, match=r"the run computes by the int8 recipe bbbbbbbbbbbbbbbb, and .*--recipe"):
        auto.pinned(begun | {"recipe": "b" * 64})
    assert auto.pinned(begun | {"recipe": "../x"}).options.recipe is None
    assert differences(begun, begun | {"fidelity": "proven again"}) == []
    assert differences(begun, begun | {"recipe": "b" * 64}) == [
        f"recipe: the folder has {report.recipe}, this run has {'b' * 64}"
    ]


@pytest.mark.usefixtures("restored")
def test_every_way_to_score_takes_it(run, store, vivid, tmp_path, monkeypatch):
    """`auto` by a passing report: rows of bulk, frames of a video, Ray's columns and a scorer have the same scores."""
    from emonet_fast.bulk.plan import PLAN
    from emonet_fast.ray_scorer import EmoNetScorer

    from ...bulk.made import rows
    from ...video.making import write_clip

    options, _, report, _, _ = run
    put(store, faster(report, 2))
    monkeypatch.setenv("EMONET_FAST_CACHE", str(options.cache_dir))
    (tmp_path / "in").mkdir()
    for i, pixels in enumerate(random_pictures(4, 9)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "in" / f"{i}.png")
    pictures = sorted((tmp_path / "in").iterdir())
    auto = replace(options, precision="auto")
    with Scorer(vivid, options=replace(options, precision="int8")) as scorer:
        want = scorer(pictures).raw
    columns = EmoNetScorer(vivid, options=auto)({"image": [path.read_bytes() for path in pictures]})
    first = next(name for name in columns if name.startswith("raw_"))
    close = {"atol": 1e-3, "rtol": 0.0}  # each opening of so narrow a model in bf16 rounds otherwise: 2e-4 measured
    np.testing.assert_allclose(columns[first], want[:, 0], **close)
    with_cpu = ["-c", str(vivid), "--device", "cpu"]
    done = CliRunner().invoke(cli, ["bulk", str(tmp_path / "in"), *with_cpu, "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / "run").sort_by("key")
    np.testing.assert_allclose(found[first].to_numpy(), want[:, 0], **close)
    assert report.recipe in (tmp_path / "run" / PLAN).read_text()
    write_clip(tmp_path / "clip.mp4", range(0, 400, 100))
    out = tmp_path / "clip.csv"
    done = CliRunner().invoke(cli, ["video", str(tmp_path / "clip.mp4"), "--faces", "none", *with_cpu, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "clip.csv.meta.json").read_text())["recipe"] == report.recipe
    done = CliRunner().invoke(cli, ["verify", *with_cpu, "--precision", "int8", "--images", str(tmp_path / "in")])
    assert report.verdict() in done.output
