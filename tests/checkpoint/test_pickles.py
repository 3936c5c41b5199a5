"""The restricted reader: equal to torch on files of torch's, and harmless on files made to do harm."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.checkpoint.pickles import read_state_dict
from emonet_fast.errors import CheckpointError, UnsafePickleError

from .layouts import TorchFile, call, head_state, name, program, save_torch, storage, tensor

VALUES = np.arange(12, dtype=np.float32)
MEMBER = {"data/0": VALUES.tobytes()}
FLOATS = storage("FloatStorage", "0", 12)


def _written(tmp_path: Path, value: Any, members: dict[str, bytes] | None = None) -> Path:
    return TorchFile(program(value), MEMBER if members is None else members).write(tmp_path / "head.pth")


# --- what torch writes ---


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_module_state_dict_as_torch_loads_it(tmp_path: Path, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    path = tmp_path / "head.pth"
    torch.save(module.state_dict(), path, pickle_protocol=protocol)
    found = read_state_dict(path)
    expected = torch.load(path, weights_only=protocol == 2)  # its own restricted reader knows protocol 2 only
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == np.float32
        assert found[key].flags.c_contiguous
        np.testing.assert_array_equal(found[key], value.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_dtypes_views_and_shared_storages(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    base = torch.randn(6, 8, dtype=torch.float64).to(getattr(torch, dtype))
    state = {"all": base, "transposed": base.T, "part": base[1:5:2, 3:], "row": base[2], "one": base[0, 0]}
    torch.save(state, tmp_path / "head.pth")
    found = read_state_dict(tmp_path / "head.pth")
    for key, value in state.items():
        np.testing.assert_array_equal(found[key], value.float().numpy())
        assert found[key].flags.c_contiguous


def test_parameters_wrapped_in_a_training_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.randn(3, 4))
    wrapped = {"epoch": 7, "loss": 0.25, "state_dict": OrderedDict(w=weight), "best": True, "names": ["a", None]}
    torch.save(wrapped, tmp_path / "head.pth")
    found = read_state_dict(tmp_path / "head.pth")
    assert list(found) == ["w"]
    np.testing.assert_array_equal(found["w"], weight.detach().numpy())


def test_empty_tensor(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(0, 3)}, tmp_path / "head.pth")
    assert read_state_dict(tmp_path / "head.pth")["w"].shape == (0, 3)


def test_old_format_says_how_to_save_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2)}, tmp_path / "head.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"head\.pth was written by torch before 1\.6.*torch\.save\(") as caught:
        read_state_dict(tmp_path / "head.pth")
    assert not isinstance(caught.value, UnsafePickleError)


def test_integers_are_no_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(3)}, tmp_path / "head.pth")
    with pytest.raises(CheckpointError, match=r"LongStorage, expected float32, float16"):
        read_state_dict(tmp_path / "head.pth")


# --- what is made by hand: first that the hand-made file is a good one ---


def test_hand_made_file(tmp_path: Path) -> None:
    found = read_state_dict(_written(tmp_path, {"w": tensor(FLOATS, 1, (2, 3), (5, 1))}))
    np.testing.assert_array_equal(found["w"], [[1, 2, 3], [6, 7, 8]])


def test_big_endian(tmp_path: Path) -> None:
    members = {"data/0": VALUES.astype(">f4").tobytes(), "byteorder": b"big"}
    found = read_state_dict(_written(tmp_path, {"w": tensor(FLOATS, 0, (12,), (1,))}, members))
    np.testing.assert_array_equal(found["w"], VALUES)


class _Evil:
    """Pickles to a call of anything; would make the file `touched` if it ran."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def _evils(touched: Path) -> dict[str, Any]:
    command = f"touch {touched}"
    return {
        "posix.system": _Evil(os.system, command),
        "builtins.eval": _Evil(eval, f"open({str(touched)!r}, 'w')"),
        "builtins.exec": _Evil(exec, f"open({str(touched)!r}, 'w')"),
        "builtins.getattr": _Evil(getattr, os, "system"),
        "io.open": _Evil(open, str(touched), "w"),
        "builtins.__import__": _Evil(__import__, "os"),
    }


