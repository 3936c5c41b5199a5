"""Exported models in ONNX Runtime and OpenVINO beside our own engine; what they say of themselves; what is refused."""

import json
import os
import resource
from dataclasses import asdict, replace
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from emonet_fast.backends.openvino.settle import place_of
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.commands.main import cli
from emonet_fast.engines.exact import HalfFile, exact_outputs
from emonet_fast.engines.reports import ReportStore
from emonet_fast.errors import BackendError, DataError, EmonetError, OptionError
from emonet_fast.export import check, export
from emonet_fast.export.check import _compared
from emonet_fast.export.describe import EXPORT_VERSION, card_words
from emonet_fast.export.expected import as_input, read_expected
from emonet_fast.graph import onnx_file
from emonet_fast.graph.exported import export_graph
from emonet_fast.graph.int8 import Int8Recipe, max_recipe, save_recipe
from emonet_fast.graph.int8_writer import write_int8_model
from emonet_fast.graph.turned import Turn, random_rotation
from emonet_fast.optional import openvino_core
from emonet_fast.options import ExportOptions, Options

from ..engines.test_report import made
from ..tiny import HEADS, HIDDEN, LAYERS

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime (extra bench) is not installed")

# float32 sums in another order, 2 tiny layers: measured 1e-6
TOLERANCE = 2e-5
ALL = {"outputs": "scores,raw,embedding", "with_softmax": True}
FORMS = [
    {"input": "uint8", "batch": "dynamic"},
    {"input": "float", "batch": "dynamic"},
    {"input": "uint8", "batch": 3},
    {"input": "float", "batch": 3},
]


def in_onnxruntime(path, x):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": x}), strict=True))


def in_openvino(path, x):
    compiled = openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"pixels": x})
    return {output.any_name: found[output] for output in compiled.outputs}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form['input']}-{form['batch']}")
def test_every_form_gives_what_the_engine_gives(tiny, tmp_path, form):
    tiny.written(tmp_path / "m.onnx", **form, **ALL)
    x = as_input(tiny.pixels, ExportOptions(**form))
    assert x.shape == ((3, 32, 32, 3) if form["input"] == "uint8" else (3, 3, 32, 32))
    for run in (in_onnxruntime, in_openvino):
        got = run(tmp_path / "m.onnx", x)
        assert list(got) == ["softmax", "scores", "raw", "embedding"]
        for name, want in tiny.outputs.items():
            np.testing.assert_allclose(got[name], want, atol=TOLERANCE, err_msg=name)
    assert tiny.outputs["raw"].std() > 0.1, "a constant output would pass any comparison"


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_a_folder_of_openvino_gives_the_same(tiny, tmp_path, kind):
    done = tiny.written(tmp_path / "ir", format="openvino", input=kind, **ALL)
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == sorted(path.name for path in done.files)
    got = in_openvino(tmp_path / "ir/model.xml", as_input(tiny.pixels, ExportOptions(input=kind)))
    for name, want in tiny.outputs.items():
        np.testing.assert_allclose(got[name], want, atol=TOLERANCE, err_msg=name)
    model = openvino_core().read_model(tmp_path / "ir/model.xml")
    assert model.get_parameters()[0].layout.to_string() == ("[N,H,W,C]" if kind == "uint8" else "[N,C,H,W]")
    info = {key: str(value) for key, value in model.get_rt_info(["model_info"]).value.items()}
    assert info["model_type"] == "Classification"
    assert info["labels"].split()[:2] == ["amusement", "elation"]
    assert info.get("scale_values") == ("255.0 255.0 255.0" if kind == "float" else None)
    assert json.loads(str(model.get_rt_info(["emonet_fast"]).value)) == json.loads(json.dumps(done.about))


