"""The packed file: holds what was published, says when it was changed, and is refused when it breaks its contract."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from emonet_fast import taxonomy
from emonet_fast.checkpoint import pack_to
from emonet_fast.checkpoint.detector import packed_detector
from emonet_fast.checkpoint.given_heads import given_heads
from emonet_fast.checkpoint.heads import Switches
from emonet_fast.checkpoint.heads_writer import write_heads
from emonet_fast.checkpoint.pack import encoder_hash, open_packed, pack, verify_hash, write_packed
from emonet_fast.checkpoint.packed_metadata import KEY
from emonet_fast.checkpoint.published import Published
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.checkpoint.tensors import Entry, write_safetensors
from emonet_fast.errors import CheckpointError, OptionError

from .layouts import (
    EMOTIONS,
    HIDDEN,
    IMAGE,
    WIDTHS,
    head_state,
    mean_of,
    tower,
    write_head,
    write_json,
    write_published,
)


def _published(folder: Path, source: str = "a test") -> Published:
    return Published(folder / "encoder", folder / "heads", source)


@pytest.fixture(scope="module")
def packed(tiny_original: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return pack(_published(tiny_original), tmp_path_factory.mktemp("packed") / "tiny.safetensors")


def test_tensors_are_the_published_ones(packed: Checkpoint) -> None:
    found = load_file(packed.path)  # by the library
    for name, value in tower().items():
        np.testing.assert_array_equal(found.pop(name), value)
    order = [EMOTIONS.index(d.name) for d in taxonomy.EMOTIONS]
    for i in range(len(WIDTHS) - 1):
        for part in ("weight", "bias"):
            expected = np.stack([head_state(k)[f"layers.{3 * i}.{part}"] for k in order])
            stacked = found.pop(f"heads.{i}.{part}")
            assert stacked.dtype == np.float32
            np.testing.assert_array_equal(stacked, expected)
    assert not found
    assert packed.tensors["heads.0.weight"].shape == (40, WIDTHS[1], WIDTHS[0])


def test_fields(packed: Checkpoint) -> None:
    assert packed.names == tuple(d.slug for d in taxonomy.EMOTIONS)
    assert packed.head_widths == WIDTHS
    assert packed.neutral_means == {d.slug: mean_of(i) for i, d in enumerate(taxonomy.EMOTIONS)}
    assert packed.preprocess.size == IMAGE
    assert packed.preprocess.resample == "bilinear"
    assert (packed.l2_normalise, packed.untrained, packed.source) == (True, False, "a test")
    assert all(info.offset % 4 == 0 and info.dtype == "F32" for info in packed.tensors.values())
    assert min(info.offset for info in packed.tensors.values()) % 64 == 0
    assert open_packed(packed.path) == packed


def test_heads_are_stacked_by_name_not_by_file_order(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    names = ("Valence", "Zeal", "Jealousy & Envy", "Amusement", "Boredom")
    folder = write_published(tmp_path / "t", names)
    checkpoint = pack(_published(folder), tmp_path / "p.safetensors")
    assert checkpoint.names == ("amusement", "jealousy_envy", "valence", "boredom", "zeal")
    biases = load_file(checkpoint.path)["heads.2.bias"]
    for row, i in enumerate((3, 2, 0, 4, 1)):
        np.testing.assert_array_equal(biases[row], head_state(i)["layers.6.bias"])


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_dtypes_become_float32(tiny: Path, tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = {n: torch.from_numpy(v).to(getattr(torch, dtype)) for n, v in tower().items()}
    save_torch(values, tiny / "encoder" / "model.safetensors")
    found = load_file(pack(_published(tiny), tmp_path / "p.safetensors").path)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value.float().numpy())


def test_shards_give_the_same_hash(tiny: Path, packed: Checkpoint, tmp_path: Path) -> None:
    encoder = tiny / "encoder"
    tensors = load_file(encoder / "model.safetensors")
    (encoder / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    weight_map = {}
    for i, (name, value) in enumerate(tensors.items()):
        shard = list(shards)[i % 2]
        shards[shard][name] = value
        weight_map[name] = shard
    for shard, part in shards.items():
        save_file(part, encoder / shard)
    write_json(encoder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    assert pack(_published(tiny), tmp_path / "p.safetensors").weights_hash == packed.weights_hash


def test_hash_is_that_of_the_contract(packed: Checkpoint) -> None:
    """Computed again from docs/packed-checkpoint.md's words, with nothing of the package."""
    from hashlib import sha256

    with safe_open(packed.path, "np") as file:
        doc = json.loads(file.metadata()["emonet_fast"])
    scoring = {k: doc[k] for k in ("vision", "preprocess", "heads", "neutral_means", "l2_normalise")}
    text = json.dumps(scoring, sort_keys=True, separators=(",", ":")) + "\n"
    for name, value in sorted(load_file(packed.path).items()):
        line = [name, "F32", list(value.shape), sha256(value.tobytes()).hexdigest()]
        text += json.dumps(line, separators=(",", ":")) + "\n"
    assert packed.weights_hash == "sha256:" + sha256(text.encode()).hexdigest()


