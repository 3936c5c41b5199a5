"""Whether the sides of a benchmark compute the same: the bars of emonet_fast/engines/fidelity.py, before any timing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.baselines.alone import joined
from emonet_fast import taxonomy
from emonet_fast.engines.fidelity import (
    BF16_COSINE,
    Fidelity,
    Gate,
    gate_bf16,
    gate_fp8,
    gate_fp32,
    measure,
)

# Of PyTorch's own bf16, to which our bf16 is held.
TORCH_BF16 = "torch bf16"


@dataclass(frozen=True)
class Verdict:
    """Whether a side computes the same.

    Args:
        gate: passed, or why not.
        figures: for the results.
    """

    gate: Gate
    figures: dict[str, Any]


def scores(outputs: Mapping[str, list[Any]], precisions: Mapping[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    """Verdicts on sides that give Outputs; the first is the float32 baseline. precisions: by side.

    float32 is held to gate_fp32; our bf16 to twice the error of PyTorch's bf16 where that is a side, else to its usual
    cosine, as PyTorch's bf16 itself; FP8 to gate_fp8, int8 to its report.
    """
    emotions = [i for i, slug in enumerate(names) if taxonomy.find(slug).is_emotion]
    pairs = {side: (whole.embedding, whole.raw) for side, parts in outputs.items() for whole in [joined(parts)]}
    want = pairs[next(iter(pairs))]
    close = {side: measure(want, got, emotions) for side, got in pairs.items()}
    theirs = next((close[side] for side in pairs if precisions[side] == TORCH_BF16), None)
    verdicts = {}
    for side, one in close.items():
        gate = _gate(one, precisions[side], theirs)
        figures = {k: v for k, v in asdict(one).items() if k != "spearman"} | {"spearman_min": one.spearman_min}
        verdicts[side] = Verdict(gate, figures | {"unproved": list(gate.unproved)})
    return verdicts


def _gate(close: Fidelity, precision: str, theirs: Fidelity | None) -> Gate:
    if precision == "fp32":
        return gate_fp32(close)
    if precision == "fp8":
        return gate_fp8(close)
    if precision == "int8":  # few pictures say nothing of ranks: its own report has proven it on 64
        return Gate((), ("int8 is held to its fidelity report",))
    if precision == "bf16" and theirs is not None:
        return gate_bf16(close, theirs)
    if close.cosine_min >= BF16_COSINE:
        return Gate(())
    return Gate((f"embedding cosine {close.cosine_min:.6f} is below {BF16_COSINE}",))


def values(outputs: Mapping[str, list[Any]], largest: float, what: str) -> dict[str, Verdict]:
    """Verdicts on sides that give arrays: `largest` is how far any value may lie from the baseline's."""
    want = [np.asarray(part, np.float64) for part in next(iter(outputs.values()))]
    verdicts = {}
    for side, parts in outputs.items():
        if [np.shape(p) for p in parts] != [w.shape for w in want]:
            verdicts[side] = Verdict(Gate(("the outputs have another shape",)), {})
            continue
        off = max(float(np.abs(np.asarray(p, np.float64) - w).max()) for p, w in zip(parts, want, strict=True))
        failures = () if off <= largest else (f"{what}: {off:.3g} off, more than {largest:g}",)
        verdicts[side] = Verdict(Gate(failures), {"max_error": off})
    return verdicts
