"""`emonet-fast verify`: the engine beside the published pipeline, in one run.

Every side is a process of its own, so that memory is told apart. The sides take turns picture by picture, so that the
noise of a shared machine falls on all of them alike.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import taxonomy
from .._version import __version__
from ..backends.choose import choose, precisions_of
from ..checkpoint.spec import Checkpoint
from ..child import Child
from ..decode import decode
from ..engines.drawing import calibration_pictures
from ..engines.fidelity import Fidelity, Gate, gate_bf16, gate_fp8, gate_fp32, gate_int8, measure
from ..engines.report import FidelityReport
from ..errors import InputError
from ..optional import need
from ..options import Options
from ..records import UInt8Array
from ..sources import Inputs
from .worker import Order


@dataclass(frozen=True, slots=True)
class SideFigures:
    """What one side computed, and how quickly.

    Args:
        name: the side, "engine bf16" for example.
        precision: of the side.
        seconds: median of an image, preprocessing included.
        factor: how many times as fast as the first side it is.
        open_seconds: until its checkpoint and its engine were open.
        memory: MB, see process.memory_mb.
        fidelity: against the first side; None for the first side itself.
        gate: the bar of an engine; None for a reference.
    """

    name: str
    precision: str
    seconds: float
    factor: float
    open_seconds: float
    memory: dict[str, float]
    fidelity: Fidelity | None
    gate: Gate | None


@dataclass(frozen=True, slots=True)
class Verification:
    """All sides beside each other.

    Args:
        checkpoint: as it was asked for.
        checkpoint_hash: of its weights.
        names: slugs of the heads, in the order of each side's Spearman.
        pictures: how many were scored.
        rows: the sides; the first is the float32 reference.
    """

    checkpoint: str
    checkpoint_hash: str
    names: tuple[str, ...]
    pictures: int
    rows: tuple[SideFigures, ...]

    @property
    def passed(self) -> bool:
        """Whether every engine reaches its bar."""
        return all(row.gate is None or row.gate.passed for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes None."""
        text = json.dumps({"package_version": __version__, "passed": self.passed, **asdict(self)})
        cleaned: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return cleaned

    def text(self) -> str:
        """The table for people."""
        head = (
            f"{'side':<16}{'s/image':>8}{'factor':>8}{'open s':>8}{'MB now':>8}{'peak':>7}"
            f"{'cos min':>11}{'max err':>10}{'rms err':>10}{'rms rel':>9}{'spearman':>10}{'top-1':>7}"
        )
        lines = [f"{self.checkpoint}, {self.pictures} pictures", head, "-" * len(head)]
        for row in self.rows:
            memory = f"{row.memory.get('now', float('nan')):>8.0f}{row.memory.get('peak', float('nan')):>7.0f}"
            line = f"{row.name:<16}{row.seconds:>8.3f}{row.factor:>7.2f}x{row.open_seconds:>8.1f}{memory}"
            if row.fidelity is not None:
                f = row.fidelity
                line += (
                    f"{f.cosine_min:>11.7f}{f.max_error:>10.1e}{f.rms_error:>10.1e}{f.rms_relative:>9.4f}"
                    f"{f.spearman_min:>10.5f}{f.top1_agreement:>7.3f}"
                )
            lines.append(line)
        lines.append("errors: raw scores against reference fp32; rms rel: over the between-image spread of each head;")
        lines.append("spearman: the lowest of all heads; peak MB includes file pages that the system can take back")
        for row in self.rows:
            if row.gate is not None:
                lines.append(f"{row.name}: {'passes' if row.gate.passed else 'FAILS: ' + '; '.join(row.gate.failures)}")
                lines += [f"  not proved: {what}" for what in row.gate.unproved]
        return "\n".join(lines)