def _scale_head(folder: Path) -> None:
    state = head_state(5)
    write_head(folder / "heads", EMOTIONS[5], state | {"layers.6.bias": state["layers.6.bias"] + np.float32(1e-6)})


def _other_mean(folder: Path) -> None:
    path = folder / "heads" / "neutral_stats_cache_large"
    write_json(path, json.loads(path.read_text()) | {"model_awe_best": 0.25})


def _other_resample(folder: Path) -> None:
    path = folder / "encoder" / "preprocessor_config.json"
    write_json(path, json.loads(path.read_text()) | {"resample": 3})


CHANGES: dict[str, Callable[[Path], object]] = {
    "head": _scale_head,
    "mean": _other_mean,
    "no means": lambda f: (f / "heads" / "neutral_stats_cache_large").unlink(),
    "resample": _other_resample,
    "l2": lambda f: write_json(f / "heads" / "emonet_fast.json", {"l2_normalise": False}),
    "fewer heads": lambda f: (f / "heads" / "model_awe_best.pth").unlink(),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_whatever_decides_a_score_is_in_the_hash(tiny: Path, packed: Checkpoint, tmp_path: Path, what: str) -> None:
    CHANGES[what](tiny)
    changed = pack(_published(tiny), tmp_path / "p.safetensors")
    assert changed.weights_hash != packed.weights_hash
    assert verify_hash(changed) == changed.weights_hash
    # Heads do not decide an embedding, pictures' preprocessing does.
    assert (encoder_hash(changed) == encoder_hash(packed)) == (what != "resample")


def test_source_and_mark_are_not_in_the_hash(tiny: Path, packed: Checkpoint, tmp_path: Path) -> None:
    write_json(tiny / "heads" / "emonet_fast.json", {"untrained": True})
    other = pack(_published(tiny, "elsewhere"), tmp_path / "p.safetensors")
    assert (other.source, other.untrained) == ("elsewhere", True)
    assert other.weights_hash == packed.weights_hash


def test_progress_ends_at_the_size_of_the_data(tiny_original: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    checkpoint = pack(_published(tiny_original), tmp_path / "p.safetensors", lambda *a: seen.append(a))
    total = sum(i.nbytes for i in checkpoint.tensors.values())
    assert seen[-1] == (total, total)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    again: list[tuple[int, int]] = []
    verify_hash(checkpoint, lambda *a: again.append(a))
    assert again[-1] == (total, total)


def test_flipped_bit_is_found(packed: Checkpoint, tmp_path: Path) -> None:
    for name in ("heads.0.weight", "vision_model.head.probe"):
        data = bytearray(packed.path.read_bytes())
        data[packed.tensors[name].offset + 2] ^= 1
        path = tmp_path / "p.safetensors"
        path.write_bytes(bytes(data))
        with pytest.raises(CheckpointError, match=r"p\.safetensors has the hash sha256:.*; it states sha256:"):
            verify_hash(open_packed(path))


def test_existing_file_is_replaced_and_inputs_are_not(tiny: Path, packed: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(b"something else")
    assert pack(_published(tiny), path).weights_hash == packed.weights_hash
    (tmp_path / "link").symlink_to(tiny / "encoder" / "model.safetensors")
    for target in (tiny / "encoder" / "model.safetensors", tiny / "heads" / "model_awe_best.pth", tmp_path / "link"):
        before = target.read_bytes()
        with pytest.raises(OptionError, match="is an input too"):
            pack(_published(tiny), target)
        assert target.read_bytes() == before


def test_targets_that_cannot_be(tiny_original: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found a folder"):
        pack(_published(tiny_original), tmp_path)
    with pytest.raises(CheckpointError, match="found no folder"):
        pack(_published(tiny_original), tmp_path / "no" / "p.safetensors")


def test_nan_in_the_encoder_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    tensors = {k: v.copy() for k, v in load_file(tiny / "encoder" / "model.safetensors").items()}
    tensors["vision_model.encoder.layers.1.mlp.fc1.weight"][3, 4] = np.nan
    save_file(tensors, tiny / "encoder" / "model.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.fc1\.weight' holds NaN or infinity"):
        pack(_published(tiny), out / "p.safetensors")
    assert list(out.iterdir()) == []


def test_interrupted_packing_leaves_nothing(tiny_original: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(_published(tiny_original), tmp_path / "p.safetensors", stop)
    assert list(tmp_path.iterdir()) == []


# --- packed files against their contract ---


def _rewritten(packed: Checkpoint, path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
    """The packed file with its document and tensors changed, written by the library."""
    tensors = dict(load_file(packed.path))
    with safe_open(packed.path, "np") as file:
        doc = json.loads(file.metadata()["emonet_fast"])
    change(doc, tensors)
    save_file(tensors, path, metadata={"emonet_fast": json.dumps(doc)})
    return path


def test_rewriting_by_the_library_keeps_it_valid(packed: Checkpoint, tmp_path: Path) -> None:
    path = _rewritten(packed, tmp_path / "p.safetensors", lambda doc, tensors: None)
    found = open_packed(path)
    assert verify_hash(found) == packed.weights_hash
    assert found.names == packed.names
    assert found.stated_encoder == ""  # as of an earlier version: it is computed
    assert encoder_hash(found) == packed.stated_encoder != ""


CONTRACT: list[tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = [
    (lambda d, t: d.update(format="x"), "format is 'x'; expected 'emonet-fast packed checkpoint'"),
    (lambda d, t: d.update(version=2), "version is 2; expected 1. A later one needs a newer emonet-fast"),
    (lambda d, t: d.update(version="1"), "version is '1'"),
    (lambda d, t: d.update(surprise=1), r"has \['surprise'\] beyond"),
    (lambda d, t: d.pop("l2_normalise"), r"lacks \['l2_normalise'\]"),
    (lambda d, t: d.update(l2_normalise="yes"), "l2_normalise is 'yes'"),
    (lambda d, t: d.update(untrained=None), "untrained is None"),
    (lambda d, t: d.update(source=1), "source is 1; expected a text"),
    (lambda d, t: d.update(weights_hash="md5:0"), "weights_hash is 'md5:0'"),
    (lambda d, t: d.update(vision=[]), r"vision is \[\]; expected an object"),
    (lambda d, t: d["vision"].update(hidden_size=47), "expected a width that the heads divide"),
    (lambda d, t: d["vision"].update(hidden_size=96), "widths are"),
    (lambda d, t: d["vision"].update(num_hidden_layers=3), r"layers\.2\..* is missing"),
    (lambda d, t: d["vision"].update(num_hidden_layers=1), r"layers\.1\..*; expected no such tensor"),
    (lambda d, t: d["vision"].update(layer_norm_eps=-1), "layer_norm_eps is -1"),
    (lambda d, t: d["vision"].update(hidden_act="relu"), r"has \['hidden_act'\] beyond"),
    (lambda d, t: d["preprocess"].update(size=16), "size is 16; expected vision's image_size 32"),
    (lambda d, t: d["preprocess"].update(resample=2), "resample is 2; expected one of nearest"),
    (lambda d, t: d["preprocess"].update(std=[1, 1, 0]), "expected both above 0"),
    (lambda d, t: d["preprocess"].update(mean=[1, 1]), "expected three finite numbers"),
    (lambda d, t: d["heads"].update(names=d["heads"]["names"][::-1]), "emotions in the guide's order"),
    (lambda d, t: d["heads"].update(names=["awe"] * 40), "expected distinct column names"),
    (lambda d, t: d["heads"].update(names=[*d["heads"]["names"][:-1], "Zeal"]), "expected distinct column names"),
    (lambda d, t: d["heads"].update(names=[]), "expected 1 to 1000 names"),
    (lambda d, t: d["heads"].update(widths=[48, 6, 5, 2]), "expected 48 first and 1 last"),
    (lambda d, t: d["heads"].update(widths=[48, 6, 1]), r"tensor 'heads\.1\.bias' is \[40, 5\]; expected \[40, 1\]"),
    (lambda d, t: d["heads"].update(widths=[48]), "expected 2 to 1000 whole numbers"),
    (lambda d, t: d["neutral_means"].pop("awe"), r"lacks \['awe'\]"),
    (lambda d, t: d["neutral_means"].update(zeal=1.0), r"has \['zeal'\] beyond"),
    (lambda d, t: d["neutral_means"].update(awe=None), "awe is None; expected a finite number"),
    (lambda d, t: d["neutral_means"].update(awe=float("nan")), "NaN is not a number"),
    (lambda d, t: t.pop("heads.2.bias"), r"'heads\.2\.bias' is missing; expected \[40, 1\]"),
    (lambda d, t: t.update(extra=np.ones(1, np.float32)), r"'extra' is \[1\]; expected no such tensor"),
    (lambda d, t: t.update({"heads.2.bias": np.ones((40, 1))}), r"'heads\.2\.bias' is F64 .* expected F32"),
    (lambda d, t: t.update({"heads.2.bias": np.ones((1, 40), np.float32)}), r"is \[1, 40\]; expected \[40, 1\]"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CONTRACT)))
def test_contract(packed: Checkpoint, tmp_path: Path, case: int) -> None:
    change, words = CONTRACT[case]
    path = _rewritten(packed, tmp_path / "p.safetensors", change)
    with pytest.raises(CheckpointError, match=words) as caught:
        open_packed(path)
    assert "p.safetensors" in str(caught.value)


def test_other_safetensors_files(tiny_original: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"without 'emonet_fast' in its metadata.*emonet-fast pack"):
        open_packed(tiny_original / "encoder" / "model.safetensors")
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "x.safetensors", metadata={"emonet_fast": "{"})
    with pytest.raises(CheckpointError, match="metadata is not readable JSON"):
        open_packed(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        open_packed(tiny_original / "heads" / "model_awe_best.pth")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_header_is_refused_or_means_the_same(
    packed: Checkpoint, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(packed.path.read_bytes())
    start = min(i.offset for i in packed.tensors.values())
    content[data.draw(st.integers(0, start - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "p.safetensors"
    path.write_bytes(bytes(content))
    found = _outcome(path)
    if isinstance(found, Checkpoint) and found.weights_hash == packed.weights_hash:
        score_facts = ("vision", "preprocess", "names", "head_widths", "neutral_means", "l2_normalise")
        same = all(getattr(found, f) == getattr(packed, f) for f in score_facts)
        assert same or isinstance(_outcome(path, verify=True), CheckpointError)


def _outcome(path: Path, verify: bool = False) -> Checkpoint | CheckpointError:
    try:
        checkpoint = open_packed(path)
        if verify:
            verify_hash(checkpoint)
    except CheckpointError as error:
        return error
    return checkpoint


def test_write_packed_checks_its_caller(packed: Checkpoint, tmp_path: Path) -> None:
    from emonet_fast.checkpoint.packed_metadata import from_json

    with safe_open(packed.path, "np") as file:
        description, _ = from_json(file.metadata()["emonet_fast"], "it")
    tensors = load_file(packed.path)
    entries = [Entry(n, v.shape, lambda v=v: [v]) for n, v in reversed(tensors.items())]
    assert write_packed(tmp_path / "p.safetensors", description, entries).weights_hash == packed.weights_hash
    with pytest.raises(CheckpointError, match="is missing; expected"):
        write_packed(tmp_path / "q.safetensors", description, entries[1:])
    assert not (tmp_path / "q.safetensors").exists()


def test_misaligned_tensors_are_refused(packed: Checkpoint, tmp_path: Path) -> None:
    """A header whose length is not a multiple of 4 would make every float32 straddle."""
    path = tmp_path / "p.safetensors"
    tensors = load_file(packed.path)
    with safe_open(packed.path, "np") as file:
        metadata = file.metadata()
    write_safetensors(path, [Entry(n, v.shape, lambda v=v: [v]) for n, v in tensors.items()], metadata)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    path.write_bytes((length + 2).to_bytes(8, "little") + data[8 : 8 + length] + b"  " + data[8 + length :])
    with pytest.raises(CheckpointError, match="expected F32 at a multiple of 4"):
        open_packed(path)


def test_packing_needs_no_torch(tiny_original: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from emonet_fast.checkpoint.pack import pack; "
        "from emonet_fast.checkpoint.published import Published; "
        "e, h, o = map(Path, sys.argv[1:]); pack(Published(e, h, ''), o); "
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules), 'imported'"
    )
    folders = [str(tiny_original / "encoder"), str(tiny_original / "heads"), str(tmp_path / "p.safetensors")]
    subprocess.run([sys.executable, "-c", code, *folders], check=True)
    shutil.rmtree(tmp_path)


def test_a_detector_rides_along_and_changes_no_hash(tiny: Path, packed: Checkpoint, tmp_path: Path) -> None:
    content = bytes(range(256)) * 900
    with_one = pack(_published(tiny), tmp_path / "p.safetensors", detector=content)
    assert packed_detector(with_one.path) == content
    assert verify_hash(with_one) == with_one.weights_hash == packed.weights_hash
    # Readers without a word of it see the same document, of the same version, and the same tensors.
    with safe_open(with_one.path, "np") as new, safe_open(packed.path, "np") as old:
        assert json.loads(new.metadata()[KEY]) == json.loads(old.metadata()[KEY]) | {"source": with_one.source}
        assert set(new.keys()) == set(old.keys())
    assert packed_detector(packed.path) is packed_detector(tiny) is packed_detector("large") is None


def test_a_damaged_or_too_large_detector_is_refused(tiny: Path, tmp_path: Path) -> None:
    path = pack(_published(tiny), tmp_path / "p.safetensors", detector=b"the detector").path
    data = path.read_bytes()
    good = base64.b64encode(b"the detector")
    assert data.count(good) == 1
    for bad in (good.swapcase(), b"#" * len(good)):
        path.write_bytes(data.replace(good, bad))
        with pytest.raises(CheckpointError, match="the detector in it is damaged"):
            packed_detector(path)
    with pytest.raises(CheckpointError, match="has 2000001 bytes; expected at most 2000000"):
        pack(_published(tiny), tmp_path / "q.safetensors", detector=b"0" * 2_000_001)
    assert not (tmp_path / "q.safetensors").exists()


def test_heads_of_a_folder_take_the_place_of_the_checkpoints_own(packed: Checkpoint, tmp_path: Path) -> None:
    heads = {"smile": [(np.full((1, HIDDEN), 0.5, np.float32), np.ones(1, np.float32))]}
    folder, path = tmp_path / "mine" / "heads", tmp_path / "p.safetensors"
    folder.parent.mkdir()
    write_heads(folder, heads, switches=Switches(encoder=encoder_hash(packed)))
    made = pack_to(packed.path, path, tmp_path, heads=folder)
    assert (made.names, made.head_widths, made.neutral_means) == (("smile",), (HIDDEN, 1), None)
    assert encoder_hash(made) == encoder_hash(packed)
    assert verify_hash(made) == made.weights_hash
    for whole in (path, folder, folder.parent, packed.path):
        assert given_heads(whole, tmp_path).encoder == encoder_hash(packed)
    assert np.array_equal(given_heads(path, tmp_path).heads["smile"][0][0], heads["smile"][0][0])
    assert given_heads(packed.path, tmp_path).heads["awe"][1][0].shape == WIDTHS[2:0:-1]
    write_heads(tmp_path / "other", heads, switches=Switches(encoder="sha256:" + "1" * 64))
    with pytest.raises(CheckpointError, match="for embeddings of the encoder sha256:1111"):
        pack_to(packed.path, tmp_path / "no.safetensors", tmp_path, heads=tmp_path / "other")
    assert not (tmp_path / "no.safetensors").exists()
