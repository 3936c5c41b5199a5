"""The table of scores that users get, made from the heads' raw outputs by the published arithmetic.

Over 300 lines: users get one object, and each of its readings (columns, rows, tables, ranks) is a short method.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np
import numpy.typing as npt

from ..arithmetic import (
    EMOTIONS,
    SCALING,
    checked_embeddings,
    checked_means,
    checked_slugs,
    emotion_softmax,
    fail_rows_not_finite,
    missing_note,
    scaling_note,
)
from ..baseline import Baseline
from ..errors import OptionError
from ..optional import need
from ..records import Float32Array, Float64Array, Status, face_index, file_name
from ..reliability import reliable
from ..taxonomy import canonical_order
from ..text import utf8_text
from .parts import (
    FACE_COLUMNS,
    NO_BASELINE,
    QUALITY_COLUMNS,
    check_alike,
    check_lengths,
    column,
    embedding_column,
    joined_metadata,
    joined_tables,
    summary,
    write,
)

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class Scores:
    """Scores of N inputs by D heads. Rows whose status is not "ok" hold NaN; "ok" rows are finite.

    `scores[3]`, `scores[2:5]` and `scores[scores.ok]` are Scores of these rows, and iterating gives Scores of one row
    each; `scores["elation"]` is a column. A notebook shows a small table with pictures.

    Args:
        raw: [N, D] float32, the heads' outputs.
        score: [N, D] float64, mean-subtracted; NaN without neutral means.
        softmax: [N, 40] float64, its columns named by `emotions`; NaN without neutral means, and where one of the 40
            emotions has no head.
        names: D column slugs of `raw` and `score`: the emotions in the order of `emotions` (the guide's),
            then extra dimensions, then others by name.
        keys: N names of the rows.
        status: N statuses.
        reason: N texts, why a row has no scores or what decoding had to do; "" for most rows.
        embeddings: [N, hidden] float32, not normalised; None if nobody asked for them.
        notes: what a reader must know: no neutral means, scores outside the trained scale, untrained weights.
        metadata: checkpoint hash, precision, backend and versions, as text.
        faces: [N, 10] float64 of FACE_COLUMNS and QUALITY_COLUMNS where rows are faces of pictures, NaN where a row
            has no face; None where whole pictures were scored.
        baseline: the population that `z` and `percentile` are relative to; see `against`.
    """

    raw: Float32Array
    score: Float64Array
    softmax: Float64Array
    names: tuple[str, ...]
    keys: tuple[str, ...]
    status: tuple[Status, ...]
    reason: tuple[str, ...]
    embeddings: Float32Array | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    faces: Float64Array | None = None
    baseline: Baseline | None = None

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
        """Scores of anybody's raw outputs, by the published arithmetic.

        Args:
            raw: [N, D] float, its columns in the order of `names`.
            names: D names in any published spelling and order. The result has the order of `Scores.names`.
            neutral_means: by name in any spelling, one for every head; None for raw scores only.
            keys: N names of the rows; None for `#0`, `#1`, ...
            status: N statuses; None for "ok" in all. A row that is "ok" and not finite becomes "failed".
            reason: N texts; None for "" in all.
            embeddings: [N, W] float, one row for each of `raw`.
            notes: what a reader must know.
            metadata: what the output files carry.

        Raises:
            OptionError: when shapes, lengths or names do not fit, a name occurs twice, or a head has no finite mean.
        """
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, so its row "failed"
            values = np.asarray(raw).astype(np.float32)
        given, n = checked_slugs(names, values), len(values)
        slugs = tuple(canonical_order(given))
        values = values[:, [given.index(s) for s in slugs]]
        labels = [f"#{i}" for i in range(n)] if keys is None else list(keys)
        states = [Status.OK] * n if status is None else [Status(s) for s in status]
        reasons = [""] * n if reason is None else list(reason)
        check_lengths(n, keys=labels, status=states, reason=reasons)
        return cls.of_checked(
            values,
            slugs,
            None if neutral_means is None else checked_means(slugs, neutral_means),
            keys=labels,
            status=states,
            reason=reasons,
            embeddings=None if embeddings is None else checked_embeddings(embeddings, n),
            notes=notes,
            metadata=metadata or {},
        )

    @classmethod
    def of_checked(
        cls,
        raw: Float32Array,
        slugs: tuple[str, ...],
        means: Float64Array | None,
        *,
        keys: Sequence[str],
        status: Sequence[Status],
        reason: Sequence[str],
        embeddings: Float32Array | None,
        notes: Iterable[str],
        metadata: Mapping[str, str],
        faces: Float64Array | None = None,
    ) -> "Scores":
        """`from_raw` for a Scorer's batches: D slugs in their order, [D] means, and N of all else are known to fit."""
        states, reasons = list(status), list(reason)
        fail_rows_not_finite(raw, embeddings, states, reasons)
        good = np.array([s == Status.OK for s in states], dtype=bool)
        values = np.where(good[:, None], raw, np.float32(np.nan))
        subtracted = values.astype(np.float64) - (np.nan if means is None else means)
        no_baseline = [NO_BASELINE] if means is None else []
        return cls(
            raw=values,
            score=subtracted,
            softmax=emotion_softmax(subtracted, slugs),
            names=slugs,
            keys=tuple(keys),
            status=tuple(states),
            reason=tuple(reasons),
            embeddings=embeddings,
            notes=tuple(dict.fromkeys([*notes, *missing_note(slugs), *no_baseline, *scaling_note(values)])),
            metadata=dict(metadata),
            faces=faces,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"<Scores {summary(self)}>"

    def _repr_html_(self) -> str:
        from . import notebook

        return notebook.table(self)

    def __iter__(self) -> Iterator["Scores"]:
        return (self.select([row]) for row in range(len(self)))

    # Keys or columns: a guess would answer `"awe" in scores` with False.
    __contains__ = None

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        raise TypeError("Scores hold several tables; take .raw, .score, .softmax or .z of them, or to_pandas()")

    @overload
    def __getitem__(self, which: str) -> npt.NDArray[Any]: ...

    @overload
    def __getitem__(self, which: int | slice | Sequence[int] | npt.NDArray[Any]) -> "Scores": ...

    def __getitem__(self, which: str | int | slice | Sequence[int] | npt.NDArray[Any]) -> "npt.NDArray[Any] | Scores":
        """Rows as Scores, or a column as an array [N].

        Args:
            which: a row, a slice, N truth values or an array of rows, as numpy takes them; or the name of an emotion in
                any spelling, for its values of `value_kind`, or of one of `columns()`, such as "raw_valence".

        Raises:
            IndexError: for rows that are not there.
            OptionError: for a name that no column has.
        """
        if not isinstance(which, str):
            return self.select(np.ravel(np.arange(len(self))[which]).tolist())
        return column(self, which)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Slugs of the 40 columns of `softmax`: the emotions in the guide's order. `names` begins with those it has."""
        return EMOTIONS

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """[N] bool: which rows have scores."""
        return np.array([s == Status.OK for s in self.status], dtype=bool)

    @property
    def has_score(self) -> bool:
        """Whether neutral means were subtracted."""
        return NO_BASELINE not in self.notes

    @property
    def has_softmax(self) -> bool:
        """Whether neutral means and all 40 emotions are there."""
        return self.has_score and set(EMOTIONS) <= set(self.names)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The values that are there: "raw", "score" (mean-subtracted), "softmax", "z" (see `against`)."""
        there = {
            "raw": True,
            "score": self.has_score,
            "softmax": self.has_softmax,
            "z": self.baseline is not None,
        }
        return tuple(kind for kind, known in there.items() if known)

    @property
    def value_kind(self) -> str:
        """What `top` and `ranking` give unless told otherwise: the last of `kinds`."""
        return self.kinds[-1]

    def against(self, baseline: Baseline) -> "Scores":
        """These scores beside a population: with `z`, `percentile`, their columns, and rankings by z.

        Args:
            baseline: of scores of the same checkpoint; see `emonet-fast baseline` and docs/baselines.md.

        Raises:
            OptionError: when the baseline is none, or is of another checkpoint (by its hash) or of other heads.
        """
        if not isinstance(baseline, Baseline):
            raise OptionError(f"baseline is {baseline!r}; expected a Baseline, as ef.Baseline.read(path) gives")
        baseline.check(self.names, self.metadata)
        notes = dict.fromkeys([*self.notes, *baseline.notes(self.metadata)])
        return replace(self, baseline=baseline, notes=tuple(notes))

    def as_baseline(self) -> Baseline:
        """The baseline of these rows themselves, as far as they have scores.

        Raises:
            OptionError: when no row has scores.
        """
        return Baseline.of(self.raw[self.ok], self.names, self.metadata, ["the rows themselves"])

    @property
    def z(self) -> Float64Array:
        """[N, D] float64: spreads above the baseline's median; see `Baseline.spread`. NaN without a baseline."""
        return np.full(self.raw.shape, np.nan) if self.baseline is None else self.baseline.z(self.raw)

    @property
    def percentile(self) -> Float64Array:
        """[N, D] float64 of 0..100: the share of the baseline's rows below. NaN without a baseline."""
        return np.full(self.raw.shape, np.nan) if self.baseline is None else self.baseline.percentile(self.raw)

    def top(
        self, k: int = 5, kind: str | None = None, min_reliability: float | None = None
    ) -> list[list[tuple[str, float]]]:
        """The k strongest emotions of each row as (slug, value), strongest first; [] for rows without scores.

        Equal values come in the guide's order.

        Args:
            k: how many.
            kind, min_reliability: as of `ranking`.

        Raises:
            OptionError: k is negative, or as `ranking` raises.
        """
        if k < 0:
            raise OptionError(f"top asks for {k} emotions; expected 0 or more")
        slugs, table = self.ranking(kind, min_reliability)
        order = np.argsort(-table, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(table, order, axis=1)
        return [
            [(slugs[i], v) for i, v in zip(columns, row, strict=True) if v == v] if good else []
            for good, columns, row in zip(self.ok, order.tolist(), values.tolist(), strict=True)
        ]

    def ranking(
        self, kind: str | None = None, min_reliability: float | None = None
    ) -> tuple[tuple[str, ...], Float64Array]:
        """What emotions are compared by: E slugs in the guide's order and [N, E] float64.

        Args:
            kind: one of `kinds`; None takes `value_kind`.
            min_reliability: leave out emotions of which the experts' alpha is lower; None leaves none out.

        Raises:
            OptionError: when these scores have no such kind, or no emotion is left.
        """
        wanted = self.value_kind if kind is None else kind
        if wanted not in self.kinds:
            raise OptionError(f"these scores have no {wanted!r}; expected one of {', '.join(self.kinds)}")
        slugs = reliable(tuple(s for s in EMOTIONS if s in self.names), min_reliability)
        if wanted == "softmax":
            return slugs, self.softmax[:, [EMOTIONS.index(s) for s in slugs]]
        columns = [self.names.index(s) for s in slugs]
        if wanted == "z":
            return slugs, self.z[:, columns]
        table = self.score if wanted == "score" else self.raw.astype(np.float64)
        return slugs, table[:, columns]

    @property
    def dominant(self) -> tuple[str | None, ...]:
        """N slugs of the strongest emotion by `value_kind`; None for rows without scores."""
        return tuple(row[0][0] if row else None for row in self.top(1))

    def columns(self) -> dict[str, npt.NDArray[Any] | tuple[str | int | None, ...]]:
        """Every column of the table by name, in order: key, status, reason, raw_*, score_*, softmax_*,
        face_*, file_name, dominant_emotion, of faces face_index and their quality, z_*, percentile_*."""
        out: dict[str, npt.NDArray[Any] | tuple[str | int | None, ...]] = {
            "key": self.keys,
            "status": tuple(str(s) for s in self.status),
            "reason": self.reason,
        }
        out |= {f"raw_{n}": self.raw[:, i] for i, n in enumerate(self.names)}
        if self.has_score:
            out |= {f"score_{n}": self.score[:, i] for i, n in enumerate(self.names)}
        if self.has_softmax:
            out |= {f"softmax_{n}": self.softmax[:, i] for i, n in enumerate(EMOTIONS)}
        if self.faces is not None:
            out |= {name: self.faces[:, i] for i, name in enumerate(FACE_COLUMNS)}
        out["file_name"] = tuple(map(file_name, self.keys))
        out["dominant_emotion"] = self.dominant
        if self.faces is not None:
            out["face_index"] = tuple(face_index(k) if ok else None for k, ok in zip(self.keys, self.ok, strict=True))
            out |= {name: self.faces[:, i] for i, name in enumerate(QUALITY_COLUMNS, len(FACE_COLUMNS))}
        if self.baseline is not None:
            for kind, table in (("z", self.z), ("percentile", self.percentile)):
                out |= {f"{kind}_{n}": table[:, i] for i, n in enumerate(self.names)}
        return out

    def to_arrow(self) -> "pyarrow.Table":
        """A pyarrow table of `columns()`: null where a value is not finite or its row has no scores.

        Embeddings are a fixed-size list of float32; texts go through `utf8_text`; the schema has `metadata`.
        """
        import pyarrow as pa

        ok = self.ok
        arrays: dict[str, pa.Array] = {}
        for name, values in self.columns().items():
            if isinstance(values, np.ndarray):
                arrays[name] = pa.array(values, mask=~ok | ~np.isfinite(values))
            else:
                kind = pa.int64() if name == "face_index" else pa.string()
                arrays[name] = pa.array([utf8_text(v) if isinstance(v, str) else v for v in values], kind)
        if self.embeddings is not None:
            arrays["embedding"] = embedding_column(self.embeddings, ok, np.float32)
        table = pa.table(arrays)
        return table.replace_schema_metadata({utf8_text(k): utf8_text(v) for k, v in self.metadata.items()})

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """`to_arrow()` for libraries that take Arrow tables: `polars.DataFrame(scores)`, `pyarrow.table(scores)`."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas DataFrame of `columns()` (extra `pandas`)."""
        need("pandas", "Scores.to_pandas()")
        return self.to_arrow().to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a row with the names of `columns()`; None where a row has no scores."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file of `to_arrow()`, as `emonet-fast score` does; an older file is replaced.

        Raises:
            OptionError: when the name does not end in .parquet, or the folder cannot be written.
            EmonetError: when the disk refuses.
        """
        write(self, path, ".parquet")

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file, and its metadata as `<name>.meta.json` beside it. Takes and raises as `to_parquet`."""
        write(self, path, ".csv")

    def plot(self, kind: str | None = None, *, axes: "Axes | None" = None) -> "Axes":
        """Draw the emotions by matplotlib (extra `eval`): bars of one row, strongest first; a heat map of several.

        Args:
            kind: as of `ranking`.
            axes: where to draw; None makes a figure of pyplot.

        Returns:
            The axes, to be changed or saved: `scores.plot().figure.savefig("a.png")`.

        Raises:
            OptionError: when no row has scores, or as `ranking` raises.
            MissingPackageError: without matplotlib.
        """
        from . import notebook

        return notebook.plot(self, kind, axes)

    def select(self, rows: Sequence[int], keys: Sequence[str] | None = None) -> "Scores":
        """The rows of these places, from 0, in their order, each as often as it is named; with new keys, if any."""
        at = np.asarray(rows, np.intp)
        return replace(
            self,
            raw=self.raw[at],
            score=self.score[at],
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
            OptionError: no parts, or they differ in heads, in having neutral means, in baseline or in embeddings.
        """
        check_alike(parts)
        raw = np.concatenate([p.raw for p in parts])
        notes = [n for p in parts for n in p.notes if not n.endswith(SCALING)]
        return cls(
            raw=raw,
            score=np.concatenate([p.score for p in parts]),
            softmax=np.concatenate([p.softmax for p in parts]),
            names=parts[0].names,
            keys=tuple(k for p in parts for k in p.keys),
            status=tuple(s for p in parts for s in p.status),
            reason=tuple(r for p in parts for r in p.reason),
            embeddings=joined_tables([p.embeddings for p in parts], parts),
            notes=tuple(dict.fromkeys([*notes, *scaling_note(raw)])),
            metadata=joined_metadata([p.metadata for p in parts]),
            faces=joined_tables([p.faces for p in parts], parts),
            baseline=parts[0].baseline,
        )
