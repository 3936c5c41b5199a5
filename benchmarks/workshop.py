"""What the suites share: the device, the checkpoints, the inputs, and opened sides that several cases use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.harness import NotHereError, Pace, Run
from benchmarks.pictures import encoded, photograph
from benchmarks.timer import compare
from emonet_fast import Scorer
from emonet_fast.backends.base import Outputs
from emonet_fast.backends.choose import choose
from emonet_fast.backends.openvino.settle import find_report
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.fidelity import MIN_PICTURES_FOR_RANKS
from emonet_fast.errors import EmonetError
from emonet_fast.options import Options, default_cache_dir

T = TypeVar("T")
# Of the square product whose rate is the ceiling.
GEMM_CPU, GEMM_GPU = 2048, 8192
# Layers from which on an image takes a CPU seconds.
DEEP = 8
# Engines by device type: (backend, precision).
ENGINES = {
    "cpu": (("openvino", "fp32"), ("openvino", "bf16")),
    "cuda": (("cuda", "fp32"), ("cuda", "bf16"), ("cuda", "fp8"), ("tensorrt", "bf16"), ("tensorrt", "fp8")),
}


@dataclass
class Workshop:
    """What the suites share.

    Args:
        device: torch's.
        checkpoints: folder or packed file by heads variant, "large" and "small".
        quick: whether to do as little as shows that it runs.
        backends: of the engines; empty means all of the device.
        precisions: of the engines; empty means all of the device.
        batches: sizes of the batch curve; empty means the device's usual ones.
        rounds: at least so many; 0 means the device's usual number.
        track: whether to time the quick cases in rounds enough to be compared from run to run.
        kept: what was made already, by its key.
    """

    device: torch.device
    checkpoints: Mapping[str, str]
    quick: bool
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    rounds: int = 0
    track: bool = False
    kept: dict[Any, Any] = field(default_factory=dict)

    # -- how long ------------------------------------------------------------------------------------------------

    @property
    def pace(self) -> Pace:
        """At least 5 rounds, and what a case may take beyond; the spread of tracking is in docs/benchmarks.md."""
        if self.track:
            return Pace(self.rounds or 15, 0.05, 25.0)
        if self.quick:
            return Pace(self.rounds or 5, 0.05, 4.0)
        return Pace(self.rounds or (5 if self.device.type == "cpu" else 15), 0.1, 6.0)

    @property
    def pictures_checked(self) -> int:
        """As many as ranks need where they cost nothing; of the rest of the bars a few say enough."""
        if self.device.type == "cuda":
            return MIN_PICTURES_FOR_RANKS
        return 2 if any(self.deep(heads) for heads in self.checkpoints) else 4

    # -- what is known -------------------------------------------------------------------------------------------

    def checkpoint(self, heads: str) -> Checkpoint:
        return self.keep(("checkpoint", heads), lambda: open_checkpoint(self.checkpoints[heads], default_cache_dir()))

    def depth(self, heads: str) -> int:
        return self.checkpoint(heads).vision.num_hidden_layers

    def deep(self, heads: str) -> bool:
        """An image takes seconds: as few of them as say something."""
        return self.device.type == "cpu" and self.depth(heads) > DEEP

    def flop(self, heads: str) -> float:
        from benchmarks.gpu.engines import flop_an_image

        return flop_an_image(self.checkpoint(heads))

    @cached_property
    def ceilings(self) -> dict[str, float]:
        """FLOP/s of a large square product on random numbers, by precision: its best round of this run, by PyTorch."""
        n = GEMM_CPU if self.device.type == "cpu" else GEMM_GPU
        generator = torch.Generator(self.device).manual_seed(1)
        wide = [torch.randn(n, n, generator=generator, device=self.device) for _ in range(2)]
        narrow = [a.bfloat16() for a in wide]
        sides = {"fp32": [lambda: wide[0] @ wide[1]], "bf16": [lambda: narrow[0] @ narrow[1]]}
        times = compare(sides, self.device, rounds=7, warmup=2, shortest=0.02)
        rates = {name: 2.0 * n**3 / min(taken.seconds) for name, taken in times.items()}
        return rates | (fp8_ceiling(self.device, n) if self.device.type == "cuda" else {})

    # -- inputs --------------------------------------------------------------------------------------------------

    def portraits(self, count: int, size: int = 1024) -> list[bytes]:
        """Photographs of size x size as JPEGs."""

        def make() -> list[bytes]:
            return [encoded(photograph(size, size, i), quality=80) for i in range(count)]

        return self.keep(("portraits", count, size), make)

    def pixels(self, heads: str, count: int, n: int) -> list[Any]:
        """`count` batches [n, 3, S, S] uint8 of generated pictures: noise is no face, and zeros are no work."""
        from emonet_fast.engines.pictures import generated_pixels

        drawn = self.keep(("pixels", heads), lambda: generated_pixels(self.checkpoint(heads), 8, seed=0))
        picked = np.arange(count * n) % len(drawn)
        shift = (np.arange(count * n) // len(drawn)).astype(np.uint8)[:, None, None, None]  # no batch twice
        return list((drawn[picked] + shift).reshape(count, n, *drawn.shape[1:]))

    # -- sides ---------------------------------------------------------------------------------------------------

    def engines(self) -> list[tuple[str, str]]:
        """(backend, precision) of those asked for."""
        every = ENGINES[self.device.type]
        return [
            (backend, precision)
            for backend, precision in every
            if (not self.backends or backend in self.backends) and (not self.precisions or precision in self.precisions)
        ]

    def certified(self) -> list[tuple[str, str]]:
        """(backend, precision) of engines that need a fidelity report, of those asked for."""
        whole = self.device.type == "cpu" and not self.quick
        asked = "openvino" in (self.backends or ("openvino",)) and "int8" in (self.precisions or ("int8",))
        return [("openvino", "int8")] if whole and asked else []

    def scorer(self, heads: str, backend: str, precision: str, batch: int | None = None) -> Scorer:
        """An opened Scorer, kept for the cases after.

        Raises:
            NotHereError: this machine cannot run it; why.
        """

        def make() -> Scorer:
            options = {"device": str(self.device), "precision": precision, "backend": backend}
            try:
                choose(Options(**options))
                if precision == "int8" and find_report(self.checkpoint(heads), Options(**options)) is None:
                    raise NotHereError("no fidelity report: `emonet-fast calibrate` makes one")
                return Scorer(self.checkpoints[heads], **options, batch_size=batch).open()
            except EmonetError as error:
                raise NotHereError(str(error)) from error

        return self.keep(("scorer", heads, backend, precision, batch), make)

    def baseline(self, name: str, heads: str, batch: int | None = None) -> Any:
        """An opened baseline of benchmarks/baselines, kept for the cases after."""

        def make() -> Any:
            where, device = self.checkpoints[heads], str(self.device)
            try:
                if name == "published":
                    from benchmarks.baselines.published import Published

                    return Published(where, device)
                if name == "batched":
                    from benchmarks.baselines.batched import Batched

                    return Batched(where, device, batch or (1 if self.quick else None))
                if name == "compiled":
                    from benchmarks.baselines.compiled import Compiled

                    # the best batch size is measured once
                    return Compiled(where, device, batch or self.baseline("batched", heads).batch)
                from benchmarks.baselines.onnx_runtime import OnnxRuntime

                return OnnxRuntime(where, device)
            except ImportError as error:
                raise NotHereError(f"{error}; install the extra `bench`") from error

        return self.keep(("baseline", name, heads, batch), make)

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self.kept:
            self.kept[key] = make()
        kept: T = self.kept[key]
        return kept

    def release(self) -> None:
        """Close what the cases of one suite shared; inputs and checkpoints stay."""
        for key in [key for key in self.kept if key[0] in ("scorer", "baseline")]:
            opened = self.kept.pop(key)
            if isinstance(opened, Scorer):
                opened.close()


def fp8_ceiling(device: torch.device, n: int) -> dict[str, float]:
    """FLOP/s of the row-wise FP8 product, as `make gpu-check` measures it; nothing where the GPU has none."""
    from benchmarks.gpu.ceilings import gemm
    from benchmarks.gpu.context import Context

    rows = gemm(Context(device, dry=False, cache=default_cache_dir()), n)
    rates = [row["tflops"] * 1e12 for row in rows if row["side"].startswith("fp8") and "tflops" in row]
    return {"fp8": rates[0]} if rates else {}


def network(scorer: Scorer) -> Run:
    """Ready pixels through an engine: [n, 3, S, S] uint8 to Outputs."""

    def run(pixels: Any) -> Outputs:
        scores = scorer.score_pixels(pixels, embeddings=True)
        assert scores.embeddings is not None
        return Outputs(scores.embeddings, scores.raw)

    return run


def whole(scorer: Scorer) -> Run:
    """Encoded pictures through a Scorer, to Outputs."""

    def run(files: list[bytes]) -> Outputs:
        scores = scorer(files, embeddings=True)
        assert scores.embeddings is not None
        return Outputs(scores.embeddings, scores.raw)

    return run
