"""The heads alone, for stored embeddings: the same engine of float32 as behind the encoder, so the same bits."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache
from ..base import Outputs, padded
from .build import compile_options
from .engine import load_engine, plan_for
from .streams import share_of_cores

# Weights of 40 Large heads are 294 MB, which a batch reads once: 64 rows take 1.3 times the work of 256 for each.
DEFAULT_ROWS = 128


def heads_batch(batch_size: int) -> int:
    """How many rows the heads compute for a batch: at least two, which take no longer than one.

    oneDNN adds up the products of a single row in another order; from two on, each row has the same bits.
    """
    return max(2, batch_size)


class HeadsBackend:
    """The heads of a checkpoint on the CPU: embeddings to raw scores. Its encoder is neither read nor compiled.

    Thread-safe; a row's scores depend neither on the other rows nor on its place, and are those that OpenVinoBackend
    gives for the embedding. batch_size None means DEFAULT_ROWS, threads None all cores. Raises BackendError when
    OpenVINO does not work here.
    """

    name, precision, depth = "openvino", "fp32", 0
    proof: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, checkpoint: Checkpoint, batch_size: int | None = None, threads: int | None = None, *, cache_dir: Path
    ) -> None:
        self.batch_size = heads_batch(batch_size or DEFAULT_ROWS)
        plan = plan_for(checkpoint, "heads", "fp32", self.batch_size)
        options = compile_options("fp32") | share_of_cores(1, threads)
        self._engine: Any = load_engine(plan, checkpoint, EngineCache(cache_dir / "engines"), None, options)
        self._request = self._engine.compiled.create_infer_request()
        self._lock = threading.Lock()

    def run(self, pixels: npt.NDArray[Any]) -> Outputs:
        """Score embeddings [n, hidden] float32 in the place of pixels; see Backend.run."""
        with self._lock:
            self._request.infer({"embedding": padded(pixels, self.batch_size)}, share_inputs=True)
            return Outputs(pixels, self._request.get_tensor("raw").data[: len(pixels)].copy())

    def submit(self, pixels: npt.NDArray[Any]) -> Callable[[], Outputs]:
        """As Backend.submit; the work is done before it returns."""
        outputs = self.run(pixels)
        return lambda: outputs

    def close(self) -> None:
        self._request = self._engine = None
