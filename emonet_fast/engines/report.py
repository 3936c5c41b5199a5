"""The fidelity report of an int8 engine: what was compared, how far apart the scores are, whether that is close enough.

A report is a JSON document with the SHA-256 of all that it says: whoever edits a figure by hand breaks it. Its verdict
is taken from its figures whenever it is read, never from a word in it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import taxonomy
from ..text import counted_parts
from .fidelity import Array, Fidelity, Gate, gate_int8, measure, spearman

FORMAT = "emonet-fast fidelity report"
# Raise it when a reader of older reports would misread a newer one.
REPORT_VERSION = 1
WORST = 10
_TOP = 5


@dataclass(frozen=True, slots=True)
class Place:
    """What a report holds for: these weights, in this graph, by this compiler, on this processor.

    Args:
        weights_hash: of the checkpoint.
        graph: GRAPH_VERSION and INT8_VERSION, as "3.1".
        compiler: OpenVINO's version, with the build number.
        device: the processor's name, what the compiler can use of it, and its instructions.
    """

    weights_hash: str
    graph: str
    compiler: str
    device: str


@dataclass(frozen=True)
class FidelityReport:
    """One report.

    Args:
        facts: all that it says, in JSON's own types; docs/int8.md lists the fields.
    """

    facts: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """What the report holds for."""
        return Place(**self.facts["place"])

    @property
    def recipe(self) -> str:
        """The hash of the recipe that was proven."""
        return str(self.facts["recipe"]["hash"])

    @property
    def created(self) -> str:
        """When it was made, in UTC: sorts as text."""
        return str(self.facts["created"])

    @property
    def fidelity(self) -> Fidelity:
        """The figures over all heads."""
        nan = float("nan")
        figures: dict[str, Any] = dict(self.facts["fidelity"])
        ranks = tuple(nan if rank is None else rank for rank in figures.pop("spearman"))
        known: dict[str, Any] = {k: nan if v is None else v for k, v in figures.items()}
        return Fidelity(spearman=ranks, **known)

    @property
    def gate(self) -> Gate:
        """Whether the figures reach the bars."""
        return gate_int8(self.fidelity)

    @property
    def speedup(self) -> float:
        """How many times as fast int8 was as the precision that "auto" takes without it, measured in turns."""
        plain, int8 = (engine["seconds"] for engine in self.facts["engines"])
        return float(plain / int8)

    def verdict(self) -> str:
        """One line: passed or not, by which figures, on which pictures."""
        f, proof = self.fidelity, self.facts["pictures"]["proof"]
        figures = (
            f"lowest Spearman of a head {f.spearman_min:.4f}, RMS error {f.rms_relative:.1%} of the spread, "
            f"top-1 agreement {f.top1_agreement:.1%}"
        )
        failures = "; ".join(self.gate.failures)
        said = f"misses its bars: {failures}" if failures else f"passes: {figures}"
        return f"{said}; on {proof['count']} pictures {proof['from']}"

    def proof(self) -> dict[str, str]:
        """What an engine of the recipe says of it, see Backend.proof."""
        said = "fidelity" if self.gate.passed else "accepted_fidelity"
        return {"recipe": self.recipe, said: f"int8 {self.verdict()}"}

    def text(self) -> str:
        """All figures that fit on a terminal."""
        facts, f = self.facts, self.fidelity
        recipe, pictures = facts["recipe"], facts["pictures"]
        spread = sorted(facts["heads"], key=lambda head: -(head["rms"] or 0.0))
        lines = [
            f"int8 {self.verdict()}",
            *(f"not proved: {what}" for what in self.gate.unproved),
            f"score error {f.max_error:.3f} (max) / {f.rms_error:.4f} (RMS), {f.max_relative:.1%} of a head's spread "
            f"at most; top-5 agreement {facts['top5_agreement']:.1%}; embedding cosine {f.cosine_min:.5f} (lowest), "
            f"{f.cosine_mean:.5f} (mean)",
            "heads with the largest RMS error: "
            + ", ".join(f"{head['name']} {head['rms'] or float('nan'):.1%}" for head in spread[:3]),
            f"in float: {counted_parts(recipe['float'])}",
            *(
                f"{e['precision']}: {e['seconds']:.3f} s an image"
                + (f", {e['memory_mb']['now']:.0f} MB" if "now" in e["memory_mb"] else "")
                for e in facts["engines"]
            ),
            f"{self.speedup:.2f} times as fast as {facts['engines'][0]['precision']}, measured in turns",
            "the recipe was given: by which pictures it was made, this report does not know"
            if facts["given"]
            else f"calibrated on {pictures['calibration']['count']} pictures {pictures['calibration']['from']}, "
            f"none of them among the {pictures['proof']['count']} of the proof",
            f"{self.created}: {facts['checkpoint']}, recipe {self.recipe[:16]}, {self.place.device}, "
            f"OpenVINO {self.place.compiler}, graph {self.place.graph}",
        ]
        return "\n".join(lines)

    def as_bytes(self) -> bytes:
        """The JSON document, with its hash."""
        return json.dumps({**self.facts, "sha256": _digest(self.facts)}, indent=1, allow_nan=False).encode() + b"\n"


def read_report(text: bytes) -> FidelityReport:
    """Read a document of `as_bytes`. Raises ValueError where it is none, of a newer form, or was changed since."""
    try:
        facts = json.loads(text)
        if facts["format"] != FORMAT or facts["version"] != REPORT_VERSION:
            raise ValueError(
                f"it is {facts['format']!r:.40} {facts['version']!r:.10}; expected {FORMAT} {REPORT_VERSION}"
            )
        recorded = facts.pop("sha256")
        if recorded != _digest(facts):
            raise ValueError("it was changed after it was written: its hash is not that of its content")
        report = FidelityReport(facts)
        report.text()  # everything that is shown of it is there
        return report
    except (KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError, RecursionError) as error:
        raise ValueError(f"it is no fidelity report ({error!r:.80})") from None


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def compared(
    reference: tuple[Array, Array], engine: tuple[Array, Array], names: Sequence[str], pictures: Sequence[str]
) -> dict[str, Any]:
    """The part of a report's facts that follows from the outputs of both: embedding [N, D] and raw [N, H] float32.

    names: H slugs of the heads. pictures: N names. An error of a head is divided by the head's standard deviation
    between the pictures in the reference; null stands where a head has none.
    """
    emotions = [i for i, slug in enumerate(names) if taxonomy.find(slug).is_emotion]
    want, got = (np.asarray(raw, np.float64) for _, raw in (reference, engine))
    spread = want.std(axis=0)
    relative = np.divide(got - want, spread, out=np.full_like(want, np.nan), where=spread > 0)
    a, b = (np.asarray(embedding, np.float64) for embedding, _ in (reference, engine))
    cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    heads = [
        {
            "name": name,
            "spread": float(spread[i]),
            "rms": float(np.sqrt((relative[:, i] ** 2).mean())),
            "max": float(np.abs(relative[:, i]).max()),
            "spearman": spearman(want[:, i], got[:, i]),
        }
        for i, name in enumerate(names)
    ]
    varied = spread > 0
    error = np.sqrt((relative[:, varied] ** 2).mean(axis=1)) if varied.any() else np.full(len(want), np.nan)
    worst = [
        {
            "index": int(i),
            "name": pictures[i],
            "error": float(error[i]),
            "cosine": float(cosines[i]),
            "reference": [float(np.float32(v)) for v in want[i]],
            "engine": [float(np.float32(v)) for v in got[i]],
        }
        for i in np.argsort(-error, kind="stable")[:WORST]
    ]
    figures = {
        "fidelity": asdict(measure(reference, engine, emotions)),
        "top5_agreement": _top_agreement(want[:, emotions], got[:, emotions]),
        "heads": heads,
        "cosines": cosines.tolist(),
        "worst": worst,
    }
    without_nan: dict[str, Any] = json.loads(json.dumps(figures), parse_constant=lambda _: None)
    return without_nan


def _top_agreement(want: Array, got: Array) -> float:
    """The mean share of a picture's five strongest emotions that are among the engine's five strongest."""
    strongest = [np.argsort(-raw, axis=1, kind="stable")[:, :_TOP] for raw in (want, got)]
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(*strongest, strict=True)]))
