"""What the table of scores is put together from: notes, faces' boxes, columns by name, several tables as one."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import taxonomy
from ..arithmetic import LIKELY_RANGE, SCALING
from ..errors import OptionError
from ..quality import turn_of
from ..records import Face, Float32Array, Float64Array
from ..text import counted

if TYPE_CHECKING:
    import pyarrow

    from .table import Scores

# A face's box as it was found, in pixels of the upright picture, and the detector's score of 0..1.
FACE_COLUMNS = ("face_x", "face_y", "face_width", "face_height", "face_score")
# How usable a face is, see quality.py: the longer side of its box, look_of its crop, turn_of its landmarks.
QUALITY_COLUMNS = ("face_size", "face_sharpness", "face_brightness", "face_yaw", "face_roll")
_FACE_VALUES = FACE_COLUMNS + QUALITY_COLUMNS
NO_BASELINE = "no neutral means: raw only, no score (mean-subtracted) and no softmax"


def distinct_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes of several batches without repeats.

    Notes on scaling count the rows of their batch; they become one note without a count.
    """
    low, high = LIKELY_RANGE
    plain = f"some rows have raw scores outside {low:g}..{high:g}: {SCALING}"
    return tuple(dict.fromkeys(plain if n.endswith(SCALING) else n for n in notes))


def face_values(faces: Sequence[Face | None]) -> Float64Array:
    """[N, 10] float64 of FACE_COLUMNS and QUALITY_COLUMNS, NaN where a row has no face."""
    values = [(np.nan,) * len(_FACE_VALUES) if face is None else _values(face) for face in faces]
    return np.array(values, np.float64).reshape(-1, len(_FACE_VALUES))


def _values(face: Face) -> tuple[float, ...]:
    box = (face.x, face.y, face.width, face.height, face.score)
    return (*box, face.longer_side, float(face.sharpness), float(face.brightness), *turn_of(face.landmarks))


def summary(scores: "Scores") -> str:
    """In a few words: "300 pictures, 40 emotions, 297 ok"."""
    emotions = sum(taxonomy.find(name).is_emotion for name in scores.names)
    rows = counted(len(scores), "picture" if scores.faces is None else "row")
    return f"{rows}, {counted(emotions, 'emotion')}, {int(scores.ok.sum())} ok"


def column(scores: "Scores", name: str) -> npt.NDArray[Any]:
    """The column of that name, or else an emotion's values of `value_kind`, in any spelling of its name.

    Raises OptionError where there is neither.
    """
    columns, slug = scores.columns(), taxonomy.find(name).slug
    wanted = name if name in columns else f"{scores.value_kind}_{slug}"
    if wanted not in columns:
        near = [n for n in columns if n.endswith(f"_{slug}")] or get_close_matches(slug, [*scores.names, *columns])
        raise OptionError(
            f"these scores have no column {name!r}, and no {scores.value_kind} of that name; expected one such as "
            f"{', '.join(near or ['elation', 'raw_elation'])}"
        )
    return np.asarray(columns[wanted])


def write(scores: "Scores", path: str | Path, suffix: str) -> None:
    """Write a file of the kind that the suffix tells. Raises OptionError where the name has another one."""
    from ..sinks import open_sink

    if Path(path).suffix.lower() != suffix:
        raise OptionError(f"the file is {str(path)!r}; expected a name ending in {suffix}")
    metadata = {**scores.metadata, **(scores.baseline.facts if scores.baseline is not None else {})}
    sink = open_sink(Path(path), metadata=metadata, embeddings=scores.embeddings is not None)
    try:
        sink.write(scores)
        sink.close()
    finally:
        sink.abort()  # removes what an error has left


def check_alike(parts: "Sequence[Scores]") -> None:
    """Raise OptionError where there is no part, or they cannot be joined."""
    if not parts or any(p.names != parts[0].names for p in parts):
        raise OptionError("Scores.concat needs at least one part, and the same heads in the same order in all")
    if len({p.has_score for p in parts}) > 1:
        raise OptionError("Scores.concat was given parts with and without neutral means; score them alike")
    if any(p.baseline != parts[0].baseline for p in parts):
        raise OptionError("Scores.concat was given parts against different baselines; take one for all")
    widths = {p.embeddings.shape[1] for p in parts if p.embeddings is not None}
    if len(widths) > 1 or (widths and any(p.embeddings is None and p.ok.any() for p in parts)):
        raise OptionError("Scores.concat was given parts with and without embeddings, or of several widths")


def joined_metadata(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What the parts say, as "one; other" where they differ."""
    names = dict.fromkeys(k for p in parts for k in p)
    return {k: "; ".join(dict.fromkeys(p[k] for p in parts if k in p)) for k in names}


def embedding_column(embeddings: Float32Array, ok: npt.NDArray[np.bool_], dtype: npt.DTypeLike) -> "pyarrow.Array":
    """[N, W] as fixed-size lists: null where a row is not ok, or a value is not finite or beyond the dtype."""
    import pyarrow as pa

    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(embeddings, dtype)
    unknown = ~ok | ~np.isfinite(vectors).all(axis=1)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1], mask=pa.array(unknown))


def check_lengths(rows: int, **columns: Sequence[object]) -> None:
    for name, column in columns.items():
        if len(column) != rows:
            raise OptionError(f"{name} has {len(column)} entries; expected {rows}, one for each row of raw")


def joined_tables(tables: Sequence[npt.NDArray[Any] | None], parts: "Sequence[Scores]") -> npt.NDArray[Any] | None:
    """The tables [N, W] of the parts below each other, NaN for parts without; None where no part has one."""
    like = next((t for t in tables if t is not None), None)
    if like is None:
        return None
    unknown = [np.full((len(p), like.shape[1]), np.nan, like.dtype) for p in parts]
    return np.concatenate([u if t is None else t for u, t in zip(unknown, tables, strict=True)])
