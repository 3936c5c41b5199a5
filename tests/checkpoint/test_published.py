"""The published layout: every spelling that occurs is read, everything else is refused with its name."""

import errno
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from emonet_fast import taxonomy
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.encoder import read_preprocess, read_vision_config
from emonet_fast.checkpoint.expected import tower_tensors
from emonet_fast.checkpoint.heads import find_heads, read_head
from emonet_fast.checkpoint.published import Contents, Published
from emonet_fast.checkpoint.spec import VisionConfig
from emonet_fast.errors import CheckpointError, UnsafePickleError

from .layouts import (
    EMOTIONS,
    HIDDEN,
    IMAGE,
    LAYERS,
    MLP,
    PATCH,
    PREPROCESSOR,
    VISION,
    WIDTHS,
    TorchFile,
    call,
    head_state,
    mean_of,
    program,
    save_torch,
    tower,
    write_head,
    write_json,
    write_published,
)

SIZES = VisionConfig(HIDDEN, MLP, LAYERS, 4, IMAGE, PATCH, 1e-6)
Change = Callable[[dict[str, Any]], Any]


def _read(folder: Path) -> Contents:
    return Published(folder / "encoder", folder / "heads", "test").read()


def _change_json(path: Path, change: Change) -> None:
    doc = json.loads(path.read_text())
    change(doc)
    write_json(path, doc)


def test_everything_is_read(tiny_original: Path) -> None:
    found = _read(tiny_original)
    assert found.vision == SIZES
    assert found.preprocess.resample == "bilinear"
    assert found.preprocess.size == IMAGE
    assert found.preprocess.rescale_factor == 1 / 255
    assert found.preprocess.mean == (0.5, 0.4, 0.3)
    assert found.preprocess.std == (0.5, 0.25, 0.125)
    assert tuple(found.heads) == tuple(d.slug for d in taxonomy.EMOTIONS)
    assert found.head_widths == WIDTHS
    assert found.neutral_means == {d.slug: mean_of(i) for i, d in enumerate(taxonomy.EMOTIONS)}
    assert (found.untrained, found.l2_normalise) == (False, True)
    for name, value in tower().items():
        np.testing.assert_array_equal(found.tensors.array(name), value)


def test_expected_tensors_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION))
    found = {f"vision_model.{n.removeprefix('vision_model.')}": tuple(v.shape) for n, v in model.state_dict().items()}
    assert found == tower_tensors(SIZES)


@pytest.mark.parametrize(
    "extra", [(), ("Arousal", "Valence", "Dominance"), (*(d.name for d in taxonomy.EXTRA_DIMENSIONS), "Boredom")]
)
def test_40_43_and_more_heads(tmp_path: Path, extra: tuple[str, ...]) -> None:
    pytest.importorskip("torch")
    names = (*reversed(extra), *EMOTIONS[::-1])
    found = _read(write_published(tmp_path / "t", names))
    assert tuple(found.heads) == tuple(taxonomy.slug(n) for n in (*EMOTIONS, *extra))
    assert found.neutral_means == {taxonomy.slug(n): mean_of(i) for i, n in enumerate(names)}


# --- config.json ---


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({"model_type": "siglip", "vision_config": VISION}, SIZES),
        (VISION, SIZES),
        ({"model_type": "siglip", "vision_config": {}}, VisionConfig(768, 3072, 12, 12, 224, 16, 1e-6)),
        ({"model_type": "siglip"}, VisionConfig(768, 3072, 12, 12, 224, 16, 1e-6)),
        (
            {
                "model_type": "siglip",
                "vision_config": {
                    "hidden_size": 1152, "image_size": 384, "intermediate_size": 4304, "num_attention_heads": 16,
                    "num_hidden_layers": 27, "patch_size": 16,
                },
            },
            VisionConfig(1152, 4304, 27, 16, 384, 16, 1e-6),
        ),
        (VISION | {"image_size": [32, 32]}, SIZES),
        (VISION | {"layer_norm_eps": 1e-5}, VisionConfig(HIDDEN, MLP, LAYERS, 4, IMAGE, PATCH, 1e-5)),
        (VISION | {"hidden_act": "gelu_pytorch_tanh", "vision_use_head": True, "num_channels": 3}, SIZES),
    ],
)  # fmt: skip
def test_config(tmp_path: Path, doc: dict[str, Any], expected: VisionConfig) -> None:
    write_json(tmp_path / "config.json", doc)
    assert read_vision_config(tmp_path / "config.json") == expected


