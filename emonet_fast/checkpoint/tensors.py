"""Tensors in safetensors files: read one at a time by name, written one after another."""

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, EmonetError
from ..files import PendingFile, is_file, is_folder
from . import jsonfile
from .expected import PATCHES, PREFIX
from .spec import TensorInfo

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)

ALIGNMENT = 64  # of the first tensor's byte in files written here: a cache line, and AVX-512's width
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.safetensors")
_AGAIN = "The file may be damaged or its download cut short: get it again."


class SafetensorsFile:
    """A validated safetensors file whose tensors are read only when asked for.

    Attributes:
        metadata: the header's `__metadata__`.
        infos: every tensor's dtype, shape and absolute place in bytes, by name.

    Raises:
        CheckpointError: when it is missing, not a safetensors file, or cut short.
    """

    def __init__(self, path: Path) -> None:
        if not is_file(path):
            found = "a folder" if is_folder(path) else "nothing"
            raise CheckpointError(f"{path}: found {found}; expected a safetensors file.")
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                # Of a sound file safetensors itself takes 100 MB, and 2.5 GB of memory for them.
                if jsonfile.MAX_BYTES < length < path.stat().st_size:
                    raise CheckpointError(
                        f"{path} announces a header of {length} bytes; expected at most {jsonfile.MAX_BYTES}. {_AGAIN}"
                    )
                with safe_open(path, framework="np"):
                    pass  # opening checks the header, every offset, and the file's size against them
                header = jsonfile.parse(file.read(length), f"the header of {path}")
        except OSError as error:
            raise CheckpointError(
                f"{path} could not be read ({error.strerror or error}); expected a safetensors file."
            ) from None
        except (SafetensorError, struct.error) as error:
            size = path.stat().st_size if path.exists() else 0
            raise CheckpointError(
                f"{path} ({size} bytes) is not a complete safetensors file: {error}. {_AGAIN}"
            ) from None
        self.path = path
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        self.infos: dict[str, TensorInfo] = {
            name: TensorInfo(
                dtype=entry["dtype"],
                shape=tuple(entry["shape"]),
                offset=8 + length + entry["data_offsets"][0],
                nbytes=entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in header.items()
        }

    def array(self, name: str) -> Array:
        """The tensor as a read-only view of the mapped file (F16, F32, F64) or a new float32 array (BF16)."""
        info = self.infos.get(name)
        if info is None:
            raise CheckpointError(f"{self.path} has no tensor {name!r}; it holds {len(self.infos)} others.")
        if info.dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            bits = self._map(info, "<u2").astype(np.uint32)
            bits <<= np.uint32(16)
            return bits.view(np.float32)
        if info.dtype not in _FLOATS:
            raise CheckpointError(
                f"{self.path}: tensor {name!r} has dtype {info.dtype}; expected {', '.join(_FLOATS)} or BF16."
            )
        return self._map(info, _FLOATS[info.dtype])

    def _map(self, info: TensorInfo, dtype: str) -> Array:
        if info.nbytes == 0:  # nothing to map
            return np.zeros(info.shape, dtype)
        return np.asarray(np.memmap(self.path, dtype, mode="r", offset=info.offset, shape=info.shape))


class EncoderFiles:
    """The vision tower's tensors in an encoder folder: one file or shards. Nothing else in it is touched.

    A bare vision tower saved by transformers 5 has the same names without `vision_model.`; it is read too.

    Attributes:
        infos: of the tensors by published name, `vision_model.*`.
        paths: every file that is used, the index first where there is one.

    Raises:
        CheckpointError: when there are no weights, the index is unusable, a shard is missing, or see SafetensorsFile.
    """

    def __init__(self, folder: Path) -> None:
        single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
        if single.is_file():
            file = SafetensorsFile(single)
            self.paths: tuple[Path, ...] = (single,)
            where = dict.fromkeys(file.infos, file)
        elif index.is_file():
            self.paths, where = _open_shards(folder, index)
        else:
            raise CheckpointError(
                f"{folder} has neither {single.name} nor {index.name}; expected the encoder's weights as "
                "safetensors. Weights in another form must be saved as safetensors first."
            )
        prefix = PREFIX if any(n.startswith(PREFIX) for n in where) else ""
        if not prefix and PATCHES.removeprefix(PREFIX) not in where:
            raise CheckpointError(
                f"{self.paths[0]} has no tensor whose name begins with {PREFIX!r}; expected a SigLIP vision tower."
            )
        self._places = {PREFIX + n.removeprefix(prefix): (f, n) for n, f in where.items() if n.startswith(prefix)}
        self.infos: dict[str, TensorInfo] = {k: f.infos[n] for k, (f, n) in self._places.items()}

    def file_of(self, name: str) -> Path:
        """The file that holds a tensor, by its published name."""
        return self._places[name][0].path

    def array(self, name: str) -> Array:
        """See SafetensorsFile.array; by published name."""
        if name not in self._places:
            raise CheckpointError(f"{self.paths[0]} has no tensor {name!r}; it holds {len(self.infos)} others.")
        file, inner = self._places[name]
        return file.array(inner)


def _open_shards(folder: Path, index: Path) -> tuple[tuple[Path, ...], dict[str, SafetensorsFile]]:
    weight_map = jsonfile.read(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{index}: weight_map is {type(weight_map).__name__}; expected {{tensor: shard}}. {_AGAIN}"
        )
    for shard in weight_map.values():
        # A shard is a sibling file: an index must not lead to another folder.
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise CheckpointError(
                f"{index} names the shard {shard!r}; expected a plain file name ending in .safetensors, "
                "in the same folder."
            )
    # Shards that hold only the text tower need not even be there.
    wanted = {n: s for n, s in weight_map.items() if n.startswith(PREFIX)} or weight_map
    files = {shard: SafetensorsFile(folder / shard) for shard in sorted(set(wanted.values()))}
    lost = sorted(n for n, shard in wanted.items() if n not in files[shard].infos)
    if lost:
        raise CheckpointError(
            f"{index} says that {lost[0]!r} is in {wanted[lost[0]]}, which lacks it "
            f"({len(lost)} such tensors). "
            "Index and shards are of different checkpoints: get all of them again."
        )
    return (index, *(f.path for f in files.values())), {n: files[s] for n, s in wanted.items()}


def safetensors_header(
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str],
    alignment: int = ALIGNMENT,
    length: int | None = None,
) -> bytes:
    """The head of a safetensors file of float32 tensors that follow each other: its length, then JSON.

    The JSON is padded with spaces: the head has `length` bytes, or a multiple of `alignment` where no length is given.
    Raises ValueError when `length` is too short.
    """
    doc: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        doc[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(doc, separators=(",", ":")).encode()
    if length is None:
        length = -(-(8 + len(text)) // alignment) * alignment
    if 8 + len(text) > length:
        raise ValueError(f"final metadata makes a header of {8 + len(text)} bytes; {length} were kept free")
    return struct.pack("<Q", length - 8) + text.ljust(length - 8)


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to be written as float32.

    Args:
        name: of the tensor.
        shape: of the tensor.
        chunks: gives its values in C order, in pieces of any shape, when they are needed.
    """

    name: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[Array]]

    @property
    def nbytes(self) -> int:
        """Bytes of its data in the file."""
        return 4 * math.prod(self.shape)


def write_safetensors(
    path: Path,
    entries: Sequence[Entry],
    metadata: Mapping[str, str],
    *,
    finish: Callable[[], Mapping[str, str]] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a safetensors file with one chunk in memory at a time; all of it appears at once, or nothing.

    `finish` is called after the data is written; it gives the final metadata, no longer than the first (a hash). Raises
    CheckpointError when the disk refuses, or a tensor's chunks do not add up to its shape.
    """
    shapes = {entry.name: entry.shape for entry in entries}
    if len(shapes) < len(entries):
        raise ValueError("a tensor's name occurs twice")
    header = safetensors_header(shapes, metadata)
    try:
        with PendingFile(path) as pending:
            pending.file.write(header)
            _write_entries(pending.file, entries, progress)
            if finish is not None:
                pending.file.seek(0)
                pending.file.write(safetensors_header(shapes, finish(), length=len(header)))
            pending.finish()
            pending.publish()
    except CheckpointError:
        raise
    except EmonetError as error:
        raise CheckpointError(f"{error}. Choose another place, or make room.") from error


def _write_entries(f: IO[bytes], entries: Sequence[Entry], progress: Progress | None) -> None:
    total = sum(e.nbytes for e in entries)
    done = 0
    for e in entries:
        end = done + e.nbytes
        for chunk in e.chunks():
            data = np.ascontiguousarray(chunk, dtype="<f4")
            done += data.nbytes
            if done > end:
                break
            f.write(data.reshape(-1).view(np.uint8).data)
            if progress is not None:
                progress(done, total)
        if done != end:
            raise CheckpointError(
                f"tensor {e.name!r} came with {'more' if done > end else 'fewer'} values than its shape {e.shape} says."
            )
