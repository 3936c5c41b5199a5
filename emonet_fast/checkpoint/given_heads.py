"""Heads alone, from wherever they are: a training's folder, a published or packed checkpoint, the hub."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from . import resolve_published
from .heads import HEAD_PATTERN, Layers, read_heads, read_switches
from .pack import encoder_hash, open_packed
from .tensors import SafetensorsFile


@dataclass(frozen=True, slots=True)
class GivenHeads:
    """Heads without their encoder.

    Args:
        source: where they are from, for people.
        heads: layers by slug, in canonical order.
        l2_normalise: whether they take embeddings of norm 1.
        encoder: "sha256:..." of the encoder whose embeddings they take, as pack.encoder_hash gives it; None where
            nothing says so.
    """

    source: str
    heads: dict[str, Layers]
    l2_normalise: bool
    encoder: str | None = None


def given_heads(where: str | Path, cache_dir: Path, revision: str | None = None) -> GivenHeads:
    """Read heads: a folder of them, a folder with heads/ (encoder/ may lack), a packed file, "large" or "small".

    Raises CheckpointError when there are none or they are damaged, and UnsafePickleError as `read_heads` does.
    """
    path = heads_folder(where)
    if path is None:
        published = resolve_published(where, cache_dir, revision)
        if published is None:
            return _packed(Path(where))
        path = published.heads
    switches = read_switches(path)
    return GivenHeads(str(where), read_heads(path, None), switches.l2_normalise, switches.encoder or None)


def heads_folder(where: str | Path) -> Path | None:
    """The folder of heads that `where` is, or has as heads/; None where it is neither."""
    for folder in (Path(where) / "heads", Path(where)):
        if folder.is_dir() and any(folder.glob(HEAD_PATTERN)):
            return folder
    if Path(where).is_dir() and not (Path(where) / "encoder").is_dir():
        raise CheckpointError(f"{where} has no heads; expected files {HEAD_PATTERN}, or heads/ with them.")
    return None


def _packed(path: Path) -> GivenHeads:
    checkpoint, file = open_packed(path), SafetensorsFile(path)
    layers = [
        (file.array(f"heads.{i}.weight"), file.array(f"heads.{i}.bias")) for i in range(len(checkpoint.head_widths) - 1)
    ]
    heads = {name: [(w[h], b[h]) for w, b in layers] for h, name in enumerate(checkpoint.names)}
    return GivenHeads(str(path), heads, checkpoint.l2_normalise, encoder_hash(checkpoint))
