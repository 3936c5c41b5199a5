"""One safetensors file for everything that decides a score; the contract is docs/packed-checkpoint.md."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..files import check_space, keep_apart
from .detector import DETECTOR_KEY, detector_json
from .expected import PREFIX, head_tensors, packed_tensors, tower_tensors
from .heads import read_switches
from .packed_metadata import ENCODER_KEY, KEY, NO_HASH, encoder_json, from_json, scoring_json, to_json
from .published import Contents, Published, joined
from .spec import Checkpoint, Description
from .tensors import Array, Entry, Progress, SafetensorsFile, write_safetensors

_log = logging.getLogger("emonet_fast")


def pack(
    published: Published, out_path: Path, progress: Progress | None = None, detector: bytes | None = None
) -> Checkpoint:
    """Write a published checkpoint to one file; it appears whole or not at all, and replaces one of its name.

    detector: the face detector's ONNX file, which goes into it too; None leaves it out.

    The encoder goes through memory one tensor at a time; the heads (0.3 GB in the large variant) are held. Raises
    CheckpointError when the encoder holds NaN, out_path cannot be written, or the disk has too little room; OptionError
    when out_path is an input; and as `Published.read` does.
    """
    _check_target(published.files(), out_path)
    return _pack(published.read(), out_path, progress, detector)


def pack_heads(
    checkpoint: Checkpoint, heads: Path, out_path: Path, progress: Progress | None = None,
    detector: bytes | None = None, named: str = "",
) -> Checkpoint:  # fmt: skip
    """Write the encoder of a packed checkpoint with the heads of a folder. Takes and raises what `pack` does, and

    CheckpointError where the folder says that the heads take embeddings of another encoder.

    named: what the file says of where the heads are from; "" takes their folder, which is to be one that stays.
    """
    encoder, wanted = encoder_hash(checkpoint), read_switches(heads).encoder
    if wanted and wanted != encoder:
        raise CheckpointError(
            f"{heads} has heads for embeddings of the encoder {wanted}; {checkpoint.path} has {encoder}. Take the "
            "checkpoint whose embeddings they were trained on."
        )
    _check_target((checkpoint.path, *heads.iterdir()), out_path)
    source = f"{checkpoint.source}, with the heads of {named or heads}"
    file = SafetensorsFile(checkpoint.path)
    return _pack(joined(checkpoint.vision, checkpoint.preprocess, file, heads, source), out_path, progress, detector)


def _pack(contents: Contents, out_path: Path, progress: Progress | None, detector: bytes | None) -> Checkpoint:
    size = _check_space(contents, out_path.parent)
    _log.info("packing %s into %s (%d bytes)", contents.source, out_path, size)
    return write_packed(out_path, contents, _entries(contents), progress, detector)


def _check_target(files: Sequence[Path], out_path: Path) -> None:
    if out_path.is_dir() or not out_path.parent.is_dir():
        found = "a folder" if out_path.is_dir() else f"no folder {out_path.parent}"
        raise CheckpointError(f"{out_path}: found {found}; expected a file's name in a folder that exists.")
    keep_apart((out_path,), files)


def _check_space(contents: Contents, folder: Path) -> int:
    """Bytes of the packed file without its header. Raises CheckpointError where the disk has less free."""
    size = sum(4 * math.prod(shape) for shape in packed_tensors(contents).values())
    check_space(folder, size, "the packed checkpoint", CheckpointError)
    return size


def _entries(contents: Contents) -> list[Entry]:
    """The encoder's tensors in the order of data, then the heads'."""
    files = contents.tensors

    def tower_chunks(name: str) -> Callable[[], list[Array]]:
        return lambda: [files.array(name)]

    def head_chunks(layer: int, part: int) -> Callable[[], Iterator[Array]]:
        return lambda: (head[layer][part] for head in contents.heads.values())

    entries = [Entry(name, shape, tower_chunks(name)) for name, shape in tower_tensors(contents.vision).items()]
    for i, (name, shape) in enumerate(head_tensors(len(contents.heads), contents.head_widths).items()):
        entries.append(Entry(name, shape, head_chunks(i // 2, i % 2)))
    return entries


def write_packed(
    out_path: Path,
    description: Description,
    entries: Sequence[Entry],
    progress: Progress | None = None,
    detector: bytes | None = None,
) -> Checkpoint:
    """Write a packed checkpoint from anything that can give its tensors, in any order.

    Raises CheckpointError when a tensor holds NaN or infinity, names or shapes do not fit, or it cannot be written.
    """
    shapes = {e.name: e.shape for e in entries}
    _check_shapes(shapes, description, str(out_path))
    more = {} if detector is None else {DETECTOR_KEY: detector_json(detector)}
    digests: dict[str, Any] = {e.name: hashlib.sha256() for e in entries}

    def finish() -> dict[str, str]:
        found = {name: digest.hexdigest() for name, digest in digests.items()}
        weights_hash, encoder_hash = _hashes(description, shapes, found)
        return {KEY: to_json(description, weights_hash), ENCODER_KEY: encoder_hash} | more

    write_safetensors(
        out_path,
        [replace(e, chunks=_watched(e, digests[e.name])) for e in entries],
        {KEY: to_json(description, NO_HASH), ENCODER_KEY: NO_HASH} | more,
        finish=finish,
        progress=progress,
    )
    return open_packed(out_path)


def _watched(entry: Entry, digest: Any) -> Callable[[], Iterator[Array]]:
    """The entry's chunks as float32; each is hashed, and refused where it is not finite."""

    def chunks() -> Iterator[Array]:
        for chunk in entry.chunks():
            with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is refused
                data = np.ascontiguousarray(chunk, "<f4")
            if not np.isfinite(data).all():
                raise CheckpointError(
                    f"tensor {entry.name!r} holds NaN or infinity; expected finite weights. Get the checkpoint again."
                )
            digest.update(data.reshape(-1).view(np.uint8).data)
            yield data

    return chunks


