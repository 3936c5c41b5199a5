"""How close an engine comes to the float32 reference, and whether that is close enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import Float64Array

Array = npt.NDArray[np.floating]

# Spearman over fewer pictures says little: one swap of neighbours among 20 already costs 0.0015.
MIN_PICTURES_FOR_RANKS = 64

# What int8 may cost: of every head's order of the pictures, of the errors' root mean square over each head's spread,
# and of the strongest emotion.
INT8_SPEARMAN, INT8_RMS, INT8_TOP1 = 0.99, 0.05, 0.97

# For embeddings in bf16 where no other bf16 is measured beside them. PyTorch's own has 0.99995 (table of the
# README); twice its error is four times its cosine distance.
BF16_COSINE = 0.9997


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far an engine's outputs are from the reference's. Scores are raw, on the 0..7 scale.

    Args:
        pictures: how many were compared.
        cosine_min: the lowest cosine of two embeddings.
        cosine_mean: the mean cosine.
        max_error: the largest error of a raw score, over all heads.
        rms_error: the root of the mean square of these errors.
        max_relative: as max_error, each head divided by its standard deviation between images.
        rms_relative: as rms_error, likewise.
        spread_min: the smallest of these standard deviations, of the reference.
        spearman: the rank correlation over images, one for each head.
        top1_agreement: the share of images with the same strongest emotion.
    """

    pictures: int
    cosine_min: float
    cosine_mean: float
    max_error: float
    rms_error: float
    max_relative: float
    rms_relative: float
    spread_min: float
    spearman: tuple[float, ...]
    top1_agreement: float

    @property
    def spearman_min(self) -> float:
        """The rank correlation of the head that kept its order of the images least; NaN if a head has no spread."""
        return float(np.min(self.spearman))


