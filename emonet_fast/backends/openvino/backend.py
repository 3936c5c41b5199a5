"""The CPU backend: the ONNX graph compiled by OpenVINO, in fp32, bf16 or int8."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache
from ...errors import BackendError
from ...records import UInt8Array
from ..base import Outputs
from .build import compile_options
from .engine import LoadedEngine, choose_precision, load_engine, plan_for
from .heads import heads_batch
from .requests import Requests
from .streams import share_of_cores

# Larger batches gain nothing that could be measured (the 576 tokens of one image already fill the matrix products).
# They cost memory, and short inputs would wait for padding.
DEFAULT_BATCH = 1


class OpenVinoBackend:
    """Three compiled engines: the tower in `precision`, pooling and heads in float32.

    Thread-safe. batch_size None means DEFAULT_BATCH, threads None all cores; engines are kept in cache_dir. Each of
    `streams` works on a batch of its own, on its share of the threads; they share the weights, and give the same bits.
    Precision "int8" needs the file of a `recipe` (graph/int8.py), which is not asked whether it is proven; what the
    recipe leaves out is computed as precision "auto" is. Raises BackendError when OpenVINO does not work here, or bf16
    is asked of a processor that lacks it; CheckpointError for a recipe of another checkpoint. `proof`: see Backend.
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
        proof: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.proof = proof
        self.precision = choose_precision(precision)
        if (self.precision == "int8") != (recipe is not None):
            raise BackendError(f"precision {precision!r} came with{'out' if recipe is None else ''} an int8 recipe")
        self.batch_size = batch_size or DEFAULT_BATCH
        self._engines: list[LoadedEngine] = []
        precision = self.precision if recipe is None else f"int8+{choose_precision('auto')}"
        share, cache = share_of_cores(streams, threads), EngineCache(cache_dir / "engines")
        plan = plan_for(checkpoint, "tower", precision, self.batch_size, recipe)
        self._engines.append(load_engine(plan, checkpoint, cache, recipe, compile_options(precision) | share))
        # The pooling head and the heads stay in float32: see graph.PARTS.
        for part, rows in (("pooling", self.batch_size), ("heads", heads_batch(self.batch_size))):
            plan = plan_for(checkpoint, part, "fp32", rows)
            self._engines.append(load_engine(plan, checkpoint, cache, None, compile_options("fp32") | share))
        tower, pooling, heads = (engine.compiled for engine in self._engines)
        self.streams = int(tower.get_property("NUM_STREAMS"))  # never more than threads
        self.depth = self.streams if self.streams > 1 else 0
        self._requests = Requests(tower, pooling, heads, self.streams, self.batch_size)

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
        self._engines = []
