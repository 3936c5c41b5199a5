"""`emonet-fast verify`: the engine beside the published pipeline, in one run.

Every side is a process of its own (memory is told apart) and the sides take turns picture by picture, so
that the noise of a shared machine falls on all of them alike.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import taxonomy
from .._version import __version__
from ..backends.choose import choose
from ..decode import decode
from ..engines.drawing import calibration_pictures
from ..engines.fidelity import Fidelity, Gate, gate_bf16, gate_fp8, gate_fp32, measure
from ..errors import BackendError, InputError
from ..gpu import Gpu, look
from ..optional import need
from ..options import Options
from ..records import UInt8Array
from ..sources import open_inputs


@dataclass(frozen=True, slots=True)
class Row:
    """One side's result. seconds: median per image, preprocessing included. memory: MB, see process.memory_mb."""

    name: str
    precision: str
    seconds: float
    factor: float
    open_seconds: float
    memory: dict[str, float]
    fidelity: Fidelity | None
    gate: Gate | None


@dataclass(frozen=True, slots=True)
class Report:
    """All sides; the first row is the float32 reference. names: of the heads, in the order of each row's Spearman."""

    checkpoint: str
    checkpoint_hash: str
    names: tuple[str, ...]
    pictures: int
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        return all(row.gate is None or row.gate.passed for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes None."""
        body = {"package_version": __version__, "passed": self.passed, **asdict(self)}
        text = json.dumps(body)
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


class _Worker:
    """A verify_worker process and its answers."""

    def __init__(self, name: str, side: str, precision: str, order: dict[str, Any]) -> None:
        self.name, self.side, self.precision = name, side, precision
        self.seconds: list[float] = []
        self.memory: dict[str, float] = {}
        command = [sys.executable, "-P", "-m", "emonet_fast.verify.worker"]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        order = {**order, "name": name, "side": side, "precision": precision}
        self.open_seconds = float(self._ask(order)["open_seconds"])

    def score(self, number: int, *, timed: bool = True) -> None:
        answer = self._ask(number)
        if timed:
            self.seconds.append(float(answer["seconds"]))

    def finish(self) -> None:
        self.memory = self._ask(None)["memory"]
        self._process.wait()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ask(self, what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        assert self._process.stdout is not None  # noqa: S101 - likewise
        try:
            self._process.stdin.write(json.dumps(what, default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BackendError(f"verify: the side '{self.name}' stopped; its own message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def precisions_for(options: Options) -> tuple[str, ...]:
    """Return the precisions to try: the one of the options, or for "auto" all that the backend computes in there.

    Raises:
        BackendError: see backends.choose; for backend "tensorrt", what is missing for it.
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
    if backend == "cuda":
        found = look(options.device)
        return ("fp32", "bf16", "fp8") if isinstance(found, Gpu) and found.fp8 else ("fp32", "bf16")
    import openvino

    from ..backends.openvino.backend import choose_precision

    return ("fp32", "bf16") if choose_precision(openvino.Core(), "auto") == "bf16" else ("fp32",)


def pictures_for(folder: Path | None, limit: int, options: Options) -> list[UInt8Array]:
    """At most `limit` pictures [H, W, 3] uint8 RGB: the readable ones of `folder`, or generated ones.

    Raises:
        InputError: the folder holds no readable picture.
    """
    if folder is None:
        return calibration_pictures(limit, seed=0)
    found: list[UInt8Array] = []
    for picture in open_inputs([str(folder)], options):
        rgb = decode(picture, exif=options.exif, max_pixels=options.max_pixels, max_bytes=options.max_bytes).rgb
        found += [] if rgb is None else [rgb]
        if len(found) == limit:
            break
    if not found:
        raise InputError(f"{folder} holds no readable picture; expected at least one, better {limit}")
    return found


def run(
    where: str,
    pictures: Sequence[UInt8Array],
    precisions: Sequence[str],
    options: Options,
    *,
    names: tuple[str, ...],
    checkpoint_hash: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Score `pictures` ([H, W, 3] uint8 RGB each) by the reference and by the engine at each precision.

    Args:
        where: the checkpoint, as of `Scorer`.
        pictures: what to score.
        precisions: of the engine, one side for each.
        options: of the engine's scorer, but for its precision; the reference takes `revision`, `cache_dir` and
            `threads`.
        names: the checkpoint's slugs.
        checkpoint_hash: of its weights, for the report.
        progress: told in words what happens.

    Raises:
        MissingPackageError: when the extra `reference` is not installed.
        BackendError: when a side fails.
    """
    for package in ("torch", "transformers"):
        need(package, "verify")
    with tempfile.TemporaryDirectory(prefix="emonet-fast-verify-") as name:
        folder = Path(name)
        for number, picture in enumerate(pictures):
            np.save(folder / f"{number}.npy", picture)
        order = {
            "where": where,
            "options": asdict(options),
            "pictures": str(folder),
        }
        workers = _run_workers(_sides(precisions), order, len(pictures), progress)
        outputs = {w.name: np.load(folder / f"{w.name}.npz") for w in workers}
        pairs = {name: (file["embedding"], file["raw"]) for name, file in outputs.items()}
    emotions = [i for i, slug in enumerate(names) if taxonomy.find(slug).is_emotion]
    return Report(where, checkpoint_hash, names, len(pictures), _rows(workers, pairs, emotions))


def _sides(precisions: Sequence[str]) -> list[tuple[str, str, str]]:
    sides = [("reference fp32", "reference", "fp32")]
    if "bf16" in precisions:
        sides.append(("reference bf16", "reference", "bf16"))
    return sides + [(f"engine {p}", "engine", p) for p in precisions]


def _run_workers(
    sides: list[tuple[str, str, str]], order: dict[str, Any], count: int, progress: Callable[[str], None]
) -> list[_Worker]:
    workers: list[_Worker] = []
    try:
        for name, side, precision in sides:
            progress(f"opening {name}")
            workers.append(_Worker(name, side, precision, order))
        for worker in workers:
            worker.score(0, timed=False)  # warm-up: first touch of weights and buffers
        for number in range(count):
            progress(f"picture {number + 1} of {count}")
            for worker in workers:
                worker.score(number)
        for worker in workers:
            worker.finish()
    finally:
        for worker in workers:
            worker.kill()
    return workers


def _rows(workers: list[_Worker], pairs: dict[str, tuple[Any, Any]], emotions: list[int]) -> tuple[Row, ...]:
    base = median(workers[0].seconds)
    found = {w.name: measure(pairs[workers[0].name], pairs[w.name], emotions) for w in workers[1:]}
    rows = []
    for worker in workers:
        gate = None
        if worker.side == "engine":
            mine = found[worker.name]
            gate = _gate(worker.precision, mine, found.get("reference bf16"))
        seconds = median(worker.seconds)
        rows.append(
            Row(
                worker.name,
                worker.precision,
                seconds,
                base / seconds,
                worker.open_seconds,
                worker.memory,
                found.get(worker.name),
                gate,
            )
        )
    return tuple(rows)


def _gate(precision: str, mine: Fidelity, reference_bf16: Fidelity | None) -> Gate:
    if precision == "fp8":
        return gate_fp8(mine)
    return gate_fp32(mine) if reference_bf16 is None or precision == "fp32" else gate_bf16(mine, reference_bf16)