def test_weights_beside_the_model_are_the_same_model(tiny, tmp_path, monkeypatch):
    tiny.written(tmp_path / "one.onnx")
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    done = tiny.written(tmp_path / "two.onnx")
    assert [path.name for path in done.files] == ["two.onnx", "two.onnx.data", "two.onnx.check.npz"]
    x = as_input(tiny.pixels, ExportOptions())
    one, two = (in_onnxruntime(tmp_path / name, x) for name in ("one.onnx", "two.onnx"))
    np.testing.assert_array_equal(one["raw"], two["raw"])
    assert all(result.passed for result in check(tmp_path / "two.onnx")[1])
    monkeypatch.undo()
    tiny.written(tmp_path / "two.onnx")  # now it is one file, and nothing of the older one stays
    assert not (tmp_path / "two.onnx.data").exists()
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_the_file_is_sound_onnx_of_plain_operators(tiny, tmp_path):
    tiny.written(tmp_path / "m.onnx", **ALL)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    weights = {tensor.name for tensor in model.graph.initializer}
    assert not [node.name for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    assert (tmp_path / "m.onnx").stat().st_size == len(model.SerializeToString())


def test_half_weights_are_widened_before_they_are_used(tiny, tmp_path):
    """The softmax of tiny is flat; its scores change by more than the bar, so that the graph itself is compared."""
    graph = export_graph(tiny.checkpoint, ("embedding", "raw"), half=True)
    with (tmp_path / "half.onnx").open("wb") as file:
        onnx_file.write_inside(file, graph, lambda done, total: None)
    got = in_onnxruntime(tmp_path / "half.onnx", as_input(tiny.pixels, ExportOptions()))
    embedding, raw = exact_outputs(tiny.checkpoint, tiny.pixels, HalfFile(tiny.checkpoint.path))
    np.testing.assert_allclose(got["raw"], raw, atol=TOLERANCE)
    np.testing.assert_allclose(got["embedding"], embedding, atol=TOLERANCE)
    assert np.abs(raw - tiny.outputs["raw"]).max() > 10 * TOLERANCE
    whole = sum(weight.nbytes for weight in export_graph(tiny.checkpoint, ("raw",)).weights.values())
    assert sum(weight.nbytes for weight in graph.weights.values()) < 0.55 * whole


def test_half_weights_that_lose_too_much_are_refused_with_the_figures(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("emonet_fast.export.expected.FLOAT16_ERROR", 1e-9)
    with pytest.raises(EmonetError, match=r"fp16 is refused .* scores by up to 0\.00\d+ \(bar 1e-09\)"):
        tiny.written(tmp_path / "m.onnx", precision="fp16")
    assert not list(tmp_path.glob("m*"))


def test_a_model_says_what_it_is(tiny, tmp_path):
    done = tiny.written(tmp_path / "m.onnx", batch=2)
    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    about = json.loads(said["emonet_fast"])
    assert about == json.loads(json.dumps(done.about))
    assert about["version"] == EXPORT_VERSION
    assert about["checkpoint_hash"] == tiny.checkpoint.weights_hash
    assert about["input"] == {
        "name": "pixels", "dtype": "uint8", "layout": "NHWC", "shape": [2, 32, 32, 3], "colours": "RGB",
        "range": [0, 255],
    }  # fmt: skip
    assert about["resize"] == {"width": 32, "height": 32, "filter": "bilinear", "keep_aspect": False, "by": "Pillow"}
    assert [output["shape"] for output in about["outputs"]] == [o.shape for o in session.get_outputs()]
    assert about["outputs"][0]["columns"] == list(tiny.checkpoint.names)
    assert said["model_info labels"].split() == list(tiny.checkpoint.names)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"outputs": "scores"}, "scores came as outputs, and .* has no neutral means"),
        ({"outputs": "raw", "with_softmax": True}, "softmax came as outputs, and .* has no neutral means"),
    ],
)
def test_weights_without_neutral_means_have_raw_scores_only(tiny, tmp_path, wanted, text):
    bare = replace(tiny, checkpoint=replace(tiny.checkpoint, neutral_means=None))
    with pytest.raises(OptionError, match=text):
        bare.written(tmp_path / "m.onnx", **wanted)
    done = bare.written(tmp_path / "m.onnx", outputs="raw,embedding")
    assert [output["name"] for output in done.about["outputs"]] == ["raw", "embedding"]


def test_a_softmax_needs_all_emotions(tiny, tmp_path):
    fewer = replace(tiny, checkpoint=replace(tiny.checkpoint, names=tiny.checkpoint.names[1:]))
    with pytest.raises(OptionError, match="no head for 1 of the 40 emotions"):
        fewer.written(tmp_path / "m.onnx", with_softmax=True)