@pytest.mark.skipif(os.name != "posix", reason="os.system is pickled as posix.system")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("what", list(_evils(Path())))
@pytest.mark.parametrize("nested", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, what: str, protocol: int, nested: bool) -> None:
    touched = tmp_path / "touched"
    evil = _evils(touched)[what]
    if what == "builtins.getattr":  # a module cannot be pickled, and need not be: the name is met first
        evil = _Evil(getattr, "os", "system")
    value = {"state_dict": {"w": [({"deep": evil},)]}} if nested else evil
    path = TorchFile(pickle.dumps(value, protocol)).write(tmp_path / "head.pth")
    with pytest.raises(UnsafePickleError) as caught:
        read_state_dict(path)
    text = str(caught.value)
    assert "head.pth" in text
    if protocol >= 1 or not nested:  # nested text of protocol 0 is refused for its opcode before the name is met
        assert what.replace("builtins", "__builtin__") in text or what in text
    assert not touched.exists()


@pytest.mark.parametrize(
    "full",
    [
        "os.system", "subprocess.Popen", "torch.load", "torch.hub.load", "torch._utils.rebuild", "torch.FloatTensor",
        "collections.OrderedDict.popitem", "torch.nn.Linear", "numpy.core.multiarray._reconstruct",
        "emonet_fast.checkpoint.pickles.read_state_dict", "torch.float32.__class__", "torch.storage._load_from_bytes",
    ],
)  # fmt: skip
@pytest.mark.parametrize("called", [False, True])
def test_names_outside_the_list(tmp_path: Path, full: str, called: bool) -> None:
    value = call(full, "x") if called else name(full)
    with pytest.raises(UnsafePickleError, match=full.replace(".", r"\.")):
        read_state_dict(_written(tmp_path, {"w": tensor(FLOATS, 0, (12,), (1,)), "x": value}))


def test_dotted_name_on_the_stack(tmp_path: Path) -> None:
    """STACK_GLOBAL resolves dots in protocol 4: `collections` + `OrderedDict.__init__.__globals__`."""
    body = b"\x80\x04\x8c\x0bcollections\x8c\x20OrderedDict.__init__.__globals__\x93."
    with pytest.raises(UnsafePickleError, match=r"collections\.OrderedDict\.__init__\.__globals__"):
        read_state_dict(TorchFile(body).write(tmp_path / "head.pth"))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"\x80\x02(S'id'\nios\nsystem\n.", "STRING"),  # the text before INST is refused already
        (b"(ios\nsystem\n.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"\x80\x02(ccollections\nOrderedDict\no.", "OBJ"),
        (b"P0\n.", "PERSID"),
        (b"\x80\x05\x96\xff\xff\xff\x7f\x00\x00\x00\x00.", ""),  # 2 GB announced: damaged, not reserved
    ],
)
def test_opcodes_without_a_place_here(tmp_path: Path, body: bytes, word: str) -> None:
    with pytest.raises(UnsafePickleError if word else CheckpointError, match=word or "not a sound torch file"):
        read_state_dict(TorchFile(body).write(tmp_path / "head.pth"))


