"""Safetensors files: what is read is what the safetensors library wrote, and the other way round."""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from emonet_fast.checkpoint.tensors import EncoderFiles, Entry, SafetensorsFile, write_safetensors
from emonet_fast.errors import CheckpointError

from .layouts import TEXT, tower


def _entry(name: str, array: np.ndarray, pieces: int = 1) -> Entry:
    return Entry(name, array.shape, lambda: np.array_split(array, pieces) if pieces > 1 else [array])


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_array_is_a_view_of_the_file(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "f.safetensors"
    values = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    save_file({"a": np.ones(5, np.int8), "b": values}, path, metadata={"k": "v"})
    file = SafetensorsFile(path)
    found = file.array("b")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype
    assert file.metadata == {"k": "v"}
    assert not found.flags.writeable
    owner = found
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert isinstance(owner, np.memmap)


def test_offsets_are_absolute(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    values = {"a": np.arange(6, dtype=np.float32), "b": np.arange(8, dtype=np.float32).reshape(2, 4) + 100}
    save_file(values, path)
    data = path.read_bytes()
    for name, info in SafetensorsFile(path).infos.items():
        assert info.dtype == "F32"
        assert info.shape == values[name].shape
        assert data[info.offset : info.offset + info.nbytes] == values[name].tobytes()


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = torch.tensor([[1.0, -2.5], [3.1415926, 1e38]], dtype=torch.bfloat16)
    save_torch({"x": values, "s": values[0, 1].clone()}, tmp_path / "f.safetensors")
    file = SafetensorsFile(tmp_path / "f.safetensors")
    scalar = file.array("s")
    assert isinstance(scalar, np.ndarray)
    assert scalar.shape == ()
    assert float(scalar) == -2.5
    found = file.array("x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.float().numpy())


def test_scalar_and_empty_tensors(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    save_file({"s": np.array(2.5, np.float32), "e": np.zeros((0, 3), np.float32)}, path)
    file = SafetensorsFile(path)
    assert file.array("s").shape == ()
    assert float(file.array("s")) == 2.5
    assert file.array("e").shape == (0, 3)


def test_other_dtypes_and_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    save_file({"i": np.arange(3)}, path)
    with pytest.raises(CheckpointError, match=r"'i' has dtype I64; expected F16"):
        SafetensorsFile(path).array("i")
    with pytest.raises(CheckpointError, match=r"no tensor 'j'"):
        SafetensorsFile(path).array("j")


@pytest.mark.parametrize("keep", [0, 4, 8, 60, 200, -1])
def test_truncated_files_name_themselves(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(64, np.float32), "b": np.zeros(64, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .* is not a complete safetensors file"):
        SafetensorsFile(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found nothing; expected a safetensors file"):
        SafetensorsFile(tmp_path / "no.safetensors")
    with pytest.raises(CheckpointError, match="found a folder"):
        SafetensorsFile(tmp_path)


def _outcome(path: Path) -> SafetensorsFile | CheckpointError:
    try:
        return SafetensorsFile(path)
    except CheckpointError as error:
        return error


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_damaged_headers_raise_only_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "f.safetensors"
    save_file({"a": np.zeros(4, np.float32), "b": np.zeros((2, 2), np.float16)}, path, metadata={"k": "v"})
    data = bytearray(path.read_bytes())
    for place, mask in flips:
        data[place % len(data)] ^= mask
    path.write_bytes(bytes(data))
    file = _outcome(path)
    if isinstance(file, CheckpointError):
        assert "f.safetensors" in str(file)
        return
    for name, info in file.infos.items():
        assert info.offset + info.nbytes <= len(data)
        if info.dtype in ("F32", "F16", "F64", "BF16"):
            assert file.array(name).shape == info.shape


def test_written_file_is_read_by_the_library(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    values = {
        "z": np.arange(30, dtype=np.float32).reshape(5, 6),
        "a": np.linspace(0, 1, 7),  # float64 becomes float32
        "t": np.arange(12, dtype=np.float32).reshape(3, 4).T,  # not contiguous
    }
    write_safetensors(
        path, [_entry("z", values["z"], 3), _entry("a", values["a"]), _entry("t", values["t"])], {"m": "1"}
    )
    found = load_file(path)
    for name, value in values.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value.astype(np.float32))
    file = SafetensorsFile(path)
    assert file.metadata == {"m": "1"}
    assert min(i.offset for i in file.infos.values()) % 64 == 0
    assert [n for n, _ in sorted(file.infos.items(), key=lambda x: x[1].offset)] == ["z", "a", "t"]
    assert [p.name for p in tmp_path.iterdir()] == ["f.safetensors"]


def test_finish_writes_final_metadata_and_progress_counts(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_safetensors(
        tmp_path / "f.safetensors",
        [_entry("a", np.ones((4, 2), np.float32), 2), _entry("b", np.ones(3, np.float32))],
        {"hash": "0000"},
        finish=lambda: {"hash": "abcd"},
        progress=lambda done, total: seen.append((done, total)),
    )
    assert SafetensorsFile(tmp_path / "f.safetensors").metadata == {"hash": "abcd"}
    np.testing.assert_array_equal(load_file(tmp_path / "f.safetensors")["b"], np.ones(3))
    assert seen == [(16, 44), (32, 44), (44, 44)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_nothing_half_written(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "f.safetensors"
    path.write_bytes(b"old")

    def chunks() -> Iterator[np.ndarray]:
        yield np.ones(2, np.float32)
        raise error("stop")

    with pytest.raises(CheckpointError if error is OSError else error):
        write_safetensors(path, [Entry("a", (4,), chunks)], {})
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.safetensors"]


@pytest.mark.parametrize(("values", "word"), [(3, "fewer"), (5, "more")])
def test_chunks_must_add_up(tmp_path: Path, values: int, word: str) -> None:
    entry = Entry("a", (4,), lambda: [np.ones(values, np.float32)])
    with pytest.raises(CheckpointError, match=f"'a' came with {word} values"):
        write_safetensors(tmp_path / "f.safetensors", [entry], {})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*create it first"):
        write_safetensors(tmp_path / "no" / "f.safetensors", [_entry("a", np.ones(1, np.float32))], {})


def test_final_metadata_must_not_grow(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kept free"):
        write_safetensors(tmp_path / "f.safetensors", [], {"a": ""}, finish=lambda: {"a": "x" * 200})
    assert list(tmp_path.iterdir()) == []


def _shard(folder: Path, shards: dict[str, dict[str, np.ndarray]], weight_map: dict[str, object]) -> None:
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_encoder_in_one_file_leaves_the_text_tower(tmp_path: Path) -> None:
    values = tower()
    save_file(TEXT | values, tmp_path / "model.safetensors")
    files = EncoderFiles(tmp_path)
    assert set(files.infos) == set(values)
    assert files.paths == (tmp_path / "model.safetensors",)
    np.testing.assert_array_equal(files.array("vision_model.head.probe"), values["vision_model.head.probe"])
    with pytest.raises(CheckpointError, match="no tensor 'logit_scale'"):
        files.array("logit_scale")


def test_bare_tower_of_transformers_5_has_published_names(tmp_path: Path) -> None:
    save_file(tower(prefix=""), tmp_path / "model.safetensors")
    files = EncoderFiles(tmp_path)
    assert set(files.infos) == set(tower())
    name = "vision_model.post_layernorm.weight"
    np.testing.assert_array_equal(files.array(name), tower()[name])


def test_shards_of_the_text_tower_are_never_opened(tmp_path: Path) -> None:
    values = tower()
    names = sorted(values)
    a, b = {n: values[n] for n in names[:9]}, {n: values[n] for n in names[9:]}
    weight_map: dict[str, object] = dict.fromkeys(a, "model-1.safetensors") | dict.fromkeys(b, "model-2.safetensors")
    weight_map |= dict.fromkeys(TEXT, "model-3.safetensors")  # not even there
    _shard(tmp_path, {"model-1.safetensors": a, "model-2.safetensors": b}, weight_map)
    files = EncoderFiles(tmp_path)
    assert [p.name for p in files.paths] == [
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    ]
    for name, value in values.items():
        np.testing.assert_array_equal(files.array(name), value)


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "a/b.safetensors", "/x.safetensors", "..", "x.bin", "a\\b.safetensors", 3, ""]
)
def test_index_must_not_leave_its_folder(tmp_path: Path, shard: object) -> None:
    _shard(tmp_path, {}, {"vision_model.head.probe": shard})
    with pytest.raises(CheckpointError, match="names the shard"):
        EncoderFiles(tmp_path)


def test_index_that_lies(tmp_path: Path) -> None:
    shards = {"model-1.safetensors": {"vision_model.a": np.ones(1, np.float32)}}
    _shard(tmp_path, shards, {"vision_model.b": "model-1.safetensors"})
    with pytest.raises(
        CheckpointError, match=r"says that 'vision_model\.b' is in model-1\.safetensors, which lacks it"
    ):
        EncoderFiles(tmp_path)


def test_encoder_without_weights_or_tower(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has neither model\.safetensors nor"):
        EncoderFiles(tmp_path)
    save_file(TEXT, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no tensor whose name begins with 'vision_model\.'"):
        EncoderFiles(tmp_path)


def test_reading_one_tensor_reads_little(tmp_path: Path) -> None:
    """A file with a hole of 8 GB: anything that reads all of it shows at once in time and memory."""
    path = tmp_path / "big.safetensors"
    hole = 8 << 30
    header = json.dumps(
        {
            "text_model.big": {"dtype": "F32", "shape": [hole // 4], "data_offsets": [0, hole]},
            "vision_model.x": {"dtype": "F32", "shape": [2], "data_offsets": [hole, hole + 8]},
        }
    ).encode()
    with path.open("wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        f.seek(hole, os.SEEK_CUR)
        f.write(np.array([3, 4], "<f4").tobytes())
    np.testing.assert_array_equal(SafetensorsFile(path).array("vision_model.x"), [3, 4])


def _by_hand(path: Path, header: str, data: bytes, length: int | None = None) -> Path:
    text = header.encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


_A = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("{" + _A + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),  # overlap
        ("{" + _A + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}', 12),  # a gap
        ("{" + _A + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 4),  # beyond the end
        ("{" + _A + "}", 8),  # bytes that belong to nothing
        ('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4),  # shape and size differ
        ('{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}', 4),  # overflows to 4 bytes
        ("{" + _A + "," + _A + "}", 4),  # one name twice
        ('{"__metadata__":{"k":"1","k":"2"},' + _A + "}", 4),
    ],
)
def test_headers_that_lie(tmp_path: Path, header: str, size: int) -> None:
    assert SafetensorsFile(_by_hand(tmp_path / "good.safetensors", "{" + _A + "}", bytes(4))).array("a").shape == (1,)
    with pytest.raises(CheckpointError, match="lying"):
        SafetensorsFile(_by_hand(tmp_path / "lying.safetensors", header, bytes(size)))


@pytest.mark.parametrize("length", [3, 10**9, 2**63, 2**64 - 1])
def test_header_lengths_that_lie(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match=r"lying\.safetensors .* is not a complete safetensors file"):
        SafetensorsFile(_by_hand(tmp_path / "lying.safetensors", "{" + _A + "}", bytes(4), length))