@pytest.fixture(scope="module")
def recipe(tiny):
    """Every kind of layer: smoothed in LayerNorm and behind it, signed and unsigned, float, float in part; a turn."""
    layers = dict(max_recipe(tiny.checkpoint, dict.fromkeys(layer_names(LAYERS), 4.0)).layers)
    rng = np.random.default_rng(5)
    for name, zero in (("0.qkv", 0), ("0.out", 120), ("1.fc2", 9)):
        inside = next(iter(layers[name].codes.values())).shape[1]
        smooth = rng.uniform(0.7, 1.5, inside).astype(np.float32)
        layers[name] = replace(layers[name], smooth=smooth, input_zero=zero)
    del layers["1.out"]
    value = next(prefix for prefix in layers["0.qkv"].codes if prefix.endswith("v_proj"))
    codes, scales = (
        {p: v for p, v in of.items() if p != value} for of in (layers["0.qkv"].codes, layers["0.qkv"].scales)
    )
    floats = {value: rng.normal(size=(HIDDEN, HIDDEN)).astype(ml_dtypes.bfloat16)}
    layers["0.qkv"] = replace(layers["0.qkv"], codes=codes, scales=scales, floats=floats)
    turn = Turn(random_rotation(HIDDEN), np.full((LAYERS, HIDDEN), 0.01, np.float32), random_rotation(HIDDEN // HEADS))
    return Int8Recipe(tiny.checkpoint.weights_hash, layers, turn)


def test_int8_is_the_arithmetic_of_the_int8_engine(tiny, recipe, tmp_path):
    """The graph that OpenVINO's int8 engine is compiled of, run by ONNX Runtime too: weights lie otherwise, no more."""
    graph = export_graph(tiny.checkpoint, ("raw", "embedding"), recipe=recipe)
    with (tmp_path / "int8.onnx").open("wb") as file:
        onnx_file.write_inside(file, graph, lambda done, total: None)
    onnx.checker.check_model(str(tmp_path / "int8.onnx"), full_check=True)
    kinds = [node.op_type for node in graph.model.graph.node]
    assert kinds.count("QuantizeLinear") == len(recipe.layers)
    got = in_onnxruntime(tmp_path / "int8.onnx", as_input(tiny.pixels, ExportOptions()))
    want = in_onnxruntime(write_int8_model(tiny.checkpoint, tmp_path, recipe), tiny.pixels)
    lost = np.abs(want["raw"] - tiny.outputs["raw"]).max()
    assert lost > 0.01, "this is float32"
    assert np.abs(got["raw"] - want["raw"]).max() < lost / 4  # codes that flip


def reported(tiny, recipe, cache, noise):
    """A cache with this recipe, and a report of it, whose figures are made up."""
    store = ReportStore(cache)
    store.check()
    save_recipe(cache / "recipe", recipe)
    facts = {
        "recipe": {"hash": recipe.hash, "layers": 8, "float": ["1.out"]},
        "place": asdict(place_of(tiny.checkpoint)),
    }
    store.store(made(noise=noise, **facts), cache / "recipe", b"")
    return store.recipe_path(recipe.hash)


def test_int8_says_by_which_report_it_was_proven(tiny, recipe, tmp_path):
    reported(tiny, recipe, tmp_path / "cache", 0.01)
    done = tiny.written(tmp_path / "m.onnx", precision="int8")
    assert done.about["recipe"] == recipe.hash
    assert done.about["fidelity"].startswith("int8 passes: lowest Spearman")
    assert f"int8 by the recipe {recipe.hash} (int8 passes" in card_words("m.onnx", done.about)[0]
    assert 0 < done.about["tolerances"]["error"] < 0.1
    with pytest.raises(OptionError, match=r"2 layers with a zero point \(0\.out, 1\.fc2\)"):
        tiny.written(tmp_path / "t.onnx", precision="int8", format="tensorrt-onnx")


def test_a_zero_point_that_no_node_has_is_nothing_to_tensorrt(tiny, recipe, tmp_path):
    """Where all linears of a layer are float its input is not rounded."""
    layers = {**recipe.layers, "1.fc2": replace(recipe.layers["1.fc2"], input_zero=0)}
    (prefix,) = layers["0.out"].codes
    floats = {prefix: np.zeros((HIDDEN, HIDDEN), ml_dtypes.bfloat16)}
    layers["0.out"] = replace(layers["0.out"], codes={}, scales={}, floats=floats)
    reported(tiny, replace(recipe, layers=layers), tmp_path / "cache", 0.01)
    tiny.written(tmp_path / "t.onnx", precision="int8", format="tensorrt-onnx")
    nodes = onnx.load(tmp_path / "t.onnx", load_external_data=False).graph.node
    assert {node.name for node in nodes if node.op_type == "QuantizeLinear"}, "the other layers have theirs"
    assert not [node for node in nodes if node.op_type == "QuantizeLinear" and "0.out" in node.name]


def test_int8_that_misses_its_bars_is_refused_unless_it_is_accepted(tiny, recipe, tmp_path):
    reported(tiny, recipe, tmp_path / "cache", 0.2)
    with pytest.raises(BackendError, match=r"int8 is refused .* misses its bars: .* accept it as it is"):
        tiny.written(tmp_path / "m.onnx", precision="int8")
    options = Options(cache_dir=tmp_path / "cache", precision="int8", accept_fidelity=True)
    done = export(tiny.checkpoint, tmp_path / "m.onnx", ExportOptions(precision="int8"), options)
    assert done.about["accepted_fidelity"].startswith("int8 misses its bars")
    line = ["-c", tiny.checkpoint.path, "-o", tmp_path / "c.onnx", "--cache-dir", tmp_path / "cache"]
    said = CliRunner().invoke(cli, ["export", *map(str, line), "--precision", "int8", "--accept-fidelity"])
    assert said.exit_code == 0
    assert "int8 misses its bars" in said.output


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("end", ["stopped", "full"])
def test_a_run_that_ends_early_leaves_nothing_new(tiny, tmp_path, form, end):
    """Ctrl-C among the weights; a limit of a file's size, which is to a program as a full disk."""
    output = tmp_path / ("m.onnx" if form == "onnx" else "ir")
    if form == "onnx":
        output.write_text("older")
    before = sorted(tmp_path.rglob("*"))

    def stopping(phase, done, total):
        if end == "stopped" and phase == "weights":
            raise KeyboardInterrupt

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if end == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(KeyboardInterrupt if end == "stopped" else EmonetError):
            export(tiny.checkpoint, output, ExportOptions(format=form), Options(cache_dir=tmp_path), stopping)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.rglob("*")) == before
    assert form == "openvino" or output.read_text() == "older"


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_disk_without_room_is_noticed_before_writing(tiny, tmp_path, monkeypatch, form):
    """For OpenVINO also where the folder that is to hold the new one is not there yet."""
    monkeypatch.setattr("emonet_fast.files.shutil.disk_usage", lambda folder: SimpleNamespace(free=60 << 20))
    output = tmp_path / "m.onnx" if form == "onnx" else tmp_path / "new" / "ir"
    with pytest.raises(EmonetError, match=r"has 0\.06 GB free; expected at least 0\.07 GB for the exported model"):
        tiny.written(output, format=form)
    assert not list(tmp_path.glob("[mn]*"))


def test_int8_without_a_report_is_refused(tiny, tmp_path):
    with pytest.raises(BackendError, match="exported only where it was proven, and there is no fidelity report"):
        tiny.written(tmp_path / "m.onnx", precision="int8")


def test_a_recipe_without_a_report_is_to_be_proven(tiny, recipe, tmp_path):
    file = tmp_path / "own.safetensors"
    save_recipe(file, recipe)
    options = Options(cache_dir=tmp_path / "cache", precision="int8", recipe=file)
    with pytest.raises(BackendError, match=rf"no fidelity report of this recipe .*--checkpoint C --recipe {file}`"):
        export(tiny.checkpoint, tmp_path / "m.onnx", ExportOptions(precision="int8"), options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are Unix's")
def test_a_pipe_in_the_place_of_weights_is_not_waited_for(tiny, tmp_path):
    _, weights, _ = tiny.written(tmp_path / "ir", format="openvino").files
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(DataError, match=r"model\.bin cannot be read \(a pipe, socket or device, not a file\)"):
        check(tmp_path / "ir")


@pytest.mark.parametrize("damage", ["model", "check", "no check", "text", "newer"])
def test_what_was_changed_is_seen(tiny, tmp_path, damage):
    model, beside = tiny.written(tmp_path / "m.onnx").files
    if damage == "model":
        data = bytearray(model.read_bytes())
        data[len(data) // 2] ^= 1
        model.write_bytes(data)
    elif damage == "check":
        beside.write_bytes(beside.read_bytes()[:-100])
    elif damage == "no check":
        beside.unlink()
    elif damage == "newer":
        with np.load(beside) as file:
            arrays = dict(file)
        arrays["about"] = np.array(json.dumps(json.loads(str(arrays["about"])) | {"version": EXPORT_VERSION + 1}))
        np.savez(beside, **arrays)
    else:
        beside.write_text("nothing")
    with pytest.raises(DataError, match=r"is not the file that was written|is no check|there is no"):
        check(model)


def test_a_runtime_that_gives_other_scores_fails(tiny, tmp_path):
    """A check whose outputs are another network's: exit status 1, and how far apart they are."""
    model, beside = tiny.written(tmp_path / "m.onnx").files
    with np.load(beside) as file:
        arrays = dict(file)
    arrays["scores"] = arrays["scores"] + np.float32(0.25)
    np.savez(beside, **arrays)
    done = CliRunner().invoke(cli, ["export", "--check", str(model)])
    assert done.exit_code == 1
    assert "FAILS, largest error of a score 0.25" in done.output


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [("raw", lambda x: np.where(x == x[0, 0], np.nan, x), "a score nan"), ("scores", lambda x: x[:, 1:], "scores is")],
)
def test_outputs_that_are_no_numbers_or_of_another_shape_fail(tiny, tmp_path, name, change, said):
    """NaN in one output of several, beside others that are right."""
    expected = read_expected(tiny.written(tmp_path / "m.onnx").files[1])

    def opened():
        return lambda x: {key: change(value) if key == name else value for key, value in expected.outputs.items()}

    result = _compared("here", opened, expected, lambda *_: None)
    assert result.passed is False
    assert result.text().startswith("here: FAILS, ")
    assert said in result.text()


def test_the_command_writes_and_checks(tiny_folder, cache_dir, tmp_path):
    model, card = str(tmp_path / "m.onnx"), str(tmp_path / "m.md")
    command = ["export", "-c", str(tiny_folder), "-o", model, "--batch", "3", "--card", card, "--license", "mit"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert f"wrote {model}\nwrote {model}.check.npz\nwrote {card}\n" in done.output
    text = (tmp_path / "m.md").read_text("utf-8")
    assert 'license: "mit"' in text
    assert "# m.onnx\n" in text
    assert "Their values are unchanged; normalisation and neutral means are inside" in text
    assert 'onnxruntime.InferenceSession("m.onnx")' in text
    assert "# [3, 32, 32, 3] uint8, RGB from 0 to 255" in text
    done = CliRunner().invoke(cli, ["export", "--check", model])
    assert done.exit_code == 0, done.output
    assert done.output.count("within tolerance") == 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("-o m.onnx", "expected either --checkpoint and --output, or --check alone"),
        ("-c C --check m.onnx", "expected either"),
        ("-c C -o m.bin", "expected a name ending in .onnx"),
        ("-c C -o m.onnx --format openvino", "openvino is written as a folder"),
        ("-c C -o full --format openvino", "full exists and is not empty"),
        ("-c C -o m.onnx --outputs scores,moods", "outputs is 'scores,moods'; expected some of"),
        ("-c C -o m.onnx --batch 0", "--batch is 0; expected"),
        ("--check m.onnx --format openvino", "--check alone"),
        ("--check m.onnx --card m.md", "--check alone"),
        ("--check m.onnx --accept-fidelity", "accept_fidelity is True, which changes nothing in a check"),
        ("-c C -o m.onnx --accept-fidelity", "which changes nothing in an export in fp32"),
        ("-c C -o m.onnx --license mit", "expected --card too"),
        ("--check m.onnx", "m.onnx is no exported model: there is no file"),
        ("-c C -o m.onnx --precision int8 --recipe m.onnx.data", "is an input too"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, monkeypatch, line, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    for name in ("full/file", "m.onnx.data"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(cli, ["export", *line.split()])
    assert text in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before