@pytest.mark.parametrize(
    "value",
    [
        call("collections.OrderedDict", [("a", 1)]),
        call("torch._utils._rebuild_tensor_v2", 1, 2),
        call("torch._utils._rebuild_parameter", 5),
        call("torch.FloatStorage", 5),
        call("torch.float32"),
        name("torch.FloatStorage"),
        tensor("not a storage", 0, (1,), (1,)),
        {"w": 5},
        {5: tensor(FLOATS, 0, (12,), (1,))},
        [tensor(FLOATS, 0, (12,), (1,))],
        {("nested", "key"): 1},
        {},
        None,
        {"state_dict": 3},
    ],
)
def test_allowed_names_in_wrong_places(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"head\.pth") as caught:
        read_state_dict(_written(tmp_path, value))
    assert not isinstance(caught.value, UnsafePickleError)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (13,), (1,)),
        (1, (12,), (1,)),
        (0, (3, 4), (5, 1)),
        (12, (1,), (1,)),
        (0, (2,), (12,)),
        (0, (2,), (2**61,)),
        (0, (2,), (2**63,)),
        (0, (2,), (-1,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (4, 12), (0, 1)),  # 12 values made into 48
        (0, (1000, 1000), (0, 0)),  # 12 values made into a million
        (0, (2**40,), (0,)),
        (0, (3, 4), (1,)),
        (0, (1,) * 9, (1,) * 9),
        (0, (True,), (1,)),
        (0, ("2",), (1,)),
        (0, (0, 2**62), (1, 1)),
        (0.0, (1,), (1,)),
        (0, [1], [1]),
    ],
)
def test_tensors_reaching_outside(tmp_path: Path, offset: Any, shape: Any, strides: Any) -> None:
    with pytest.raises(CheckpointError, match=r"head\.pth is not a sound torch file"):
        read_state_dict(_written(tmp_path, {"w": tensor(FLOATS, offset, shape, strides)}))


def test_many_tensors_of_one_storage_are_no_bomb(tmp_path: Path) -> None:
    big = storage("FloatStorage", "0", 4096)
    value = {f"w{i}": tensor(big, 0, (4096,), (1,)) for i in range(200)}
    with pytest.raises(CheckpointError, match="values out of a file of"):
        read_state_dict(_written(tmp_path, value, {"data/0": bytes(4 * 4096)}))


@pytest.mark.parametrize("key", ["../0", "/etc/passwd", "0/../../0", "", "a", "0\n", "١"])
def test_storage_keys_are_numbers(tmp_path: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match="a storage named"):
        read_state_dict(_written(tmp_path, {"w": tensor(storage("FloatStorage", key, 12), 0, (12,), (1,))}))


@pytest.mark.parametrize("count", [11, 13, 2**40, -1])
def test_storage_sizes_must_agree(tmp_path: Path, count: int) -> None:
    with pytest.raises(CheckpointError, match="storage 0 has 12 values, but"):
        read_state_dict(_written(tmp_path, {"w": tensor(storage("FloatStorage", "0", count), 0, (1,), (1,))}))


def test_missing_storage(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no member 'data/1'"):
        read_state_dict(_written(tmp_path, {"w": tensor(storage("FloatStorage", "1", 12), 0, (1,), (1,))}))


def test_unknown_byteorder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="byteorder b'middle'"):
        read_state_dict(_written(tmp_path, {}, {"byteorder": b"middle"}))


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    file = TorchFile(program({}), {"data/0": bytes(100_000_000)})
    file.compression = zipfile.ZIP_DEFLATED
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        read_state_dict(file.write(tmp_path / "head.pth"))


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    """A thousand entries of the central directory that share one member's bytes."""
    good = bytearray(TorchFile(program({}), {"data/0": bytes(100_000)}).data())
    start = good.rindex(b"PK\x01\x02")
    end = good.index(b"PK\x05\x06")
    entry = bytes(good[start:end])
    place = entry.index(b"archive/")
    copies = b"".join(entry[:place] + b"%07d" % i + entry[place + 7 :] for i in range(1000))
    tail = bytearray(good[end:])
    first = struct.unpack_from("<I", tail, 16)[0]
    struct.pack_into("<HHII", tail, 8, 1003, 1003, end - first + len(copies) - (end - start) + (end - start), first)
    path = tmp_path / "head.pth"
    path.write_bytes(bytes(good[:end]) + copies + bytes(tail))
    with pytest.raises(CheckpointError, match="members of"):
        read_state_dict(path)


