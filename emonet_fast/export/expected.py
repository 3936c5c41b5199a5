"""The check of an exported model: pictures and what the float32 network makes of them, in one file beside it."""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arithmetic import emotion_softmax
from ..checkpoint.spec import Checkpoint
from ..engines.exact import HalfFile, exact_outputs
from ..engines.pictures import generated_pixels
from ..errors import DataError, EmonetError
from ..files import PendingFile
from ..options import ExportOptions
from ..records import Float32Array, UInt8Array
from .describe import EXPORT_VERSION, FORMAT

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]  # (phase, done, in all)
PICTURES = 4
# No other set of drawn pictures has it: a recipe is not chosen by these.
_SEED = 126
_MOST_BYTES = 256 << 20  # of an array in a check's file
# Products whose sums are in another order, over 27 layers: measured 2e-5 at most.
FLOAT32_ERROR = 1e-4
# What float16 weights may cost: a hundredth of a point of scores that go from 0 to 7.
FLOAT16_ERROR, FLOAT16_COSINE = 1e-2, 0.9999


@dataclass(frozen=True, slots=True)
class Expected:
    """What a model is to give.

    Args:
        pixels: [n, ...] in the form of the model's input.
        outputs: by name, [n, width] float32.
        about: the model's document, and under "files" the SHA-256 of its files by name.
    """

    pixels: Array
    outputs: Mapping[str, Float32Array]
    about: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """Pictures of one batch."""
        return self.about["input"]["shape"][0] or 1


def expected_outputs(checkpoint: Checkpoint, pixels: UInt8Array, progress: Progress) -> dict[str, Float32Array]:
    """By name, what the float32 network gives for pixels [n, 3, S, S] uint8."""
    return _named(checkpoint, *exact_outputs(checkpoint, pixels, progress=partial(progress, "check")))


def _named(checkpoint: Checkpoint, embedding: Float32Array, raw: Float32Array) -> dict[str, Float32Array]:
    outputs = {"embedding": embedding, "raw": raw}
    if checkpoint.neutral_means is not None:
        scores = raw.astype(np.float64) - [checkpoint.neutral_means[name] for name in checkpoint.names]
        outputs["scores"] = scores.astype(np.float32)
        outputs["softmax"] = emotion_softmax(scores, checkpoint.names).astype(np.float32)
    return outputs


def check_pixels(checkpoint: Checkpoint) -> UInt8Array:
    """The pictures of a check, [PICTURES, 3, S, S] uint8."""
    return generated_pixels(checkpoint, PICTURES, _SEED)


def as_input(pixels: UInt8Array, options: ExportOptions) -> Array:
    """Pixels [n, 3, S, S] uint8 in the form of the model's input."""
    if options.input == "float":
        return pixels.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def tolerances_of_half(
    checkpoint: Checkpoint, pixels: UInt8Array, outputs: Mapping[str, Float32Array], progress: Progress
) -> dict[str, float]:
    """What a model with float16 weights is held to. Raises EmonetError where these weights lose more than the bars."""
    said = partial(progress, "check of float16")
    halved = _named(checkpoint, *exact_outputs(checkpoint, pixels, HalfFile(checkpoint.path), said))
    error = float(np.abs(halved["raw"] - outputs["raw"]).max())
    cosine = lowest_cosine(halved["embedding"], outputs["embedding"])
    if not (error <= FLOAT16_ERROR and cosine >= FLOAT16_COSINE):
        raise EmonetError(
            f"fp16 is refused for these weights: rounded to float16 they change scores by up to {error:.2g} "
            f"(bar {FLOAT16_ERROR}), the lowest cosine of an embedding is {cosine:.6f} (bar {FLOAT16_COSINE}), on "
            f"{len(pixels)} pictures; export fp32"
        )
    return {"error": FLOAT16_ERROR, "cosine": FLOAT16_COSINE}


def lowest_cosine(a: Float32Array, b: Float32Array) -> float:
    """The lowest cosine of two rows [n, hidden]; NaN where one is not finite."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosines = (x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
    return float(np.min(cosines))


def write_expected(pending: PendingFile, expected: Expected) -> None:
    """Write the file of a check, and bring it to the disk."""
    about = np.array(json.dumps(expected.about))
    arrays: dict[str, Any] = {"about": about, "pixels": expected.pixels, **expected.outputs}
    np.savez_compressed(pending.file, **arrays)
    pending.finish()


def read_expected(path: Path) -> Expected:
    """Read the file of a check. Raises DataError where it is missing or not what `write_expected` writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.file_size > _MOST_BYTES for member in archive.infolist()):
                raise ValueError("it would take more memory than a check has")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        pixels = arrays.pop("pixels")
        if (about["format"], about["version"]) != (FORMAT, EXPORT_VERSION):
            raise ValueError(f"{about['format']} of version {about['version']}; expected {FORMAT} of {EXPORT_VERSION}")
        if not isinstance(about["input"]["shape"][0], int | None):
            raise ValueError("its batch is no number")
        tolerances = {key: float(about["tolerances"][key]) for key in ("error", "cosine")}
        if any(value.shape[0] != len(pixels) or value.dtype != np.float32 for value in arrays.values()):
            raise ValueError("its outputs are not those of its pictures")
        return Expected(pixels, arrays, {**about, "tolerances": tolerances, "files": dict(about["files"])})
    except FileNotFoundError:
        raise DataError(f"there is no {path}; export the model again, which writes it beside it") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:
        raise DataError(f"{path} is no check of an exported model ({error!r:.200}); export the model again") from None
