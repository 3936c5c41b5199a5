"""Finds the layers that must stay in bf16 so that the others may be FP8, by measuring; keeps the outcome on disk."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import BackendError, EmonetError
from ..trust import foreign, mark_used, write_own
from .fidelity import Fidelity, Gate, gate_fp8

Array = npt.NDArray[np.float32 | np.uint8]

_log = logging.getLogger("emonet_fast")

# (layers that stay in bf16) -> how close the engine then comes to the float32 reference
Evaluate = Callable[[frozenset[str]], Fidelity]


@dataclass(frozen=True, slots=True)
class Certificate:
    """That an FP8 engine meets its bars, and with what.

    Args:
        keep: layers in bf16, the most sensitive first.
        fidelity: with these layers kept.
        sensitivity: the mean cosine distance that each layer alone costs in FP8; empty where none had to be kept.
        tensors: for each layer that is FP8, "<layer>.weight" [out, in], its codes of e4m3 as uint8, and "<layer>.bias"
            [out] float32, corrected by what rounding costs on average.
    """

    keep: tuple[str, ...]
    fidelity: Fidelity
    sensitivity: dict[str, float]
    tensors: dict[str, Array] = field(default_factory=dict)


def fill_keep(names: Sequence[str], evaluate: Evaluate, sensitivity: Evaluate | None = None) -> Certificate:
    """Find the fewest layers that must be kept for the gate to hold, taken in the order of their sensitivity.

    This takes one evaluation for each layer, and then those of shortest_keep. `sensitivity` measures on fewer pictures,
    where that is cheaper. Raises BackendError when the gate does not hold even with every layer kept.
    """
    fidelity = evaluate(frozenset())
    if gate_fp8(fidelity).passed:
        return Certificate((), fidelity, {})
    _log.info("FP8 in all layers misses the bars (%s): measuring each layer", "; ".join(gate_fp8(fidelity).failures))
    everything = frozenset(names)
    measure = sensitivity or evaluate
    cost = {name: 1.0 - measure(everything - {name}).cosine_mean for name in names}
    keep, fidelity = shortest_keep(sorted(names, key=lambda name: -cost[name]), evaluate)
    return Certificate(keep, fidelity, cost)


def shortest_keep(order: Sequence[str], evaluate: Evaluate) -> tuple[tuple[str, ...], Fidelity]:
    """Find the shortest beginning of `order` that must be kept for FP8's gate to hold, and the fidelity with it.

    `order` has all layers that can be FP8, the most sensitive first; the gate must be known to fail with none kept.
    Raises BackendError when the gate does not hold even with every layer kept.
    """
    length, fidelity = shortest_prefix(len(order), lambda n: evaluate(frozenset(order[:n])), gate_fp8)
    if length is None:
        raise BackendError(
            f"FP8 cannot be certified: even without it {'; '.join(gate_fp8(fidelity).failures)}; use precision 'bf16'"
        )
    return tuple(order[:length]), fidelity


def shortest_prefix(
    most: int, evaluate: Callable[[int], Fidelity], gate: Callable[[Fidelity], Gate], first: int = 1
) -> tuple[int | None, Fidelity]:
    """Find the smallest length in 1..most whose fidelity passes the gate, and that fidelity; 0 is known to fail.

    `first` is tried first, then doubled until the gate holds, and then narrowed down by halves. Where the gate does not
    hold even at `most`, the length is None, and the fidelity that of `most`.
    """
    low, high = 0, min(max(first, 1), most)  # low misses the gate, high is to be tried
    while not gate(fidelity := evaluate(high)).passed:
        if high == most:
            return None, fidelity
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        tried = evaluate(middle)
        if gate(tried).passed:
            high, fidelity = middle, tried
        else:
            low = middle
    return high, fidelity


def load_certificate(path: Path, key: dict[str, Any]) -> Certificate | None:
    """Load the certificate of this key; None where there is none, or it has another key, is damaged or fails."""
    try:
        fault = foreign(path)
        if fault is not None:
            raise ValueError(fault)
        with safe_open(path, framework="np") as file:
            doc = json.loads((file.metadata() or {})["certificate"])
            if doc["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if doc["sha256"] != _hash(tensors):
            raise ValueError("its tensors are not those that were certified")
        body = doc["fidelity"]
        fidelity = Fidelity(**{**body, "spearman": tuple(body["spearman"])})
        certificate = Certificate(tuple(doc["keep"]), fidelity, dict(doc["sensitivity"]), tensors)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SafetensorError) as error:
        _log.warning("the FP8 certificate %s cannot be used (%s): it is measured again", path, error)
        return None
    if not gate_fp8(fidelity).passed:
        return None
    mark_used(path)
    return certificate


def store_certificate(path: Path, key: dict[str, Any], certificate: Certificate) -> None:
    """Store a certificate as one safetensors file: the tensors as they are, the rest as JSON in its metadata.

    A folder that cannot be written is only a warning, since the certificate can be measured again.
    """
    doc = {
        "key": key,
        "keep": certificate.keep,
        "fidelity": asdict(certificate.fidelity),
        "sensitivity": certificate.sensitivity,
        "sha256": _hash(certificate.tensors),
    }
    try:
        write_own(path, save(certificate.tensors, {"certificate": json.dumps(doc)}))
    except (OSError, EmonetError) as error:
        _log.warning("the FP8 certificate could not be kept in %s: %s", path.parent, error)


def _hash(tensors: dict[str, Array]) -> str:
    """SHA-256 of the names and values of tensors."""
    total = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        total.update(name.encode() + b"\n")
        total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