class _Side:
    """A process of verify/worker.py and its answers."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.seconds: list[float] = []
        self.memory: dict[str, float] = {}
        self._child = Child("emonet_fast.verify.worker", f"verify: the side '{order.name}'", order.as_json())
        self.open_seconds = float(self._child.first["open_seconds"])

    def score(self, number: int) -> float:
        """Let it score a picture. Returns the seconds."""
        return float(self._child.ask(number)["seconds"])

    def finish(self) -> None:
        """Let it write its outputs."""
        self.memory = self._child.ask(None)["memory"]
        self._child.end()

    def kill(self) -> None:
        """End the process if it still runs."""
        self._child.kill()


def precisions_for(options: Options) -> tuple[str, ...]:
    """The precisions to try: the one of the options, or for "auto" all that the backend computes in there but int8.

    int8 needs a report, which is looked for once the weights are open (`report_for`).

    Raises BackendError as `backends.choose` does, and where something is missing for backend "tensorrt".
    """
    backend = choose(options).backend
    if backend == "tensorrt":
        from ..backends.tensorrt.backend import precision_for
        from ..backends.tensorrt.libraries import find, open_native

        gpu = open_native(find(), options.device).gpu
        if options.precision == "auto":
            return ("bf16", "fp8") if gpu.fp8 else ("bf16",)
        return (precision_for(gpu, options.precision),)
    if options.precision != "auto":
        return (options.precision,)
    return tuple(name for name in precisions_of(backend, options.device) if name != "int8")


def report_for(checkpoint: Checkpoint, options: Options) -> FidelityReport | None:
    """The fidelity report of int8 that is kept for these weights on this processor; None without one, or on a GPU."""
    if choose(options).backend != "openvino":
        return None
    from ..backends.openvino.settle import find_report

    return find_report(checkpoint, options)


def pictures_for(folder: Path | None, limit: int, options: Options) -> list[UInt8Array]:
    """At most `limit` pictures [H, W, 3] uint8 RGB: the readable ones of `folder`, or generated ones.

    Raises InputError when the folder holds no readable picture.
    """
    if folder is None:
        return calibration_pictures(limit, seed=0)
    pictures: list[UInt8Array] = []
    for picture in Inputs([str(folder)], options):
        rgb = decode(picture, options).rgb
        pictures += [] if rgb is None else [rgb]
        if len(pictures) == limit:
            break
    if not pictures:
        raise InputError(f"{folder} holds no readable picture; expected at least one, better {limit}")
    return pictures


def run(
    where: str,
    pictures: Sequence[UInt8Array],
    precisions: Sequence[str],
    options: Options,
    *,
    names: tuple[str, ...],
    checkpoint_hash: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Score pictures by the reference and by the engine at each precision.

    names: the checkpoint's slugs. options: their precision is not looked at, and the reference takes `revision`,
    `cache_dir` and `threads` alone. Raises MissingPackageError when the extra `reference` is not installed, and
    BackendError when a side fails.
    """
    for package in ("torch", "transformers"):
        need(package, "verify")
    references = ("fp32", "bf16") if "bf16" in precisions else ("fp32",)
    with tempfile.TemporaryDirectory(prefix="emonet-fast-verify-") as name:
        folder = Path(name)
        for number, picture in enumerate(pictures):
            np.save(folder / f"{number}.npy", picture)
        orders = [
            Order(side, where, _at(options, precision), folder)
            for side, every in (("reference", references), ("engine", precisions))
            for precision in every
        ]
        sides = _take_turns(orders, len(pictures), progress)
        outputs: dict[str, tuple[Any, Any]] = {}
        for order in orders:
            with np.load(folder / f"{order.name}.npz") as file:
                outputs[order.name] = file["embedding"], file["raw"]
    emotions = [i for i, slug in enumerate(names) if taxonomy.find(slug).is_emotion]
    return Verification(where, checkpoint_hash, names, len(pictures), _figures(sides, outputs, emotions))


def _at(options: Options, precision: str) -> Options:
    """The same options in another precision: what goes with int8 alone stays there."""
    own = precision == "int8"
    recipe, accepted = options.recipe if own else None, own and options.accept_fidelity
    return replace(options, precision=precision, recipe=recipe, accept_fidelity=accepted)


def _take_turns(orders: Sequence[Order], count: int, progress: Callable[[str], None]) -> list[_Side]:
    """The sides, after each of them scored all pictures."""
    sides: list[_Side] = []
    try:
        for order in orders:
            progress(f"opening {order.name}")
            sides.append(_Side(order))
        for side in sides:
            side.score(0)  # not timed: the first call touches weights and buffers for the first time
        for number in range(count):
            progress(f"picture {number + 1} of {count}")
            for side in sides:
                side.seconds.append(side.score(number))
        for side in sides:
            side.finish()
    finally:
        for side in sides:
            side.kill()
    return sides


def _figures(
    sides: Sequence[_Side], outputs: dict[str, tuple[Any, Any]], emotions: list[int]
) -> tuple[SideFigures, ...]:
    want, base = outputs[sides[0].order.name], median(sides[0].seconds)
    close = {side.order.name: measure(want, outputs[side.order.name], emotions) for side in sides[1:]}
    figures = []
    for side in sides:
        name, precision, fidelity = side.order.name, side.order.options.precision, close.get(side.order.name)
        gate = _gate(precision, close[name], close.get("reference bf16")) if side.order.side == "engine" else None
        seconds = median(side.seconds)
        opened, memory = side.open_seconds, side.memory
        figures.append(SideFigures(name, precision, seconds, base / seconds, opened, memory, fidelity, gate))
    return tuple(figures)


def _gate(precision: str, mine: Fidelity, reference_bf16: Fidelity | None) -> Gate:
    if precision in ("fp8", "int8"):
        return gate_fp8(mine) if precision == "fp8" else gate_int8(mine)
    return gate_fp32(mine) if reference_bf16 is None or precision == "fp32" else gate_bf16(mine, reference_bf16)