@pytest.mark.parametrize(
    "field", ["hidden_size", "intermediate_size", "num_hidden_layers", "image_size", "layer_norm_eps"]
)
def test_config_defaults_are_those_of_transformers(tmp_path: Path, field: str) -> None:
    transformers = pytest.importorskip("transformers")
    write_json(tmp_path / "config.json", {"model_type": "siglip_vision_model"})
    found = read_vision_config(tmp_path / "config.json")
    assert getattr(found, field) == getattr(transformers.SiglipVisionConfig(), field)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "clip"}, "model_type is 'clip'; expected 'siglip'"),
        ({"model_type": "siglip2_vision_model"}, "model_type is 'siglip2_vision_model'"),
        ({"model_type": None}, "model_type is None"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; expected 'gelu_pytorch_tanh'"),
        ({"vision_use_head": False}, "vision_use_head is False; expected True"),
        ({"num_channels": 1}, "num_channels is 1; expected 3"),
        ({"num_attention_heads": 5}, "expected a width that the heads divide"),
        ({"hidden_size": 0}, "hidden_size is 0; expected a whole number"),
        ({"hidden_size": "48"}, "hidden_size is '48'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_hidden_layers": 10**9}, "expected at most 1024"),
        ({"image_size": [32, 48]}, r"image_size is \[32, 48\]"),
        ({"image_size": 8}, "at least one patch"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
    ],
)
def test_config_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_json(tmp_path / "config.json", VISION | change)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_vision_config(tmp_path / "config.json")
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not readable JSON"),
        ('{"model_type": ', "is not readable JSON"),
        ("[1]", "holds a JSON list; expected a JSON object"),
        ('{"model_type": "siglip", "model_type": "siglip"}', "the same key twice: 'model_type'"),
        ('{"layer_norm_eps": NaN}', "NaN is not a number"),
        ("[" * 100_000, "is not readable JSON"),
    ],
)
def test_config_that_is_no_json(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_vision_config(tmp_path / "config.json")


# --- preprocessor_config.json ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (3, "bicubic"), ("bicubic", "bicubic"), ("BILINEAR", "bilinear")],
)
def test_resample(tmp_path: Path, value: object, expected: str) -> None:
    write_json(tmp_path / "p.json", PREPROCESSOR | {"resample": value})
    assert read_preprocess(tmp_path / "p.json", IMAGE).resample == expected


