"""Raw head outputs to mean-subtracted scores, softmax and top emotions; the table that users get.

    mean_subtracted = float64(float32 raw) - neutral mean of the head
    softmax         = softmax over the 40 emotions' mean_subtracted, temperature 1 (extra dimensions get none)

Source: the published outputs of EmpathicInsight-Face, reproduced to 1.2e-7.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import taxonomy
from .errors import OptionError
from .optional import need
from .records import Float32Array, Float64Array, Status

if TYPE_CHECKING:
    import pandas
    import pyarrow

# A face's box as it was found, in pixels of the upright picture, and the detector's score of 0..1.
FACE_COLUMNS = ("face_x", "face_y", "face_width", "face_height", "face_score")
LIKELY_RANGE = (-20.0, 20.0)
NO_BASELINE = "no neutral means: raw scores only, no mean-subtracted scores and no softmax"
_SCALING = "likely a scaling fault, such as embeddings that were not L2-normalised; do not trust these scores"
_SURROGATE = re.compile("[\ud800-\udfff]")
_N_EMOTIONS = len(taxonomy.EMOTIONS)


def subtract_means(raw: Float32Array, means: Float64Array) -> Float64Array:
    """[N, D] float32 raw scores minus [D] float64 neutral means, in float64."""
    return raw.astype(np.float64) - means


def softmax(scores: Float64Array) -> Float64Array:
    """Row-wise softmax of [N, K] at temperature 1; rows that hold NaN or an infinity give NaN."""
    if scores.shape[1] == 0:
        return scores.astype(np.float64)
    finite = np.isfinite(scores).all(axis=1, keepdims=True)
    # Row-major, or numpy sums in an order that depends on N, and a row's last bit on the rows beside it.
    known = np.ascontiguousarray(np.where(finite, scores, 0.0))
    e = np.exp(known - known.max(axis=1, keepdims=True))
    return np.where(finite, e / e.sum(axis=1, keepdims=True), np.nan)


def distinct_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes of several batches without repeats; those on scaling, which count rows, become one without a count."""
    low, high = LIKELY_RANGE
    plain = f"some rows have raw scores outside {low:g}..{high:g}: {_SCALING}"
    return tuple(dict.fromkeys(plain if n.endswith(_SCALING) else n for n in notes))


def utf8_text(text: str) -> str:
    """`text` as every file format can hold it: bytes of a file name that are not UTF-8 become `\\xNN`.

    Python carries such bytes as lone surrogates, which neither Parquet nor JSON readers accept.
    """
    return _SURROGATE.sub(_visible_surrogate, text)


