"""Raw head outputs to mean-subtracted scores, softmax and top emotions; the table that users get.

    mean_subtracted = float64(float32 raw) - neutral mean of the head
    softmax         = softmax over the 40 emotions' mean_subtracted, temperature 1 (extra dimensions get none)

Source: the published outputs of EmpathicInsight-Face, reproduced to 1.2e-7.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import taxonomy
from .errors import OptionError
from .optional import need
from .records import Status

if TYPE_CHECKING:
    import pandas
    import pyarrow

LIKELY_RANGE = (-20.0, 20.0)
NO_BASELINE = "no neutral means: raw scores only, no mean-subtracted scores and no softmax"
_N_EMOTIONS = len(taxonomy.EMOTIONS)

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def subtract_means(raw: Float32, means: Float64) -> Float64:
    """[N, D] float32 raw scores minus [D] float64 neutral means, in float64."""
    return raw.astype(np.float64) - means


def softmax(scores: Float64) -> Float64:
    """Row-wise softmax of [N, K]; rows that hold NaN give NaN."""
    shifted = scores - scores.max(axis=1, keepdims=True) if scores.shape[1] else scores
    e = np.exp(shifted)
    out: Float64 = e / e.sum(axis=1, keepdims=True)
    return out


@dataclass(frozen=True)
class Scores:
    """Scores of N inputs by D heads. Rows whose status is not "ok" hold NaN.

    raw: [N, D] float32, the heads' outputs. mean_subtracted: [N, D] float64, NaN without neutral means.
    softmax: [N, 40] float64 over the emotions in the guide's order; NaN without neutral means or where
    not all 40 emotions have a head. names: D column slugs. keys, status, reason: N each.
    embeddings: [N, 1152] float32, not normalised, or None if they were not asked for.
    notes: what a reader must know (no neutral baseline, likely scaling fault, untrained weights).
    metadata: checkpoint hash, precision, backend and versions, as text.
    """

    raw: Float32
    mean_subtracted: Float64
    softmax: Float64
    names: tuple[str, ...]
    keys: tuple[str, ...]
    status: tuple[Status, ...]
    reason: tuple[str, ...]
    embeddings: Float32 | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

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
        embeddings: Float32 | None = None,
        notes: Iterable[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> "Scores":
        """The published arithmetic for anybody's raw outputs.

        raw: [N, D] float. names: D names in any published spelling. neutral_means: by name in any
        spelling, one for every head, or None. status: None means "ok", or "failed" where a row is not finite.

        Raises:
            OptionError: shapes and names do not fit, a name occurs twice, or a head has no mean.
        """
        values = np.asarray(raw, dtype=np.float32)
        slugs = tuple(taxonomy.find(n).slug for n in names)
        if values.ndim != 2 or values.shape[1] != len(slugs):
            raise OptionError(f"raw has shape {values.shape}; expected [N, {len(slugs)}], one column a name")
        if len(set(slugs)) != len(slugs):
            raise OptionError(f"names occur twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
        finite = np.isfinite(values).all(axis=1) if len(slugs) else np.ones(len(values), bool)
        if status is None:
            status = [Status.OK if f else Status.FAILED for f in finite]
            if reason is None:
                reason = ["" if f else "raw scores are not finite" for f in finite]
        values = np.where(np.array([s == Status.OK for s in status], bool)[:, None], values, np.float32(np.nan))
        means = _means_vector(slugs, neutral_means)
        subtracted = subtract_means(values, means)
        said = [*notes, *_notes(values, neutral_means)]
        return cls(
            raw=values,
            mean_subtracted=subtracted,
            softmax=_emotion_softmax(subtracted, slugs),
            names=slugs,
            keys=tuple(keys) if keys is not None else tuple(f"#{i}" for i in range(len(values))),
            status=tuple(status),
            reason=tuple(reason) if reason is not None else ("",) * len(values),
            embeddings=embeddings,
            notes=tuple(dict.fromkeys(said)),
            metadata=dict(metadata or {}),
        )

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """[N] bool: which rows have scores."""
        return np.array([s == Status.OK for s in self.status], dtype=bool)

    @property
    def has_softmax(self) -> bool:
        """Whether neutral means and all 40 emotions are there."""
        return bool(NO_BASELINE not in self.notes and set(_emotion_slugs()) <= set(self.names))

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k strongest emotions of each row as (slug, value), strongest first; [] for rows without scores.

        value: softmax where there is one; without neutral means or with fewer than 40 emotions, the
        mean-subtracted or raw score. Equal values come in the guide's order.
        """
        slugs, table = self._ranking()
        rows: list[list[tuple[str, float]]] = []
        for good, row in zip(self.ok, table, strict=True):
            order = np.argsort(-row, kind="stable")[:k] if good else []
            rows.append([(slugs[i], float(row[i])) for i in order])
        return rows

    def _ranking(self) -> tuple[tuple[str, ...], Float64]:
        if self.has_softmax:
            return _emotion_slugs(), self.softmax
        emotions = [s for s in _emotion_slugs() if s in self.names]
        columns = [self.names.index(s) for s in emotions]
        table = self.raw.astype(np.float64) if NO_BASELINE in self.notes else self.mean_subtracted
        return tuple(emotions), table[:, columns]

    def columns(self) -> dict[str, npt.NDArray[Any] | tuple[str, ...]]:
        """Every column of the table by name, in order: key, status, reason, raw_*, score_*, prob_*."""
        out: dict[str, npt.NDArray[Any] | tuple[str, ...]] = {
            "key": self.keys,
            "status": tuple(str(s) for s in self.status),
            "reason": self.reason,
        }
        out |= {f"raw_{n}": self.raw[:, i] for i, n in enumerate(self.names)}
        if NO_BASELINE not in self.notes:
            out |= {f"score_{n}": self.mean_subtracted[:, i] for i, n in enumerate(self.names)}
        if self.has_softmax:
            out |= {f"prob_{n}": self.softmax[:, i] for i, n in enumerate(_emotion_slugs())}
        return out

    def to_arrow(self) -> "pyarrow.Table":
        """A pyarrow table of `columns()`, with nulls where a row has no scores, embeddings as a fixed-size list."""
        import pyarrow as pa

        bad = ~self.ok
        arrays: dict[str, pa.Array] = {}
        for name, values in self.columns().items():
            masked = isinstance(values, np.ndarray)
            arrays[name] = pa.array(values, mask=bad) if masked else pa.array(values, pa.string())
        if self.embeddings is not None:
            width = self.embeddings.shape[1]
            flat = pa.array(np.ascontiguousarray(self.embeddings, np.float32).ravel())
            arrays["embedding"] = pa.FixedSizeListArray.from_arrays(flat, width, mask=pa.array(bad))
        table = pa.table(arrays)
        return table.replace_schema_metadata({k: v for k, v in self.metadata.items()})

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas DataFrame of `columns()` (extra `pandas`)."""
        need("pandas", "Scores.to_pandas()")
        return self.to_arrow().to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a row with the names of `columns()`; None where a row has no scores."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    @classmethod
    def concat(cls, parts: Sequence["Scores"]) -> "Scores":
        """The rows of several Scores of the same heads, in order.

        Raises:
            OptionError: no parts, or their heads differ.
        """
        if not parts or any(p.names != parts[0].names for p in parts):
            raise OptionError("Scores.concat needs at least one part, and the same heads in the same order in all")
        embeddings = [p.embeddings for p in parts if p.embeddings is not None]
        return cls(
            raw=np.concatenate([p.raw for p in parts]),
            mean_subtracted=np.concatenate([p.mean_subtracted for p in parts]),
            softmax=np.concatenate([p.softmax for p in parts]),
            names=parts[0].names,
            keys=tuple(k for p in parts for k in p.keys),
            status=tuple(s for p in parts for s in p.status),
            reason=tuple(r for p in parts for r in p.reason),
            embeddings=np.concatenate(embeddings) if len(embeddings) == len(parts) else None,
            notes=tuple(dict.fromkeys(n for p in parts for n in p.notes)),
            metadata=parts[0].metadata,
        )


def _emotion_slugs() -> tuple[str, ...]:
    return tuple(d.slug for d in taxonomy.EMOTIONS)


def _means_vector(slugs: tuple[str, ...], neutral_means: Mapping[str, float] | None) -> Float64:
    if neutral_means is None:
        return np.full(len(slugs), np.nan)
    by_slug = {taxonomy.find(k).slug: float(v) for k, v in neutral_means.items()}
    missing = [s for s in slugs if s not in by_slug]
    if missing:
        raise OptionError(f"neutral_means lacks {missing}; expected one mean for each of the {len(slugs)} heads")
    return np.array([by_slug[s] for s in slugs], dtype=np.float64)


def _emotion_softmax(subtracted: Float64, slugs: tuple[str, ...]) -> Float64:
    emotions = _emotion_slugs()
    if not set(emotions) <= set(slugs):
        return np.full((len(subtracted), _N_EMOTIONS), np.nan)
    return softmax(subtracted[:, [slugs.index(s) for s in emotions]])


def _notes(values: Float32, neutral_means: Mapping[str, float] | None) -> list[str]:
    said = [] if neutral_means is not None else [NO_BASELINE]
    low, high = LIKELY_RANGE
    outside = (values < low) | (values > high)  # NaN compares false
    if outside.any():
        worst = float(values[outside][np.argmax(np.abs(values[outside]))])
        said.append(
            f"{int(outside.any(axis=1).sum())} rows have raw scores outside {low:g}..{high:g} (worst {worst:.4g}): "
            "likely a scaling fault, such as embeddings that were not L2-normalised; do not trust these scores"
        )
    return said
