"""The CPU backend: the ONNX graph compiled by OpenVINO, fp32 or bf16."""

import ctypes
import hashlib
import json
import logging
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache, EnginePlan
from ...errors import BackendError, EmonetError
from ...graph.version import GRAPH_VERSION
from ...optional import import_openvino
from ...records import UInt8Array
from ..base import Outputs, padded
from .build import build_in_process, compile_options

_log = logging.getLogger("emonet_fast")

# Larger batches gain nothing that could be measured (the 576 tokens of one image already fill the matrix products).
# They cost memory, and short inputs would wait for padding.
DEFAULT_BATCH = 1

_MADV_DONTNEED = 4  # Linux' number on every architecture that this package runs on


class OpenVinoBackend:
    """Two compiled engines of one batch size: the tower in `precision`, the top in float32.

    Thread-safe: calls take turns. batch_size None means DEFAULT_BATCH, threads None all cores; engines are kept in
    cache_dir. Raises BackendError when OpenVINO does not work here, or bf16 is asked of a processor that lacks it.
    """

    name = "openvino"
    depth = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        *,
        cache_dir: Path,
    ) -> None:
        ov = import_openvino()
        core = ov.Core()
        self.precision = choose_precision(core, precision)
        self.batch_size = batch_size or DEFAULT_BATCH
        self._lock = threading.Lock()
        requests: list[Any] = []
        # The pooling head and the heads stay in float32: see graph.PARTS.
        for part, part_precision in (("tower", self.precision), ("top", "fp32")):
            plan = plan_for(core, checkpoint, part, part_precision, self.batch_size)
            blob = _engine(plan, checkpoint, EngineCache(cache_dir / "engines"))
            options = {**compile_options(part_precision), "WEIGHTS_PATH": str(checkpoint.path)}
            if threads is not None:
                options["INFERENCE_NUM_THREADS"] = threads
            try:
                compiled = core.import_model(ov.Tensor(np.frombuffer(blob, np.uint8)), "CPU", options)
            except RuntimeError as error:
                raise BackendError(f"OpenVINO could not load the engine of {checkpoint.path}: {error}") from error
            requests.append(compiled.create_infer_request())
        self._requests: list[Any] = requests  # of the tower and the top; none once it is closed
        release_file_pages(checkpoint.path)

    def run(self, pixels: UInt8Array) -> Outputs:
        n = len(pixels)
        batch = padded(pixels, self.batch_size)
        with self._lock:
            if not self._requests:
                raise BackendError("this engine was closed; open the scorer again")
            tower, top = self._requests
            tokens = tower.infer({"pixels": batch}, share_inputs=True)["tokens"]
            result = top.infer({"tokens": tokens}, share_inputs=True)
            return Outputs(result["embedding"][:n].copy(), result["raw"][:n].copy())

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """Does the work at once: the cores that would prepare the next batch are those that work on this one."""
        outputs = self.run(pixels)
        return lambda: outputs

    def close(self) -> None:
        with self._lock:
            self._requests = []


def _engine(plan: EnginePlan, checkpoint: Checkpoint, cache: EngineCache) -> bytes:
    """Load the stored engine of this plan, or compile one and store it."""
    blob = cache.load(plan)
    if blob is None:
        _log.info("compiling the %s in %s, batch %d (once)", plan.part, plan.precision, *plan.batch_sizes)
        with tempfile.TemporaryDirectory(prefix="emonet-fast-") as folder:
            target = Path(folder) / "engine"
            build_in_process(checkpoint.path.resolve(), plan.part, plan.precision, plan.batch_sizes[0], target)
            blob = target.read_bytes()
        try:
            cache.store(plan, blob)
        except (OSError, EmonetError) as error:
            _log.warning("the compiled engine could not be kept in %s: %s", cache.folder, error)
    return blob


def choose_precision(core: Any, precision: str) -> str:
    """Choose the precision: "auto" takes bf16 where the processor computes in it, else fp32."""
    fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if fast else "fp32"
    if precision == "bf16" and not fast:
        raise BackendError(
            f"precision bf16 was asked for, but {device_name(core)} has no bf16 instructions "
            "(AVX-512 BF16, AMX or the Arm equivalents); use precision 'fp32' or 'auto'"
        )
    return precision


def device_name(core: Any) -> str:
    """The processor's full name and what OpenVINO can use of it."""
    capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} [{', '.join(capabilities)}]"


def plan_for(core: Any, checkpoint: Checkpoint, part: str, precision: str, batch_size: int) -> EnginePlan:
    places = json.dumps(sorted((name, astuple(info)) for name, info in checkpoint.tensors.items()))
    return EnginePlan(
        part=part,
        backend=OpenVinoBackend.name,
        version=import_openvino().get_version(),
        device=device_name(core),
        precision=precision,
        batch_sizes=(batch_size,),
        graph_version=GRAPH_VERSION,
        weights_hash=checkpoint.weights_hash,
        layout=hashlib.sha256(places.encode()).hexdigest(),
    )


def release_file_pages(path: Path) -> int:
    """Drop the resident pages of this process's read-only mappings of `path`; returns the bytes covered.

    OpenVINO keeps the weights file mapped as long as the compiled model lives, though it hardly reads the file again
    once it has packed its own bf16 copies: 2.0 of 3.1 GB resident for the Large model. The pages are clean, so a later
    access simply reads them again. Nothing happens where there is no /proc (outside Linux).
    """
    maps = Path("/proc/self/maps")
    if not sys.platform.startswith("linux") or not maps.exists():
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    target, covered = str(path.resolve()), 0
    for line in maps.read_text("utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or fields[5] != target or "w" in fields[1]:
            continue  # a private, written page would lose its content: only read-only mappings are touched
        low, high = (int(x, 16) for x in fields[0].split("-"))
        if libc.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), _MADV_DONTNEED) == 0:
            covered += high - low
    return covered
