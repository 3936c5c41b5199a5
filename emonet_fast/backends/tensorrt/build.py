"""Builds an engine: calibrate, compile, compare with the float32 network, and only then put it into the cache."""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ... import taxonomy
from ...checkpoint.layers import layer_names
from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache, EnginePlan
from ...engines.certificate import shortest_keep
from ...engines.fidelity import MIN_PICTURES_FOR_RANKS, Fidelity, gate_bf16_alone, gate_fp8, measure, worst
from ...engines.observations import Observations, calibrate
from ...engines.pictures import generated_pixels
from ...errors import BackendError, EmonetError
from ...graph.quantise import Quantisation
from ...graph.typed import TYPED_VERSION, write_typed_model
from ...graph.version import GRAPH_VERSION
from ...records import UInt8Array
from ...trust import foreign, write_own
from .heads import FusedHeads
from .libraries import Native, to_logging
from .precisions import Precisions, read
from .runner import EngineRunner

_log = logging.getLogger("emonet_fast")
# Seconds between two looks at whether a build has ended.
_TURN = 0.5

CALIBRATION_PICTURES = 64

# Of the graph, by what computes the heads.
_PARTS = {"graph": "all", "triton": "embedding"}

T = TypeVar("T")
# Called with (what is under way, steps done, steps in all).
BuildProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What became of a build.

    Args:
        plan: of the engine.
        fidelity: how close it comes to the float32 network, at the worst of its batch sizes.
        precisions: in which its layers compute.
        keep: layers that FP8 left in bf16.
        stored: the engine's file; None where it could not be kept.
    """

    plan: EnginePlan
    fidelity: Fidelity
    precisions: Precisions
    keep: tuple[str, ...]
    stored: Path | None

    def text(self) -> str:
        """Return a text for people: plan, fidelity, precisions of the layers, and the file."""
        f = self.fidelity
        lines = [
            f"built {self.plan}",
            f"against float32 over {f.pictures} pictures: embedding cosine {f.cosine_min:.6f} (lowest), score error "
            f"{f.max_error:.3f} (max) / {f.rms_error:.4f} (RMS), Spearman {f.spearman_min:.5f} (lowest head)",
        ]
        if self.plan.precision == "fp8":
            lines.append(f"in bf16 for fidelity: {', '.join(self.keep) or 'no layer'}")
        lines += [self.precisions.text(), *(f"warning: {text}" for text in self.precisions.warnings())]
        lines.append(f"kept as {self.stored}" if self.stored else "not kept: the cache cannot be written")
        return "\n".join(lines)


def plan_for(
    native: Native, checkpoint: Checkpoint, precision: str, batch_sizes: tuple[int, ...], heads: str
) -> EnginePlan:
    """Return the full key of an engine. heads: "graph", or "triton" for one that ends with the embedding."""
    gpu = native.gpu
    return EnginePlan(
        part=_PARTS[heads],
        backend="tensorrt",
        version=native.version,
        device=f"{gpu.name} [{gpu.capability[0]}.{gpu.capability[1]}]",
        precision=precision,
        batch_sizes=batch_sizes,
        graph_version=GRAPH_VERSION,
        weights_hash=checkpoint.weights_hash,
        layout=f"typed {TYPED_VERSION}",
    )


def build(
    native: Native,
    checkpoint: Checkpoint,
    plan: EnginePlan,
    cache_dir: Path,
    progress: BuildProgress | None = None,
    fused: FusedHeads | None = None,
) -> tuple[bytes, BuildReport]:
    """Build the engine of a plan, compare it with the float32 network, and store it.

    For FP8, scales, weights and biases come from 64 generated pictures. Then as many layers go back to bf16, in the
    order of their estimated cost, as the bars need; each try is a build. The comparison is over 64 other pictures.

    `fused` are the heads, for a plan whose engine has none. Raises BackendError when TensorRT cannot build the engine,
    or when it misses its bars; the text says by how much. Nothing is stored then.
    """
    if native.tensorrt.build_fault:
        raise BackendError(f"this TensorRT cannot build engines: {native.tensorrt.build_fault}")
    work = _Build(native, checkpoint, plan, cache_dir / "engines", progress or (lambda *_: None), fused)
    blob, fidelity, keep = work.fp8() if plan.precision == "fp8" else work.bf16()
    fp8_layers = set(layer_names(checkpoint.vision.num_hidden_layers)) - set(keep) if plan.precision == "fp8" else set()
    precisions = read(work.inspected, sorted(fp8_layers))
    for warning in precisions.warnings():
        _log.warning("%s", warning)
    cache = EngineCache(cache_dir / "engines")
    stored: Path | None = cache.folder / f"{plan.key()}.engine"
    try:
        cache.store(plan, blob)
    except (OSError, EmonetError) as error:
        _log.warning("the engine could not be kept in %s: %s", cache.folder, error)
        stored = None
    return blob, BuildReport(plan, fidelity, precisions, keep, stored)


@dataclass
class _Build:
    """One plan's builds: the pictures and what the float32 network gives for them are there once."""

    native: Native
    checkpoint: Checkpoint
    plan: EnginePlan
    folder: Path
    progress: BuildProgress
    fused: FusedHeads | None
    inspected: str = ""

    def __post_init__(self) -> None:
        self._emotions = [i for i, slug in enumerate(self.checkpoint.names) if taxonomy.find(slug).is_emotion]
        self._pixels = generated_pixels(self.checkpoint, MIN_PICTURES_FOR_RANKS, 0)
        self._want = self._observe(self._pixels, "the float32 network")

    def bf16(self) -> tuple[bytes, Fidelity, tuple[str, ...]]:
        blob, fidelity = self._try(None)
        gate = gate_bf16_alone(fidelity)
        if not gate.passed:
            raise BackendError(f"the engine in bf16 misses its bars and is not kept: {'; '.join(gate.failures)}")
        return blob, fidelity, ()

    def fp8(self) -> tuple[bytes, Fidelity, tuple[str, ...]]:
        pictures = generated_pixels(self.checkpoint, CALIBRATION_PICTURES, 1)
        calibrated = calibrate(self.checkpoint, self._observe(pictures, "calibration", layers=True))
        full = calibrated.quantisation
        built: dict[frozenset[str], bytes] = {}

        def evaluate(keep: frozenset[str]) -> Fidelity:
            blob, fidelity = self._try(replace(full, keep=keep))
            if gate_fp8(fidelity).passed:
                built.clear()  # after one that passes, the search only tries shorter ones
                built[keep] = blob
            return fidelity

        fidelity = evaluate(frozenset())
        keep: tuple[str, ...] = ()
        if not gate_fp8(fidelity).passed:
            _log.info("FP8 in all layers misses the bars (%s)", "; ".join(gate_fp8(fidelity).failures))
            keep, fidelity = shortest_keep(list(calibrated.cost), evaluate)
        return built[frozenset(keep)], fidelity, keep

    def _try(self, quantised: Quantisation | None) -> tuple[bytes, Fidelity]:
        """Build an engine and measure it at the worst of its batch sizes: each has kernels of its own."""
        kept = 0 if quantised is None else len(quantised.keep)
        _log.info("building %s%s", self.plan, f", {kept} layers in bf16" if quantised is not None else "")
        blob = self._compile(quantised)
        with self.native.translated():
            runner = EngineRunner(self.native, blob, self.checkpoint, self.plan.batch_sizes[-1], fused=self.fused)
            got = [runner.run_all(self._pixels, size) for size in self.plan.batch_sizes]
            self.inspected = runner.engine.inspect()
        fidelity = worst([measure((self._want.embedding, self._want.raw), one, self._emotions) for one in got])
        _log.info("cosine %.6f, lowest Spearman of a head %.5f", fidelity.cosine_min, fidelity.spearman_min)
        return blob, fidelity

    def _compile(self, quantised: Quantisation | None) -> bytes:
        # What TensorRT measured of its kernels, by version and GPU; later builds use it again.
        key = hashlib.sha256(f"{self.plan.version} {self.plan.device}".encode()).hexdigest()[:32]
        timing = self.folder / f"timing-{key}.cache"
        with tempfile.TemporaryDirectory(prefix="emonet-fast-") as folder:
            try:
                onnx = write_typed_model(self.checkpoint, Path(folder), quantised, heads=self.fused is None)
            except OSError as error:
                raise BackendError(
                    f"the network for TensorRT cannot be written to {folder} ({error.strerror or error}); it takes "
                    "1.1 GB and more there while it is built: set TMPDIR to a folder with room"
                ) from None

            def compile_now(report: Callable[[str, int, int], bool]) -> tuple[bytes, bytes]:
                engine, times = self.native.extension.build(
                    self.native.tensorrt,
                    self.native.device,
                    str(onnx),
                    list(self.plan.batch_sizes),
                    self._known_times(timing),
                    to_logging,
                    report,
                )
                return bytes(engine), bytes(times)

            with self.native.translated():
                blob, times = _stoppable(compile_now, self.progress)
        try:
            write_own(timing, times)
        except (OSError, EmonetError) as error:
            _log.warning("TensorRT's timing cache could not be kept in %s: %s", timing.parent, error)
        return blob

    def _known_times(self, path: Path) -> bytes:
        """Read the timing cache; empty where it cannot be read, since a build without it only takes longer."""
        try:
            fault: object = foreign(path)
            if fault is None:
                return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            fault = error
        _log.warning("TensorRT's timing cache %s is not used: %s", path, fault)
        return b""

    def _observe(self, pixels: UInt8Array, what: str, *, layers: bool = False) -> Observations:
        from ..openvino.observe import observe

        return observe(self.checkpoint, pixels, lambda done, total: self.progress(what, done, total), layers=layers)


def _stoppable(build: Callable[[Callable[[str, int, int], bool]], T], progress: BuildProgress) -> T:
    """Run build(report) in a thread of its own; Ctrl-C and whatever `progress` raises stop it, and are raised then.

    TensorRT reports its progress from any of its threads. Python interrupts only the main one, which must therefore be
    free. TensorRT can carry no exception: it is asked to stop at its next step, and waited for.
    """
    stopped: list[BaseException] = []

    def report(phase: str, done: int, total: int) -> bool:
        try:
            if not stopped:
                progress(phase, done, total)
        except BaseException as error:
            stopped.append(error)
        return not stopped

    with ThreadPoolExecutor(1, "emonet-fast-build") as pool:
        try:
            running = pool.submit(build, report)
            # A signal just before the wait does not end it: hence in short turns.
            while not running.done():
                wait([running], _TURN)
        except KeyboardInterrupt as error:
            stopped.append(error)
            _log.warning("the build is stopped at TensorRT's next step")
    if stopped:
        raise stopped[0]
    return running.result()
