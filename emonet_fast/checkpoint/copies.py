"""Packed copies in the cache: used where nobody else can have changed them, and while they are what was written."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, EmonetError
from ..trust import foreign, make_own_folder, mark_used, write_own
from . import jsonfile
from .pack import open_packed, verify_hash
from .spec import Checkpoint

_log = logging.getLogger("emonet_fast")


def cached(folder: Path, key: str, make: Callable[[Path], Checkpoint]) -> Checkpoint:
    """The packed copy of this key; made where there is none, or where it may not be used, which is logged.

    Beside it lies a record of its hash, size and time of change. Where these differ, all of the copy is read and its
    hash compared. Raises OSError when the folder cannot be made, and CheckpointError when others may write it.
    """
    make_own_folder(folder)
    fault = foreign(folder)
    if fault is not None:
        raise CheckpointError(
            f"the cache is not used: {fault}. Expected a folder that only you can write: close it to others "
            "(chmod go-w), or choose another one (--cache-dir, or EMONET_FAST_CACHE)."
        )
    path, record = folder / f"{key}.safetensors", folder / f"{key}.json"
    try:
        checkpoint = _unchanged(path, record)
    except FileNotFoundError:
        checkpoint = None
    except CheckpointError as error:
        _log.warning("the packed copy %s is not used: %s It is made again.", path, error)
        checkpoint = None
    if checkpoint is None:
        checkpoint = make(path)
        _note(record, checkpoint)
    mark_used(path)
    return checkpoint


def _unchanged(path: Path, record: Path) -> Checkpoint:
    """Open the copy. Raises FileNotFoundError when there is none, and CheckpointError when it may not be used."""
    fault = foreign(path)
    if fault is not None:
        raise CheckpointError(f"{fault}.")
    checkpoint = open_packed(path)
    if not checkpoint.stated_encoder:
        raise CheckpointError("it does not state its encoder's hash, as an earlier version of emonet-fast left it.")
    try:
        noted = {} if foreign(record) else jsonfile.read(record)
    except (OSError, CheckpointError):
        noted = {}
    if noted.get("weights_hash", checkpoint.weights_hash) != checkpoint.weights_hash:
        raise CheckpointError(f"it holds {checkpoint.weights_hash}, and its record says {noted['weights_hash']}.")
    if noted != _facts(checkpoint):
        _log.info("checking all of %s", path)
        verify_hash(checkpoint)
        _note(record, checkpoint)
    return checkpoint


def _note(record: Path, checkpoint: Checkpoint) -> None:
    try:
        write_own(record, json.dumps(_facts(checkpoint)).encode())
    except (OSError, EmonetError) as error:  # a cache that root keeps for all
        _log.info("%s cannot be written (%s): the copy is checked at every start", record, error)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the record beside a copy says."""
    status = checkpoint.path.stat()
    return {
        "weights_hash": checkpoint.weights_hash,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "source": checkpoint.source,
    }
