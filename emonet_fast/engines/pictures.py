"""The pictures that engines are calibrated on and compared over, as pixels of the network's input."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint.spec import Checkpoint
from ..errors import InputError
from ..options import Options
from ..records import UInt8Array
from ..text import counted
from .fidelity import MIN_PICTURES_FOR_RANKS

MIN_PICTURES = 16
# Of int8. Each takes 1 to 2 s on two cores at full depth; those that are walked take more, see calibrating.py.
CALIBRATION_PICTURES = 96
# Of the search: root mean squares over 40 heads of so many pictures say enough.
SEARCH_PICTURES = 24
# One picture of four that are not for the proof, of a folder.
_SEARCH_SHARE = 4
# With fewer of a folder's own, drawn ones stand in.
_FEWEST = 24
DRAWN = "drawn by the package"
# What int8 is proven on. Not the pictures of `verify`: the headroom of its ranges was chosen with an eye on those.
# Nor those of 73 and 137: the recipe was changed by what their proofs showed.
INT8_PROOF_SEED = 211
# Of 64 the bar of top-1, 97%, would let one change, which is half of what it says. 67 is the next number that lets two
# change: as likely to pass as three of 100, and each picture takes 3.4 s on two cores at full depth.
_INT8_PROOF_PICTURES = 67


@dataclass(frozen=True, slots=True)
class PictureSets:
    """Pictures for one certificate. No picture is in two sets.

    Args:
        calibration: [m, 3, S, S] uint8, what the recipe is chosen by.
        search: [k, 3, S, S] uint8, what says how many layers go back to float.
        proof: [n, 3, S, S] uint8, what it is proven on.
        names: of the n.
        shapes: (height, width) of the n before they were resized.
        source: where they come from, for people, after "pictures".
        left_out: how many could not be read, or came twice.
        drawn: how many of the m were drawn by the package, because `source` had too few.
    """

    calibration: UInt8Array
    search: UInt8Array
    proof: UInt8Array
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    source: str
    left_out: int = 0
    drawn: int = 0


def generated_pixels(checkpoint: Checkpoint, count: int, seed: int) -> UInt8Array:
    """Generate pictures as the network's input, [count, 3, S, S] uint8; the same for the same seed. Needs Pillow.

    They are generated, because no engine may depend on what a user happens to score first.
    """
    from ..preprocess import resize
    from .drawing import calibration_pictures

    return np.stack([resize(rgb, checkpoint.preprocess) for rgb in calibration_pictures(count, seed=seed)])


def drawn_pictures(
    checkpoint: Checkpoint,
    calibration: int = CALIBRATION_PICTURES,
    proof: int = MIN_PICTURES_FOR_RANKS,
    *,
    seed: int = 0,
) -> PictureSets:
    """Draw so many pictures for each set; those of the proof from `seed`, of which 0 is the pictures of `verify`."""
    from ..preprocess import resize
    from .drawing import calibration_pictures

    shown = calibration_pictures(proof, seed=seed)
    return PictureSets(
        generated_pixels(checkpoint, calibration, seed=1),
        generated_pixels(checkpoint, SEARCH_PICTURES, seed=2),
        np.stack([resize(rgb, checkpoint.preprocess) for rgb in shown]),
        tuple(f"drawn picture {i}" for i in range(proof)),
        tuple(rgb.shape[:2] for rgb in shown),
        DRAWN,
    )


def int8_pictures(checkpoint: Checkpoint) -> PictureSets:
    """Draw what int8 is made and proven by where nobody gives pictures."""
    return drawn_pictures(checkpoint, CALIBRATION_PICTURES, _INT8_PROOF_PICTURES, seed=INT8_PROOF_SEED)


def pictures_of(checkpoint: Checkpoint, folder: Path, limit: int, options: Options) -> PictureSets:
    """Take at most `limit` pictures of a folder, spread over its files: half of them for proof, but 64 at most.

    A quarter of the others is for the search, the rest for calibration, and drawn ones beside them where they are fewer
    than 24. A picture that comes twice, by its pixels, is taken once: a copy would be in both sets. Raises InputError
    where fewer than 16 are left.
    """
    from ..preprocess import resize

    pixels: dict[str, UInt8Array] = {}
    names, shapes, left_out = [], [], 0
    for name, rgb in _readable(folder, limit, options):
        small = None if rgb is None else resize(rgb, checkpoint.preprocess)
        digest = "" if small is None else hashlib.sha256(small.tobytes()).hexdigest()
        if rgb is None or small is None or digest in pixels:
            left_out += 1
            continue
        pixels[digest] = small
        names.append(name)
        shapes.append(rgb.shape[:2])
        if len(names) == limit:
            break
    if len(names) < MIN_PICTURES:
        more = f" ({left_out} could not be read or came twice)" if left_out else ""
        raise InputError(
            f"{folder} gave {counted(len(names), 'different readable picture')}{more}; expected {MIN_PICTURES} or "
            "more, better 160, such as will be scored; or leave --images out to use pictures that the package draws"
        )
    everything = np.stack(list(pixels.values()))
    proof = np.linspace(0, len(names) - 1, min(MIN_PICTURES_FOR_RANKS, len(names) // 2)).round().astype(int)
    rest = np.setdiff1d(np.arange(len(names)), proof)
    search = rest[1::_SEARCH_SHARE]
    rest = np.setdiff1d(rest, search)
    lacking = max(0, _FEWEST - len(rest))
    drawn = [generated_pixels(checkpoint, lacking, seed=1)] if lacking else []
    return PictureSets(
        np.concatenate([everything[rest], *drawn]),
        everything[search],
        everything[proof],
        tuple(names[i] for i in proof),
        tuple((int(shapes[i][0]), int(shapes[i][1])) for i in proof),
        f"of {folder}",
        left_out,
        lacking,
    )


def _readable(folder: Path, limit: int, options: Options) -> Iterator[tuple[str, UInt8Array | None]]:
    """Pictures by name, None for one that cannot be read. A long listing is passed through by even steps first."""
    # here alone: a GPU machine that certifies FP8 by drawn pictures has no packages that read files
    from ..decode import decode
    from ..sources import Inputs

    inputs = Inputs([str(folder)], options)
    paths = list(inputs.paths())
    if inputs.total == len(paths) > limit:  # files alone: those between the steps come last, if some cannot be read
        steps = np.linspace(0, len(paths) - 1, limit).round().astype(int)
        order = [*steps, *np.setdiff1d(np.arange(len(paths)), steps)]
        inputs = Inputs([paths[i] for i in order], options)
    for picture in inputs:
        yield picture.key, decode(picture, options).rgb
