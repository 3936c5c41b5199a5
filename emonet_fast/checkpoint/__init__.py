"""Checkpoints: fetched, read, checked, and packed into one file that the rest of the package maps."""

import hashlib
import json
from pathlib import Path

from ..errors import CheckpointError
from ..files import is_file, is_folder
from .copies import cached
from .fetch import VARIANTS, fetch_published
from .heads import HEAD_PATTERN, MEANS_PATTERN
from .pack import encoder_hash, open_packed, pack_heads, verify_hash
from .pack import pack as _pack  # `checkpoint.pack` stays the module
from .packed_metadata import VERSION
from .published import Published
from .spec import Checkpoint
from .tensors import Progress

__all__ = ["encoder_hash", "open_checkpoint", "pack_to", "resolve_published", "verify_hash"]


def open_checkpoint(
    where: str | Path, cache_dir: Path, revision: str | None = None, progress: Progress | None = None
) -> Checkpoint:
    """Open weights: "large" or "small" from the hub, a packed file, or a published folder with encoder/ and heads/.

    A published layout is packed once into `<cache_dir>/packed/`, and opened from there as long as its files stay the
    same and nobody else can have changed the copy. `revision` is for the hub only, see `fetch_published`. Raises
    CheckpointError when nothing is there, it is damaged or of another kind, the cache cannot be trusted, or there is no
    room to pack it, and UnsafePickleError when a head is more than tensors.
    """
    published = resolve_published(where, cache_dir, revision)
    if published is None:
        return open_packed(Path(where))
    try:
        return cached(cache_dir / "packed", _key(published), lambda path: _pack(published, path, progress))
    except OSError as error:
        raise CheckpointError(
            f"{cache_dir / 'packed'} could not be made ({error.strerror}); expected a cache folder that can be "
            "written to. Choose another one (--cache-dir, or EMONET_FAST_CACHE)."
        ) from None


def resolve_published(where: str | Path, cache_dir: Path, revision: str | None = None) -> Published | None:
    """The published files that `where` means, or None for a packed file. See `open_checkpoint`."""
    if where == "":  # as a path it would be the working folder
        raise CheckpointError("an empty text came as the checkpoint; is a variable unset?")
    if isinstance(where, str) and where in VARIANTS:  # a folder of that name is "./large", or a Path
        return fetch_published(where, cache_dir, revision)
    path = Path(where)
    if revision is not None:
        raise CheckpointError(
            f"revision {revision!r} was given with {path}; expected it with {' or '.join(VARIANTS)} only."
        )
    if is_file(path):
        return None
    if not is_folder(path):
        raise CheckpointError(
            f"{path} does not exist; expected {' or '.join(map(repr, VARIANTS))}, a packed file "
            "(.safetensors), or a folder with encoder/ and heads/."
        )
    encoder, heads = path / "encoder", path / "heads"
    if not (is_folder(encoder) and is_folder(heads)):
        there = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise CheckpointError(
            f"{path} holds {there}; expected the published layout: encoder/ (config.json, "
            f"preprocessor_config.json, model.safetensors) and heads/ ({HEAD_PATTERN}, {MEANS_PATTERN})."
        )
    return Published(encoder=encoder, heads=heads, source=str(path))


def pack_to(
    where: str | Path,
    out_path: Path,
    cache_dir: Path,
    revision: str | None = None,
    progress: Progress | None = None,
    detector: bytes | None = None,
    heads: Path | None = None,
) -> Checkpoint:
    """Pack "large", "small" or a published folder into the file `out_path`. See `open_checkpoint` and `pack.pack`.

    heads: a folder whose heads take the place of the checkpoint's own, which may then be a packed file.
    """
    if heads is not None:
        return pack_heads(open_checkpoint(where, cache_dir, revision, progress), heads, out_path, progress, detector)
    published = resolve_published(where, cache_dir, revision)
    if published is None:
        raise CheckpointError(f"{where} is a file; expected weights that are not packed yet. Copy it instead.")
    return _pack(published, out_path, progress, detector)


def _key(published: Published) -> str:
    """Name of a packed copy, which changes whenever a file, the format or the commit does.

    A commit names its content. So files from the hub are known by commit and size, as the hub's cache may be moved or
    made anew. Other files are known by path, size and time of change.
    """
    files: list[list[object]] = []
    for path in published.files():
        stat = path.stat()
        if published.identity:
            files.append([path.name, stat.st_size])
        else:
            files.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    fingerprint = json.dumps([VERSION, published.identity, files], separators=(",", ":"))
    return hashlib.sha256(fingerprint.encode("utf-8", "surrogateescape")).hexdigest()[:32]