def test_resample_numbers_are_pillows(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(6):
        write_json(tmp_path / "p.json", PREPROCESSOR | {"resample": number})
        assert read_preprocess(tmp_path / "p.json", IMAGE).resample.upper() == Image.Resampling(number).name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resample": 6}, "resample is 6; expected Pillow's number or name"),
        ({"resample": None}, "resample is None"),
        ({"resample": True}, "resample is True"),
        ({"resample": "cubic"}, "resample is 'cubic'"),
        ({"do_resize": False}, "do_resize is false; expected true"),
        ({"do_rescale": False}, "do_rescale is false"),
        ({"do_normalize": False}, "do_normalize is false"),
        ({"do_center_crop": True}, "do_center_crop is True; expected none"),
        ({"size": {"height": 32, "width": 31}}, "the image_size of config.json"),
        ({"size": 32}, "size is 32"),
        ({"size": {"shortest_edge": 32}}, "shortest_edge"),
        ({"image_mean": [0.5, 0.5]}, "expected three finite numbers"),
        ({"image_std": [0.5, 0.5, 0.0]}, "expected both above 0"),
        ({"rescale_factor": 0}, "expected both above 0"),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
    ],
)
def test_preprocessing_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_json(tmp_path / "preprocessor_config.json", PREPROCESSOR | change)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_preprocess(tmp_path / "preprocessor_config.json", IMAGE)
    assert "preprocessor_config.json" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_missing_encoder_file_is_named(tiny: Path, name: str) -> None:
    (tiny / "encoder" / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        _read(tiny)


# --- tensors against config.json ---


def _change_tensors(folder: Path, change: Change) -> None:
    path = folder / "encoder" / "model.safetensors"
    tensors = {k: v.copy() for k, v in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def test_every_difference_is_named(tiny: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        del tensors["vision_model.head.probe"]
        tensors["vision_model.post_layernorm.bias"] = np.zeros(HIDDEN + 1, np.float32)
        tensors["vision_model.post_layernorm.weight"] = np.zeros(HIDDEN, np.int32)
        tensors["vision_model.register_tokens"] = np.zeros(4, np.float32)

    _change_tensors(tiny, change)
    with pytest.raises(CheckpointError) as caught:
        _read(tiny)
    text = str(caught.value)
    assert "missing (1): vision_model.head.probe;" in text
    assert "vision_model.post_layernorm.bias in model.safetensors is F32 [49], expected a float of shape [48]" in text
    assert "vision_model.post_layernorm.weight in model.safetensors is I32 [48], expected a float" in text
    assert "unknown (1): vision_model.register_tokens in model.safetensors" in text


def test_every_tensor_is_needed(tiny: Path) -> None:
    whole = load_file(tiny / "encoder" / "model.safetensors")
    for name in tower():
        save_file({k: v for k, v in whole.items() if k != name}, tiny / "encoder" / "model.safetensors")
        with pytest.raises(CheckpointError, match=rf"missing \(1\): {name.replace('.', '[.]')}\."):
            _read(tiny)


def test_config_of_another_depth(tiny: Path) -> None:
    _change_json(tiny / "encoder" / "config.json", lambda d: d["vision_config"].update(num_hidden_layers=3))
    with pytest.raises(CheckpointError, match=r"missing \(16\): vision_model\.encoder\.layers\.2"):
        _read(tiny)


# --- heads ---


def _heads_with(tmp_path: Path, state: Any) -> Path:
    pytest.importorskip("torch")
    save_torch(tmp_path / "model_awe_best.pth", state)
    return tmp_path / "model_awe_best.pth"


@pytest.mark.parametrize("widths", [(48, 1), (1152, 128, 32, 1), (48, 9, 8, 7, 6, 1)])
def test_head_of_any_depth(tmp_path: Path, widths: tuple[int, ...]) -> None:
    state = head_state(1, widths)
    for wrapped in (state, {"state_dict": state, "epoch": 3}):
        layers = read_head(_heads_with(tmp_path, wrapped))
        assert [w.shape for w, _ in layers] == [(b, a) for a, b in pairwise(widths)]
        for i, (weight, bias) in enumerate(layers):
            np.testing.assert_array_equal(weight, state[f"layers.{3 * i}.weight"])
            np.testing.assert_array_equal(bias, state[f"layers.{3 * i}.bias"])


def test_layers_beyond_ten_come_in_number_order(tmp_path: Path) -> None:
    widths = (4, 8, 7, 6, 5, 1)  # layers.0, .3, .6, .9, .12: as text, .12 comes before .3
    layers = read_head(_heads_with(tmp_path, dict(reversed(head_state(2, widths).items()))))
    assert [w.shape[0] for w, _ in layers] == list(widths[1:])


def _without(*keys: str) -> dict[str, np.ndarray]:
    return {k: v for k, v in head_state(0).items() if k not in keys}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (_without("layers.3.bias"), r"has layers\.3 without its bias"),
        (_without("layers.6.weight"), r"has layers\.6 without its weight"),
        (_without("layers.3.weight", "layers.3.bias"), r"at \[0, 6\]; expected 0, 3, 6"),
        (_without("layers.0.weight", "layers.0.bias"), r"at \[3, 6\]; expected 0, 3, 6"),
        (_without("layers.6.weight", "layers.6.bias"), "gives 5 values a picture; expected one"),
        (head_state(0) | {"layers.1.weight": np.ones((6, 6)), "layers.1.bias": np.ones(6)}, r"at \[0, 1, 3, 6\]"),
        (head_state(0) | {"norm.weight": np.ones(3)}, "holds 'norm.weight'; expected only layers"),
        (head_state(0) | {"module.layers.0.weight": np.ones(3)}, "holds 'module.layers.0.weight'"),
        (head_state(0) | {"layers.3.weight": np.ones((5, 7))}, r"has shape \[5, 7\]; expected \[out, 6\]"),
        (head_state(0) | {"layers.3.weight": np.ones(5)}, r"has shape \[5\]; expected \[out, 6\]"),
        (head_state(0) | {"layers.3.bias": np.ones(6)}, r"layers\.3\.bias has shape \[6\]; expected \[5\]"),
        (head_state(0) | {"layers.6.bias": np.array([np.nan])}, r"layers\.6 holds NaN or infinity"),
        (head_state(0) | {"layers.6.bias": np.array([1e300])}, r"layers\.6 holds NaN or infinity"),
    ],
)
def test_heads_refused(tmp_path: Path, state: dict[str, np.ndarray], words: str) -> None:
    path = _heads_with(tmp_path, state)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_head(path)
    assert str(path) in str(caught.value)


def test_heads_of_different_widths(tiny: Path) -> None:
    path = write_head(tiny / "heads", "Fear", head_state(0, (HIDDEN, 7, 5, 1)))
    with pytest.raises(CheckpointError, match=rf"{path.name} has widths 48-7-5-1; expected 48-6-5-1"):
        _read(tiny)


def test_heads_of_another_encoder(tiny: Path) -> None:
    for name in EMOTIONS:
        write_head(tiny / "heads", name, head_state(0, (32, 6, 5, 1)))
    with pytest.raises(CheckpointError, match="takes 32 values; expected 48, the hidden_size"):
        _read(tiny)


def test_two_files_for_one_head(tiny: Path) -> None:
    shutil.copy(tiny / "heads" / "model_jealousy_&_envy_best.pth", tiny / "heads" / "model_jealousy_envy_best.pth")
    with pytest.raises(CheckpointError, match="both mean 'jealousy_envy'; expected one file a head"):
        _read(tiny)


def test_head_with_code_is_refused(tiny: Path) -> None:
    TorchFile(program(call("os.system", "true"))).write(tiny / "heads" / "model_boredom_best.pth")
    with pytest.raises(UnsafePickleError, match=r"model_boredom_best\.pth asks for 'os\.system'"):
        _read(tiny)


def test_dead_link_drops_no_head(tiny: Path) -> None:
    (tiny / "heads" / "model_boredom_best.pth").symlink_to(tiny / "gone")
    with pytest.raises(CheckpointError, match=r"model_boredom_best\.pth is no file"):
        find_heads(tiny / "heads")


@pytest.mark.parametrize("name", ["model__best.pth", "model_&_best.pth", "model_model_awe_best_best.pth"])
def test_heads_without_a_usable_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"expected model_<name>_best\.pth"):
        find_heads(tmp_path)


