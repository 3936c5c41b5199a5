"""The published heads' folder, written: one head a dimension as plain tensors, the neutral statistics, the switches."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import taxonomy
from ..errors import CheckpointError
from ..files import write_whole
from .heads import MEANS_FILE, SWITCHES_FILE, Layers, Switches, check_chain, widths_of
from .torchzip_writer import write_torch_state_dict

_STEP = 3  # Linear, ReLU and Dropout follow each other in the published modules


def write_heads(
    folder: Path,
    heads: Mapping[str, Layers],
    neutral: Mapping[str, tuple[float, float]] | None = None,
    *,
    switches: Switches = Switches(),  # noqa: B008 - it is frozen
) -> tuple[Path, ...]:
    """Write heads as they are published, into a new folder of an existing one. Returns the files, heads first.

    Each file loads by `torch.load(path, weights_only=True)` into a plain Sequential of Linear, ReLU and Dropout, and by
    `read_heads`. A linear head is one Linear.

    Args:
        folder: is made; it must not exist, or be empty.
        heads: by name in any spelling of the taxonomy, or of their own: weights [out, in] and biases [out] of the
            Linear layers in the order of data, all float32 and finite, of the same widths, the last of width 1.
        neutral: mean and standard deviation of each head's raw scores of neutral pictures; None writes no such file.
        switches: are written where they are not those of published heads.

    Raises:
        CheckpointError: a name has no letters or stands for another head too, or the layers are no such chain.
        EmonetError: the disk refuses.
    """
    files = _files_of(heads)
    _check(heads)
    if neutral is not None and set(neutral) != set(heads):
        raise CheckpointError(f"neutral statistics came for {sorted(neutral)}; expected them for {sorted(heads)}.")
    folder.mkdir(exist_ok=True)
    for name, layers in heads.items():
        state = {
            f"layers.{_STEP * i}.{part}": tensor
            for i, layer in enumerate(layers)
            for part, tensor in zip(("weight", "bias"), layer, strict=True)
        }
        write_torch_state_dict(folder / files[name], state)
    paths = [folder / name for name in files.values()]
    if neutral is not None:
        entries = {Path(files[name]).stem: {"mean": mean, "std": std} for name, (mean, std) in neutral.items()}
        paths.append(_write_json(folder / MEANS_FILE, entries))
    if switches != Switches():
        told = {name: value for name, value in asdict(switches).items() if value != ""}
        paths.append(_write_json(folder / SWITCHES_FILE, told))
    return tuple(paths)


def _files_of(heads: Mapping[str, Layers]) -> dict[str, str]:
    """The file of each head by its name."""
    if not heads:
        raise CheckpointError("no heads came; expected at least one to write.")
    files: dict[str, str] = {}
    slugs: dict[str, str] = {}
    for name in heads:
        dimension = taxonomy.find(name)
        file = f"{dimension.file_stem}.pth"
        if not dimension.slug or taxonomy.find(file).slug != dimension.slug or "\0" in file:
            raise CheckpointError(f"a head is named {name!r}; expected a name with letters a to z or digits.")
        if dimension.slug in slugs:
            raise CheckpointError(
                f"the heads {slugs[dimension.slug]!r} and {name!r} would both be {dimension.slug!r}; expected names "
                "that differ in letters or digits."
            )
        slugs[dimension.slug], files[name] = name, file
    return files


def _check(heads: Mapping[str, Layers]) -> None:
    common = widths_of(next(iter(heads.values())))
    for name, layers in heads.items():
        check_chain(f"the head {name!r}", [_STEP * i for i in range(len(layers))], layers)
        if any(tensor.dtype != np.float32 for layer in layers for tensor in layer):
            raise CheckpointError(f"the head {name!r} has layers of another type than float32; expected float32.")
        if widths_of(layers) != common:
            widths = "-".join(map(str, widths_of(layers)))
            raise CheckpointError(
                f"the head {name!r} has widths {widths}; expected {'-'.join(map(str, common))} as the others have."
            )


def _write_json(path: Path, value: object) -> Path:
    write_whole(path, json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")
    return path