def test_same_member_twice_and_no_pickle(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", program({}))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.pkl", program({}))
    (tmp_path / "head.pth").write_bytes(out.getvalue())
    with pytest.raises(CheckpointError, match=r"the member 'archive/data\.pkl' twice"):
        read_state_dict(tmp_path / "head.pth")
    file = TorchFile(b"")
    del file.members["data.pkl"]
    with pytest.raises(CheckpointError, match=r"0 members named \*/data\.pkl"):
        read_state_dict(file.write(tmp_path / "head.pth"))


def test_huge_memo_index_reserves_nothing(tmp_path: Path) -> None:
    """pickle.Unpickler would make a table of 2^32 entries for this."""
    body = b"\x80\x02}r\xff\xff\xff\xff."
    with pytest.raises(CheckpointError, match="expected a dict of tensors"):
        read_state_dict(TorchFile(body).write(tmp_path / "head.pth"))


def test_endless_nesting_is_survived(tmp_path: Path) -> None:
    """A tuple nested 200,000 deep as a dict key, and one doubled 64 times: hashing either crashes or never ends."""
    deep = b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."
    doubled = b"\x80\x02})" + b"q\x00h\x00\x86" * 64 + b"K\x01s."
    for body in (deep, doubled):
        with pytest.raises(CheckpointError, match="a dict key of type tuple"):
            read_state_dict(TorchFile(body).write(tmp_path / "head.pth"))
    shown = b"\x80\x02)" + b"q\x00h\x00\x86" * 64 + b"."
    with pytest.raises(CheckpointError, match=r"holds tuple .* expected a dict of tensors"):  # its repr must end, too
        read_state_dict(TorchFile(shown).write(tmp_path / "head.pth"))


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x02}.", b"PK\x03\x04 and no zip"])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "head.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"head\.pth"):
        read_state_dict(tmp_path / "head.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"head\.pth could not be read"):
        read_state_dict(tmp_path / "head.pth")
    with pytest.raises(CheckpointError, match="could not be read"):
        read_state_dict(tmp_path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("sound") / "head.pth"
    save_torch(path, OrderedDict(head_state(3)))
    return path.read_bytes()


def _reads_or_refuses(path: Path) -> None:
    found = _outcome(path)
    if isinstance(found, CheckpointError):  # UnsafePickleError is one
        assert path.name in str(found)
        assert found.__cause__ is None
    else:
        assert all(isinstance(k, str) and v.dtype == np.float32 for k, v in found.items())


def _outcome(path: Path) -> dict[str, np.ndarray] | CheckpointError:
    try:
        return read_state_dict(path)
    except CheckpointError as error:
        return error


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_file(tmp_path: Path, sound: bytes, share: float) -> None:
    path = tmp_path / "head.pth"
    path.write_bytes(sound[: int(len(sound) * share)])
    with pytest.raises(CheckpointError, match=r"head\.pth is not a sound torch file"):
        read_state_dict(path)


def test_damaged_weights_are_found(tmp_path: Path, sound: bytes) -> None:
    """torch.load does not look at the zip's checksums; a flipped bit of a weight would go into scores."""
    weight = head_state(3)["layers.0.weight"].tobytes()
    data = bytearray(sound)
    data[sound.index(weight) + 11] ^= 1
    (tmp_path / "head.pth").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="Bad CRC-32"):
        read_state_dict(tmp_path / "head.pth")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bytes(tmp_path_factory: pytest.TempPathFactory, sound: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "head.pth"
    path.write_bytes(bytes(damaged))
    _reads_or_refuses(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bytes_in_the_pickle(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With a right checksum, so that the interpreter meets them."""
    body = bytearray(program({"state_dict": {"w": tensor(FLOATS, 1, (2, 3), (5, 1)), "b": None}, "epoch": 3}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    path = TorchFile(bytes(body), MEMBER).write(tmp_path_factory.mktemp("fuzz") / "head.pth")
    _reads_or_refuses(path)
