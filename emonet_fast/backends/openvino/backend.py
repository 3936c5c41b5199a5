"""The CPU backend: the ONNX graph compiled by OpenVINO, in fp32, bf16 or int8."""

import ctypes
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache
from ...errors import BackendError
from ...optional import import_openvino, openvino_core
from ...records import UInt8Array
from ..base import Outputs
from .build import compile_options
from .engine import choose_precision, plan_for, stored_engine
from .requests import Requests
from .streams import share_of_cores

# Larger batches gain nothing that could be measured (the 576 tokens of one image already fill the matrix products).
# They cost memory, and short inputs would wait for padding.
DEFAULT_BATCH = 1

_MADV_DONTNEED = 4  # Linux' number on every architecture that this package runs on


class OpenVinoBackend:
    """Two compiled engines of one batch size: the tower in `precision`, the top in float32.

    Thread-safe. batch_size None means DEFAULT_BATCH, threads None all cores; engines are kept in cache_dir. Each of
    `streams` works on a batch of its own, on its share of the threads; they share the weights, and give the same bits.
    Precision "int8" needs the file of a `recipe` (graph/int8.py), which is not asked whether it is proven; what the
    recipe leaves out is computed in `rest`, which is "auto", "bf16" or "fp32". Raises BackendError when OpenVINO does
    not work here, or bf16 is asked of a processor that lacks it; CheckpointError for a recipe of another checkpoint.
    `proof`: see Backend.
    """

    name = "openvino"

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        streams: int = 1,
        *,
        cache_dir: Path,
        recipe: Path | None = None,
        rest: str = "auto",
        proof: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.proof = proof
        ov = import_openvino()
        core = openvino_core()
        self.precision = choose_precision(core, precision)
        if (self.precision == "int8") != (recipe is not None):
            raise BackendError(f"precision {precision!r} came with{'out' if recipe is None else ''} an int8 recipe")
        self.batch_size = batch_size or DEFAULT_BATCH
        self._folders: list[Any] = []  # what they read their weights from, where the cache could not take these
        compiled: list[Any] = []
        tower = self.precision if recipe is None else f"int8+{choose_precision(core, rest)}"
        # The pooling head and the heads stay in float32: see graph.PARTS.
        for part, part_precision, file in (("tower", tower, recipe), ("top", "fp32", None)):
            plan = plan_for(core, checkpoint, part, part_precision, self.batch_size, file)
            stored = stored_engine(plan, checkpoint, EngineCache(cache_dir / "engines"), file)
            options = {**compile_options(part_precision), "WEIGHTS_PATH": str(stored.weights)}
            options |= share_of_cores(streams, threads)
            try:
                compiled.append(core.import_model(ov.Tensor(np.frombuffer(stored.blob, np.uint8)), "CPU", options))
            except RuntimeError as error:
                raise BackendError(f"OpenVINO could not load the engine of {stored.weights}: {error}") from error
            self._folders.append(stored.folder)
            release_file_pages(stored.weights)
        self.streams = int(compiled[0].get_property("NUM_STREAMS"))  # never more than threads
        self.depth = self.streams if self.streams > 1 else 0
        self._requests = Requests(compiled[0], compiled[1], self.streams, self.batch_size)

    def run(self, pixels: UInt8Array) -> Outputs:
        return self._requests.run(pixels)

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """As Backend.submit. One stream works at once: the cores that would prepare the next batch are its own."""
        if self.depth:
            return self._requests.start(pixels)
        outputs = self.run(pixels)
        return lambda: outputs

    def close(self) -> None:
        self._requests.close()
        self._folders = []


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