def _visible_surrogate(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


@dataclass(frozen=True)
class Scores:
    """Scores of N inputs by D heads. Rows whose status is not "ok" hold NaN; "ok" rows are finite.

    raw: [N, D] float32, the heads' outputs. mean_subtracted: [N, D] float64, NaN without neutral means.
    softmax: [N, 40] float64 over the emotions in the guide's order; NaN without neutral means or where
    not all 40 emotions have a head. names: D column slugs. keys, status, reason: N each.
    embeddings: [N, 1152] float32, not normalised, or None if they were not asked for.
    notes: what a reader must know (no neutral baseline, likely scaling fault, untrained weights).
    metadata: checkpoint hash, precision, backend and versions, as text.
    faces: [N, 5] float64 of FACE_COLUMNS where rows are faces of pictures, NaN where a row is none; else None.
    """

    raw: Float32Array
    mean_subtracted: Float64Array
    softmax: Float64Array
    names: tuple[str, ...]
    keys: tuple[str, ...]
    status: tuple[Status, ...]
    reason: tuple[str, ...]
    embeddings: Float32Array | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    faces: Float64Array | None = None

    @classmethod
    def from_raw(
        cls,
        raw: npt.ArrayLike,
        names: Sequence[str],
        neutral_means: Mapping[str, float] | None = None,
        *,
        keys: Sequence[str] | None = None,
        status: Sequence[Status] | None = None,
        reason: Sequence[str] | None = None,
        embeddings: Float32Array | None = None,
        notes: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> "Scores":
        """The published arithmetic for anybody's raw outputs.

        raw: [N, D] float. names: D names in any published spelling. neutral_means: by name in any
        spelling, one for every head, or None. status: None means "ok" for all; a row that is "ok" and not
        finite becomes "failed". keys: None means `#0`, `#1`, ... embeddings: [N, W].

        Raises:
            OptionError: shapes, lengths or names do not fit, a name occurs twice, a head has no finite mean.
        """
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, so its row "failed"
            values = np.asarray(raw).astype(np.float32)
        slugs = _slugs(names, values)
        n = len(values)
        vectors = None if embeddings is None else _checked_embeddings(embeddings, n)
        said = ["" for _ in range(n)] if reason is None else list(reason)
        states = [Status.OK] * n if status is None else [Status(s) for s in status]
        labels = [f"#{i}" for i in range(n)] if keys is None else list(keys)
        for what, given in (("keys", labels), ("status", states), ("reason", said)):
            if len(given) != n:
                raise OptionError(f"{what} has {len(given)} entries; expected {n}, one for each row of raw")
        _fail_rows_not_finite(values, vectors, states, said)
        good = np.array([s == Status.OK for s in states], dtype=bool)
        values = np.where(good[:, None], values, np.float32(np.nan))
        subtracted = subtract_means(values, _means_vector(slugs, neutral_means))
        no_baseline = [] if neutral_means is not None else [NO_BASELINE]
        return cls(
            raw=values,
            mean_subtracted=subtracted,
            softmax=_emotion_softmax(subtracted, slugs),
            names=slugs,
            keys=tuple(labels),
            status=tuple(states),
            reason=tuple(said),
            embeddings=vectors,
            notes=tuple(dict.fromkeys([*notes, *no_baseline, *_scaling_note(values)])),
            metadata=dict(metadata or {}),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """[N] bool: which rows have scores."""
        return np.array([s == Status.OK for s in self.status], dtype=bool)

    @property
    def has_baseline(self) -> bool:
        """Whether neutral means were subtracted."""
        return NO_BASELINE not in self.notes

    @property
    def has_softmax(self) -> bool:
        """Whether neutral means and all 40 emotions are there."""
        return self.has_baseline and set(_emotion_slugs()) <= set(self.names)

    @property
    def value_kind(self) -> str:
        """What `top` and `ranking` give: "prob" (softmax), else "score" (mean-subtracted), else "raw"."""
        return "prob" if self.has_softmax else "score" if self.has_baseline else "raw"

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k strongest emotions of each row as (slug, value), strongest first; [] for rows without scores.

        value: softmax where there is one; without neutral means or with fewer than 40 emotions, the
        mean-subtracted or raw score (`value_kind`). Equal values come in the guide's order.

        Raises:
            OptionError: k is negative.
        """
        if k < 0:
            raise OptionError(f"top asks for {k} emotions; expected 0 or more")
        slugs, table = self.ranking()
        order = np.argsort(-table, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(table, order, axis=1)
        return [
            [(slugs[i], v) for i, v in zip(columns, row, strict=True)] if good else []
            for good, columns, row in zip(self.ok, order.tolist(), values.tolist(), strict=True)
        ]

    def ranking(self) -> tuple[tuple[str, ...], Float64Array]:
        """What emotions are compared by: E slugs in the guide's order and [N, E] float64 of `value_kind`."""
        if self.has_softmax:
            return _emotion_slugs(), self.softmax
        emotions = tuple(s for s in _emotion_slugs() if s in self.names)
        columns = [self.names.index(s) for s in emotions]
        table = self.mean_subtracted if self.has_baseline else self.raw.astype(np.float64)
        return emotions, table[:, columns]

    def columns(self) -> dict[str, npt.NDArray[Any] | tuple[str, ...]]:
        """Every column of the table by name, in order: key, status, reason, raw_*, score_*, prob_*."""
        out: dict[str, npt.NDArray[Any] | tuple[str, ...]] = {
            "key": self.keys,
            "status": tuple(str(s) for s in self.status),
            "reason": self.reason,
        }
        out |= {f"raw_{n}": self.raw[:, i] for i, n in enumerate(self.names)}
        if self.has_baseline:
            out |= {f"score_{n}": self.mean_subtracted[:, i] for i, n in enumerate(self.names)}
        if self.has_softmax:
            out |= {f"prob_{n}": self.softmax[:, i] for i, n in enumerate(_emotion_slugs())}
        if self.faces is not None:
            out |= {name: self.faces[:, i] for i, name in enumerate(FACE_COLUMNS)}
        return out

    def to_arrow(self) -> "pyarrow.Table":
        """A pyarrow table of `columns()`: null where a value is not finite or its row has no scores.

        Embeddings are a fixed-size list of float32; texts go through `utf8_text`; the schema has `metadata`.
        """
        import pyarrow as pa

        bad = ~self.ok
        arrays: dict[str, pa.Array] = {}
        for name, values in self.columns().items():
            if isinstance(values, np.ndarray):
                arrays[name] = pa.array(values, mask=bad | ~np.isfinite(values))
            else:
                arrays[name] = pa.array([utf8_text(v) for v in values], pa.string())
        if self.embeddings is not None:
            width = self.embeddings.shape[1]
            flat = pa.array(np.ascontiguousarray(self.embeddings, np.float32).ravel())
            unknown = bad | ~np.isfinite(self.embeddings).all(axis=1)
            arrays["embedding"] = pa.FixedSizeListArray.from_arrays(flat, width, mask=pa.array(unknown))
        table = pa.table(arrays)
        return table.replace_schema_metadata({utf8_text(k): utf8_text(v) for k, v in self.metadata.items()})

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas DataFrame of `columns()` (extra `pandas`)."""
        need("pandas", "Scores.to_pandas()")
        return self.to_arrow().to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a row with the names of `columns()`; None where a row has no scores."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def select(self, rows: Sequence[int], keys: Sequence[str] | None = None) -> "Scores":
        """The rows of these places, in their order, each as often as it is named; under new keys where given."""
        at = np.asarray(rows, np.intp)
        return replace(
            self,
            raw=self.raw[at],
            mean_subtracted=self.mean_subtracted[at],
            softmax=self.softmax[at],
            keys=tuple(self.keys[i] for i in rows) if keys is None else tuple(keys),
            status=tuple(self.status[i] for i in rows),
            reason=tuple(self.reason[i] for i in rows),
            embeddings=None if self.embeddings is None else self.embeddings[at],
            faces=None if self.faces is None else self.faces[at],
        )

    @classmethod
    def concat(cls, parts: Sequence["Scores"]) -> "Scores":
        """The rows of several Scores of the same heads, in order.

        Notes are joined without repeats; the one on scaling is made anew for all rows. Metadata that
        differs between the parts is kept as "one; other". A part without embeddings beside parts that have
        them is taken only if none of its rows has scores.

        Raises:
            OptionError: no parts, or they differ in heads, in having neutral means, or in embeddings.
        """
        if not parts or any(p.names != parts[0].names for p in parts):
            raise OptionError("Scores.concat needs at least one part, and the same heads in the same order in all")
        if len({p.has_baseline for p in parts}) > 1:
            raise OptionError("Scores.concat was given parts with and without neutral means; score them alike")
        raw = np.concatenate([p.raw for p in parts])
        notes = [n for p in parts for n in p.notes if not n.endswith(_SCALING)]
        names = dict.fromkeys(k for p in parts for k in p.metadata)
        values = {k: dict.fromkeys(p.metadata[k] for p in parts if k in p.metadata) for k in names}
        return cls(
            raw=raw,
            mean_subtracted=np.concatenate([p.mean_subtracted for p in parts]),
            softmax=np.concatenate([p.softmax for p in parts]),
            names=parts[0].names,
            keys=tuple(k for p in parts for k in p.keys),
            status=tuple(s for p in parts for s in p.status),
            reason=tuple(r for p in parts for r in p.reason),
            embeddings=_concat_embeddings(parts),
            notes=tuple(dict.fromkeys([*notes, *_scaling_note(raw)])),
            metadata={k: "; ".join(v) for k, v in values.items()},
            faces=_concat_faces(parts),
        )


@cache
def _emotion_slugs() -> tuple[str, ...]:
    return tuple(d.slug for d in taxonomy.EMOTIONS)


def _slugs(names: Sequence[str], values: Float32Array) -> tuple[str, ...]:
    slugs = tuple(taxonomy.find(n).slug for n in names)
    if values.ndim != 2 or values.shape[1] != len(slugs):
        raise OptionError(f"raw has shape {values.shape}; expected [N, {len(slugs)}], one column a name")
    if "" in slugs:
        raise OptionError(f"names holds {names[slugs.index('')]!r}; expected a name with letters or digits")
    if len(set(slugs)) != len(slugs):
        raise OptionError(f"names occur twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
    return slugs


def _checked_embeddings(embeddings: Float32Array, n: int) -> Float32Array:
    vectors = np.asarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != n:
        raise OptionError(f"embeddings has shape {vectors.shape}; expected [{n}, width], one row for each of raw")
    return vectors


def _fail_rows_not_finite(
    values: Float32Array, vectors: Float32Array | None, states: list[Status], reasons: list[str]
) -> None:
    """Turn "ok" rows with NaN or infinities into "failed", in place."""
    finite = {"raw scores": np.isfinite(values).all(axis=1)}
    if vectors is not None:
        finite["embeddings"] = np.isfinite(vectors).all(axis=1)
    for what, good in finite.items():
        for i in np.flatnonzero(~good):
            if states[i] == Status.OK:
                states[i] = Status.FAILED
                reasons[i] = "; ".join(filter(None, [reasons[i], f"{what} are not finite"]))


def _concat_embeddings(parts: Sequence[Scores]) -> Float32Array | None:
    widths = {p.embeddings.shape[1] for p in parts if p.embeddings is not None}
    if not widths:
        return None
    if len(widths) > 1 or any(p.embeddings is None and p.ok.any() for p in parts):
        raise OptionError("Scores.concat was given parts with and without embeddings, or of several widths")
    width = widths.pop()
    return np.concatenate(
        [np.full((len(p), width), np.nan, np.float32) if p.embeddings is None else p.embeddings for p in parts]
    )


def _concat_faces(parts: Sequence[Scores]) -> Float64Array | None:
    if all(p.faces is None for p in parts):
        return None
    width = len(FACE_COLUMNS)
    return np.concatenate([np.full((len(p), width), np.nan) if p.faces is None else p.faces for p in parts])


def _means_vector(slugs: tuple[str, ...], neutral_means: Mapping[str, float] | None) -> Float64Array:
    if neutral_means is None:
        return np.full(len(slugs), np.nan)
    by_slug: dict[str, float] = {}
    for name, given in neutral_means.items():
        slug, value = taxonomy.find(name).slug, float(given)
        if not math.isfinite(value):
            raise OptionError(f"neutral_means gives {slug!r} as {value}; expected a finite number")
        if by_slug.setdefault(slug, value) != value:
            raise OptionError(f"neutral_means gives {slug!r} twice: {by_slug[slug]} and {value}")
    missing = [s for s in slugs if s not in by_slug]
    if missing:
        raise OptionError(f"neutral_means lacks {missing}; expected a mean for each of {len(slugs)} heads")
    return np.array([by_slug[s] for s in slugs], dtype=np.float64)


def _emotion_softmax(subtracted: Float64Array, slugs: tuple[str, ...]) -> Float64Array:
    emotions = _emotion_slugs()
    if not set(emotions) <= set(slugs):
        return np.full((len(subtracted), _N_EMOTIONS), np.nan)
    return softmax(subtracted[:, [slugs.index(s) for s in emotions]])


def _scaling_note(values: Float32Array) -> list[str]:
    low, high = LIKELY_RANGE
    outside = (values < low) | (values > high)  # NaN compares false
    if not outside.any():
        return []
    worst = float(values[outside][np.argmax(np.abs(values[outside]))])
    rows = int(outside.any(axis=1).sum())
    return [f"{rows} of {len(values)} rows have raw scores outside {low:g}..{high:g} (worst {worst:.4g}): {_SCALING}"]