def worst(measured: Sequence[Fidelity]) -> Fidelity:
    """Take the worst of each figure, head by head, of several measurements over the same pictures; NaN is the worst."""

    def low(name: str) -> float:
        return float(np.min([getattr(f, name) for f in measured]))  # Python's own min may pass over NaN

    def high(name: str) -> float:
        return float(np.max([getattr(f, name) for f in measured]))

    return Fidelity(
        pictures=measured[0].pictures,
        cosine_min=low("cosine_min"),
        cosine_mean=low("cosine_mean"),
        max_error=high("max_error"),
        rms_error=high("rms_error"),
        max_relative=high("max_relative"),
        rms_relative=high("rms_relative"),
        spread_min=measured[0].spread_min,
        spearman=tuple(np.min([f.spearman for f in measured], axis=0).tolist()),
        top1_agreement=low("top1_agreement"),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether an engine is close enough.

    Args:
        failures: one sentence for each bar that it misses.
        unproved: one sentence for each bar that this run could not try.
    """

    failures: tuple[str, ...]
    unproved: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures


def measure(reference: tuple[Array, Array], engine: tuple[Array, Array], emotions: list[int]) -> Fidelity:
    """Compare an engine's outputs with the reference's; both are embedding [N, D] and raw [N, H].

    `emotions` are the columns of the 40 emotions, among which the strongest is compared.
    """
    want, got = _float64(reference[0]), _float64(engine[0])
    cosine = (want * got).sum(1) / (np.linalg.norm(want, axis=1) * np.linalg.norm(got, axis=1))
    raw_want, raw_got = _float64(reference[1]), _float64(engine[1])
    error = raw_got - raw_want
    spread = raw_want.std(axis=0)
    # a head that says the same of all pictures (or one picture only) has no spread to compare with
    varied = spread > 0
    relative = error[:, varied] / spread[varied] if varied.any() else np.full((1, 1), np.nan)
    ranks = [spearman(a, b) for a, b in zip(raw_want.T, raw_got.T, strict=True)]
    same = raw_want[:, emotions].argmax(1) == raw_got[:, emotions].argmax(1)
    return Fidelity(
        pictures=len(error),
        cosine_min=float(cosine.min()),
        cosine_mean=float(cosine.mean()),
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt((error**2).mean())),
        max_relative=float(np.abs(relative).max()),
        rms_relative=float(np.sqrt((relative**2).mean())),
        spread_min=float(spread.min()),
        spearman=tuple(ranks),
        top1_agreement=float(same.mean()),
    )


def spearman(a: Float64Array, b: Float64Array) -> float:
    """Spearman's rank correlation of two rows of N values, ties by their mean rank; NaN without spread."""
    # Not evaluate.metrics' form, whose last bit differs: certificates of FP8 keep these figures.
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def _float64(values: Array) -> Float64Array:
    return np.asarray(values, np.float64)


def _ranks(values: Float64Array) -> Float64Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: Float64Array = (last - (counts - 1) / 2)[inverse]
    return ranks


def gate_fp32(fidelity: Fidelity) -> Gate:
    """cosine >= 0.999999 and scores within 1e-3: what reordering float32 sums over 27 layers may cost."""
    failures = []
    if not fidelity.cosine_min >= 0.999999:
        failures.append(f"embedding cosine {fidelity.cosine_min:.7f} is below 0.999999")
    if not fidelity.max_error <= 1e-3:
        failures.append(f"max score error {fidelity.max_error:.2e} is above 1e-3")
    return Gate(tuple(failures))


def gate_bf16(fidelity: Fidelity, reference_bf16: Fidelity) -> Gate:
    """At most twice the error of the reference run in bf16 by PyTorch, and ranks kept per head."""
    failures = []
    for name in ("rms_error", "max_error"):
        ours, theirs = getattr(fidelity, name), getattr(reference_bf16, name)
        if not ours <= 2 * theirs:
            failures.append(f"{name} {ours:.2e} is above twice that of PyTorch in bf16, {theirs:.2e}")
    if fidelity.pictures < MIN_PICTURES_FOR_RANKS:
        few = f"Spearman per head: needs {MIN_PICTURES_FOR_RANKS} pictures, had {fidelity.pictures}"
        return Gate(tuple(failures), (few,))
    return Gate((*failures, *_rank_failures(fidelity, 0.998)))


def gate_fp8(fidelity: Fidelity) -> Gate:
    """cosine >= 0.999 and Spearman per head >= 0.995: what FP8 may cost before users would notice.

    Fewer pictures than MIN_PICTURES_FOR_RANKS are a failure here, not a bar unproved: FP8 is certified or not used.
    """
    return _absolute_gate(fidelity, 0.999, 0.995)


def gate_int8(fidelity: Fidelity) -> Gate:
    """Spearman per head >= 0.99, RMS error <= 5% of the between-image spread, top-1 agreement >= 97%.

    RMS is over all heads, each error over its head's spread: a head that loses 14% of its spread alone misses 0.99 in
    Spearman. Fewer pictures than MIN_PICTURES_FOR_RANKS leave a bar unproved: such a report serves whoever asks for
    int8 by name, and no precision "auto".
    """
    failures = _rank_failures(fidelity, INT8_SPEARMAN)
    if not fidelity.rms_relative <= INT8_RMS:
        failures.append(f"RMS error {fidelity.rms_relative:.1%} of the spread is above {INT8_RMS:.0%}")
    if not fidelity.top1_agreement >= INT8_TOP1:
        failures.append(f"top-1 agreement {fidelity.top1_agreement:.1%} is below {INT8_TOP1:.0%}")
    few = fidelity.pictures < MIN_PICTURES_FOR_RANKS
    unproved = (f"Spearman per head: needs {MIN_PICTURES_FOR_RANKS} pictures, had {fidelity.pictures}",) if few else ()
    return Gate(tuple(failures), unproved)


def gate_bf16_alone(fidelity: Fidelity) -> Gate:
    """gate_bf16 where there is no PyTorch to compare with: cosine >= BF16_COSINE, Spearman per head >= 0.998."""
    return _absolute_gate(fidelity, BF16_COSINE, 0.998)


def _absolute_gate(fidelity: Fidelity, cosine: float, spearman: float) -> Gate:
    failures = []
    if not fidelity.cosine_min >= cosine:
        failures.append(f"embedding cosine {fidelity.cosine_min:.6f} is below {cosine}")
    if fidelity.pictures < MIN_PICTURES_FOR_RANKS:
        failures.append(f"measured on {fidelity.pictures} pictures, fewer than {MIN_PICTURES_FOR_RANKS}")
    return Gate((*failures, *_rank_failures(fidelity, spearman)))


def _rank_failures(fidelity: Fidelity, bar: float) -> list[str]:
    lowest = fidelity.spearman_min
    return [] if lowest >= bar else [f"lowest Spearman of a head {lowest:.5f} is below {bar}"]
