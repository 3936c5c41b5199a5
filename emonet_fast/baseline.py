"""Population baselines: what is usual for each head in a set of scores, and how far a row lies from it.

    z          = (raw - median) / spread
    spread     = max(1.4826 MAD, FLOOR x median of 1.4826 MAD over the heads of the same group)
    percentile = share of the population below the value, 0..100, linear between the stored quantiles

z and percentile are the same for raw and mean-subtracted scores: a head's neutral mean moves value and median alike.
1.4826 makes the MAD (median absolute deviation) the standard deviation of a normal population.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import taxonomy
from .errors import DataError, OptionError
from .records import Float32Array, Float64Array
from .text import counted

FORMAT, VERSION = "emonet_fast.baseline", 1
MAD_TO_DEVIATION = 1.4826
# A head that hardly moves in a population would turn its smallest stir into a large z.
FLOOR = 0.25
# The quantiles that are kept: every percent, and finer at both ends.
PROBABILITIES = tuple(sorted({*(i / 100 for i in range(101)), 0.001, 0.005, 0.995, 0.999}))
# With fewer rows a note says that the figures are rough.
FEW = 100
_LARGEST_FILE = 64 << 20


@dataclass(frozen=True, eq=False, repr=False)
class Baseline:
    """What is usual for D heads in a population of scored rows. Two baselines are equal where all figures are.

    Args:
        names: D slugs, in the order of `Scores.names`.
        rows: number of rows with scores.
        median: [D] float64 of the raw scores.
        mad: [D] float64, median of |raw - median|.
        mean: [D] float64.
        deviation: [D] float64, standard deviation by n - 1; NaN for a single row.
        quantiles: [D, len(PROBABILITIES)] float64, linear between the nearest rows, as numpy's and R's default.
        metadata: of the scores: `checkpoint_hash`, `checkpoint`, `precision`, `backend`, as text; "" where unknown.
        neutral_mean: [D] float64, what was subtracted from raw scores; None where nothing was.
        left_out: rows without scores by status, which do not count.
        sources: the files that the scores came from, or what else the population is.
    """

    names: tuple[str, ...]
    rows: int
    median: Float64Array
    mad: Float64Array
    mean: Float64Array
    deviation: Float64Array
    quantiles: Float64Array
    metadata: Mapping[str, str]
    neutral_mean: Float64Array | None = None
    left_out: Mapping[str, int] | None = None
    sources: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Baseline of {counted(self.rows, 'row')}, {counted(len(self.names), 'dimension')}>"

    @classmethod
    def of(
        cls, raw: Float32Array, names: Sequence[str], metadata: Mapping[str, str], sources: Sequence[str] = ()
    ) -> "Baseline":
        """The baseline of rows in memory.

        Args:
            raw: [N, D] float, at least one row, finite.
            names: D slugs.
            metadata: as of `Scores`.
            sources: what the population is.

        Raises:
            OptionError: when there is no row.
        """
        if not len(raw):
            raise OptionError("a baseline needs at least one row with scores, and none came")
        median, mad, mean, deviation = (np.full(len(names), np.nan) for _ in range(4))
        quantiles = np.empty((len(names), len(PROBABILITIES)))
        for i in range(len(names)):  # a head at a time: in float64 all of them would take twice the rows' memory
            values = np.asarray(raw[:, i], np.float64)
            quantiles[i] = np.quantile(values, PROBABILITIES)
            median[i], mean[i] = np.median(values), values.mean()
            mad[i] = np.median(np.abs(values - median[i]))
            if len(values) > 1:
                deviation[i] = values.std(ddof=1)
        return cls(
            names=tuple(names),
            rows=len(raw),
            median=median,
            mad=mad,
            mean=mean,
            deviation=deviation,
            quantiles=quantiles,
            metadata=known_facts(metadata),
            sources=tuple(sources),
        )

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        """The baseline in a file of `emonet-fast baseline`. Raises DataError when it is none, or damaged."""
        path = Path(path)
        wanted = "expected the file of `emonet-fast baseline`"
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST_FILE + 1)
            if len(text) > _LARGEST_FILE:
                raise DataError(f"{path} has more than {_LARGEST_FILE:,} bytes; {wanted}")
            facts = json.loads(text)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}); {wanted}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON ({str(error)[:100]}); {wanted}") from None
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise DataError(f"{path} is another kind of JSON; {wanted}")
        if facts.get("version") != VERSION:
            raise DataError(f"{path} has version {facts.get('version')!r}, this package reads {VERSION}; make it again")
        try:
            return _checked(facts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]}); {wanted}") from None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Baseline) and self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash((self.names, self.rows, self.median.tobytes()))

    @property
    def checkpoint_hash(self) -> str:
        """Of the weights that gave the scores; "" where unknown."""
        return self.metadata.get("checkpoint_hash", "")

    @property
    def spread(self) -> Float64Array:
        """[D] float64: 1.4826 MAD, at least FLOOR times the median of that over the head's group.

        Extra dimensions are a group, and heads outside the taxonomy another. NaN where the whole group never moves:
        no z can be said there.
        """
        own = MAD_TO_DEVIATION * self.mad
        groups = [_group(name) for name in self.names]
        usual = {g: float(np.median(own[[i for i, one in enumerate(groups) if one == g]])) for g in set(groups)}
        spread = np.maximum(own, FLOOR * np.array([usual[g] for g in groups]))
        return np.where(spread > 0, spread, np.nan)

    def z(self, raw: Float32Array | Float64Array) -> Float64Array:
        """[N, D] float64: how many spreads each of [N, D] raw scores lies above its head's median; NaN stays NaN."""
        return (np.asarray(raw, np.float64) - self.median) / self.spread

    def percentile(self, raw: Float32Array | Float64Array) -> Float64Array:
        """[N, D] float64 of 0..100: the share of the population below each of [N, D] raw scores; NaN stays NaN.

        A value that several quantiles share has the middle of theirs. Beyond the population it is 0 or 100.
        """
        percent = 100 * np.array(PROBABILITIES)
        out = np.empty(np.shape(raw), np.float64)
        for i, quantiles in enumerate(self.quantiles):
            values = np.asarray(raw[:, i], np.float64)
            last = np.interp(values, quantiles, percent)  # of equal quantiles, numpy takes the last one
            first = 100 - np.interp(-values, -quantiles[::-1], 100 - percent[::-1])
            out[:, i] = (first + last) / 2
        return out

    def check(self, names: Sequence[str], metadata: Mapping[str, str]) -> None:
        """Raise OptionError where scores of these heads and metadata are not of this baseline's checkpoint."""
        came = metadata.get("checkpoint_hash", "")
        if came != self.checkpoint_hash:
            raise OptionError(
                f"the scores are of checkpoint {came or 'unknown'}, and the baseline is of "
                f"{self.checkpoint_hash or 'unknown'}. Heads differ in offset and spread from checkpoint to "
                "checkpoint: make a baseline of scores of the same one, by `emonet-fast baseline`"
            )
        if tuple(names) != self.names:
            other = sorted(set(names) ^ set(self.names))
            raise OptionError(
                f"scores and baseline have other heads ({', '.join(other[:5]) or 'in another order'}); expected the "
                f"{len(self.names)} of the baseline"
            )

    def notes(self, metadata: Mapping[str, str]) -> list[str]:
        """What a reader of z must know, of scores with this metadata."""
        notes = []
        if self.rows < FEW:
            notes.append(f"the baseline has {counted(self.rows, 'row')}; z and percentiles are rough below {FEW}")
        if np.isnan(self.spread).all():
            notes.append("all rows of the baseline are alike, so there is no z")
        came, own = metadata.get("precision", ""), self.metadata.get("precision", "")
        if came and own and came != own:
            notes.append(f"the baseline was scored in {own}, these rows in {came}")
        return notes

    @property
    def facts(self) -> dict[str, str]:
        """What tables say of it in their metadata: where it comes from, its rows, and the hash of its file."""
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()
        return {
            "baseline": ", ".join(self.sources[:3]) + (", ..." if len(self.sources) > 3 else ""),
            "baseline_rows": str(self.rows),
            "baseline_hash": f"sha256:{digest}",
        }

    def to_json(self) -> str:
        """The file's text: every figure with all of its digits."""
        heads = {
            name: {
                "median": float(self.median[i]),
                "mad": float(self.mad[i]),
                "mean": float(self.mean[i]),
                "deviation": None if math.isnan(self.deviation[i]) else float(self.deviation[i]),
                "neutral_mean": None if self.neutral_mean is None else float(self.neutral_mean[i]),
                "quantiles": self.quantiles[i].tolist(),
            }
            for i, name in enumerate(self.names)
        }
        facts: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "values": "raw scores",
            "rows": self.rows,
            "left_out": dict(self.left_out or {}),
            "metadata": dict(self.metadata),
            "sources": list(self.sources),
            "probabilities": list(PROBABILITIES),
            "heads": heads,
        }
        return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def known_facts(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a baseline keeps of the metadata of scores."""
    return {k: str(metadata.get(k, "")) for k in ("checkpoint_hash", "checkpoint", "precision", "backend")}


def _checked(facts: Mapping[str, Any]) -> Baseline:
    heads = facts["heads"]
    names = tuple(str(name) for name in heads)
    if tuple(facts["probabilities"]) != PROBABILITIES:
        raise ValueError("other quantiles than this package writes")

    def column(field: str) -> Float64Array:
        return np.array([np.nan if head[field] is None else head[field] for head in heads.values()], np.float64)

    quantiles = np.array([head["quantiles"] for head in heads.values()], np.float64)
    figures = [column(field) for field in ("median", "mad", "mean")]
    if (
        not names
        or list(names) != taxonomy.canonical_order(names)
        or quantiles.shape != (len(names), len(PROBABILITIES))
        or not all(np.isfinite(one).all() for one in (*figures, quantiles))
        or (figures[1] < 0).any()
        or (np.diff(quantiles, axis=1) < -1e-9).any()
        or not np.allclose(figures[0], quantiles[:, PROBABILITIES.index(0.5)], rtol=1e-9, atol=1e-9)
        or type(facts["rows"]) is not int
        or facts["rows"] < 1
    ):
        raise ValueError("figures that no population has")
    neutral = column("neutral_mean")
    return Baseline(
        names=names,
        rows=facts["rows"],
        median=figures[0],
        mad=figures[1],
        mean=figures[2],
        deviation=column("deviation"),
        quantiles=quantiles,
        metadata={str(k): str(v) for k, v in facts["metadata"].items()},
        neutral_mean=None if np.isnan(neutral).any() else neutral,
        left_out={str(k): int(v) for k, v in facts["left_out"].items()},
        sources=tuple(str(one) for one in facts["sources"]),
    )


def _group(name: str) -> str:
    dimension = taxonomy.find(name)
    return dimension.group or ("extra" if dimension in taxonomy.EXTRA_DIMENSIONS else "other")