def _hashes(
    description: Description, shapes: Mapping[str, tuple[int, ...]], digests: Mapping[str, str]
) -> tuple[str, str]:
    """The hash of all that decides a score, and that of all that decides an embedding."""
    tower = {name: shape for name, shape in shapes.items() if name.startswith(PREFIX)}
    return _hash(scoring_json(description), shapes, digests), _hash(encoder_json(description), tower, digests)


def _hash(facts: str, shapes: Mapping[str, tuple[int, ...]], digests: Mapping[str, str]) -> str:
    """sha256 of a part of the metadata, then one line a tensor, sorted by name.

    Each tensor goes in by the sha256 of its bytes, so that the order in the file does not matter.
    """
    total = hashlib.sha256()
    total.update(facts.encode() + b"\n")
    for name in sorted(shapes):
        line = json.dumps([name, "F32", list(shapes[name]), digests[name]], separators=(",", ":"))
        total.update(line.encode() + b"\n")
    return f"sha256:{total.hexdigest()}"


def open_packed(path: Path) -> Checkpoint:
    """Open a packed checkpoint. All is checked but the values of its tensors, which `verify_hash` checks.

    Raises CheckpointError when it is not a packed checkpoint, of a later version, cut short, or breaks its contract.
    """
    file = SafetensorsFile(path)
    text = file.metadata.get(KEY)
    if text is None:
        raise CheckpointError(
            f"{path} is a safetensors file without {KEY!r} in its metadata; expected a packed checkpoint. "
            "Make one from a folder with encoder/ and heads/: emonet-fast pack."
        )
    description, weights_hash = from_json(text, f"{path}, metadata")
    _check_shapes({name: info.shape for name, info in file.infos.items()}, description, str(path))
    for name, info in file.infos.items():
        if info.dtype != "F32" or info.offset % 4:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {info.dtype} at byte {info.offset}; expected F32 at a multiple "
                "of 4. Pack the checkpoint again."
            )
    encoder = file.metadata.get(ENCODER_KEY, "")
    return Checkpoint(
        path=path, weights_hash=weights_hash, stated_encoder=encoder, tensors=file.infos, **vars(description)
    )


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], description: Description, what: str) -> None:
    expected = packed_tensors(description)
    for name in sorted(set(expected) | set(shapes)):
        found, must = shapes.get(name), expected.get(name)
        if found != must:
            raise CheckpointError(
                f"{what}: tensor {name!r} is {'missing' if found is None else list(found)}; expected "
                f"{'no such tensor' if must is None else list(must)} by its metadata. "
                "Pack the checkpoint again."
            )


def verify_hash(checkpoint: Checkpoint, progress: Progress | None = None) -> str:
    """Read all of a packed checkpoint and return its hash.

    Raises CheckpointError when a hash is not the one that the file states: it was damaged or changed.
    """
    digests = _digests(checkpoint, list(checkpoint.tensors), progress)
    shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
    weights_hash, encoder = _hashes(checkpoint, shapes, digests)
    stated = (checkpoint.weights_hash, checkpoint.stated_encoder or encoder)
    for found, wanted in zip((weights_hash, encoder), stated, strict=True):
        if found != wanted:
            raise CheckpointError(
                f"{checkpoint.path} has the hash {found}; it states {wanted}. The file was damaged or changed: pack "
                "the checkpoint again, or get it again."
            )
    return weights_hash


def encoder_hash(checkpoint: Checkpoint) -> str:
    """What tells encoders apart: "sha256:..." of tower, sizes and preprocessing. Where the file does not state it, all
    of the tower is read: 1.7 GB."""
    if checkpoint.stated_encoder:
        return checkpoint.stated_encoder
    shapes = {name: info.shape for name, info in checkpoint.tensors.items() if name.startswith(PREFIX)}
    return _hash(encoder_json(checkpoint), shapes, _digests(checkpoint, list(shapes)))


def _digests(checkpoint: Checkpoint, names: Sequence[str], progress: Progress | None = None) -> dict[str, str]:
    """sha256 of each tensor's bytes, which are read."""
    file = SafetensorsFile(checkpoint.path)
    total, done = sum(checkpoint.tensors[name].nbytes for name in names), 0
    digests: dict[str, str] = {}
    for name in names:
        tensor = file.array(name)
        digests[name] = hashlib.sha256(tensor.reshape(-1).view(np.uint8).data).hexdigest()
        done += tensor.nbytes
        if progress is not None:
            progress(done, total)
    return digests