def test_folder_without_heads(tmp_path: Path) -> None:
    (tmp_path / "awe.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"holds awe\.pth; expected heads named model_\*_best\.pth"):
        find_heads(tmp_path)


# --- neutral means ---

STEMS = {n: taxonomy.file_stem(n) for n in EMOTIONS}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "stem": lambda n: STEMS[n],
    "file": lambda n: STEMS[n] + ".pth",
    "bare": lambda n: STEMS[n].removeprefix("model_").removesuffix("_best"),
    "official": lambda n: n,
}


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("spelling", list(SPELLINGS))
@pytest.mark.parametrize(
    "file", ["neutral_stats_cache", "neutral_stats_cache.json", "neutral_stats_cache-_human-binary-big-mlps_v8"]
)
def test_means_in_every_form(tiny: Path, file: str, spelling: str, record: bool) -> None:
    (tiny / "heads" / "neutral_stats_cache_large").unlink()
    values = {SPELLINGS[spelling](n): -0.5 * i for i, n in enumerate(EMOTIONS)}
    doc = {k: {"mean": v, "std": 0.1} for k, v in values.items()} if record else values
    write_json(tiny / "heads" / file, doc | {"model_unheard_of_best": "not a number", "arousal": 3.0})
    found = _read(tiny).neutral_means
    assert found == {taxonomy.slug(n): -0.5 * i for i, n in enumerate(EMOTIONS)}


def test_without_means(tiny: Path) -> None:
    (tiny / "heads" / "neutral_stats_cache_large").unlink()
    assert _read(tiny).neutral_means is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("model_fear_best"), r"has no mean for 1 of 40 heads \(fear\)"),
        (lambda d: d.update(fear=99), "'fear' occurs in two spellings with the means"),
        (lambda d: d.update(model_fear_best=None), "'model_fear_best' has None; expected a finite number"),
        (lambda d: d.update(model_fear_best=True), "expected a finite number"),
        (lambda d: d.update(model_fear_best={"std": 1}), "expected a finite number"),
        (lambda d: d.update(model_fear_best={"mean": "1.0"}), "expected a finite number"),
        (lambda d: d.update(model_fear_best={"mean": [1.0]}), "expected a finite number"),
        (lambda d: d.update(model_fear_best=10**400), "expected a finite number"),
        (lambda d: d.update(model_fear_best=float("nan")), "NaN is not a number"),
        (lambda d: d.update(model_fear_best=float("inf")), "Infinity is not a number"),
    ],
)
def test_means_refused(tiny: Path, change: Change, words: str) -> None:
    _change_json(tiny / "heads" / "neutral_stats_cache_large", change)
    with pytest.raises(CheckpointError, match=words) as caught:
        _read(tiny)
    assert "neutral_stats_cache_large" in str(caught.value)


def test_same_mean_in_two_spellings_is_no_contradiction(tiny: Path) -> None:
    _change_json(tiny / "heads" / "neutral_stats_cache_large", lambda d: d.update(amusement=mean_of(0)))
    means = _read(tiny).neutral_means
    assert means is not None
    assert means["amusement"] == mean_of(0)


def test_two_files_of_means(tiny: Path) -> None:
    shutil.copy(tiny / "heads" / "neutral_stats_cache_large", tiny / "heads" / "neutral_stats_cache_small")
    with pytest.raises(CheckpointError, match=r"has 2 files of neutral means .*; expected one"):
        _read(tiny)


def test_the_published_name_is_preferred(tiny: Path) -> None:
    means = {n: -0.5 * i for i, n in enumerate(EMOTIONS)}
    write_json(tiny / "heads" / "neutral_stats_cache-_human-binary-big-mlps.json", means)
    assert _read(tiny).neutral_means == {taxonomy.slug(n): mean for n, mean in means.items()}


# --- emonet_fast.json ---


def test_switches(tiny: Path) -> None:
    write_json(tiny / "heads" / "emonet_fast.json", {"untrained": True, "l2_normalise": False})
    found = _read(tiny)
    assert (found.untrained, found.l2_normalise) == (True, False)


@pytest.mark.parametrize("doc", [{"untrained": 1}, {"l2_normalise": None}, {"l2_normalize": True}])
def test_switches_refused(tiny: Path, doc: dict[str, Any]) -> None:
    write_json(tiny / "heads" / "emonet_fast.json", doc)
    with pytest.raises(CheckpointError, match=r"emonet_fast\.json"):
        _read(tiny)


@pytest.mark.parametrize("name", ["encoder/config.json", "heads", "encoder/model.safetensors"])
def test_what_may_not_be_read_is_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither the cache is blamed for it, nor is a closed folder empty or a closed file damaged."""
    closed = str(tiny / name)

    def closing(real: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(path: Any, *args: Any, **options: Any) -> Any:
            if os.fspath(path) == closed:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), closed)
            return real(path, *args, **options)

        return refusing

    # What is refused of each: to look at a file of a closed folder, to list that folder, to open a file.
    refused = {"config.json": [(os, "stat")], "heads": [(os, "listdir"), (os, "scandir")]}.get(Path(name).name)
    for module, function in refused or [(io, "open")]:
        monkeypatch.setattr(module, function, closing(getattr(module, function)))
    with pytest.raises(CheckpointError, match=f"^{re.escape(closed)} could not be read \\(Permission denied\\)"):
        open_checkpoint(tiny, tmp_path / "cache")
