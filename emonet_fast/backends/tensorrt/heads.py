"""The regression heads behind an engine that ends with the embedding: our Triton kernel, on the engine's stream.

The kernel computes in bf16 with float32 sums. For 44 Large heads it reads 161 MB of weights, instead of 323 MB of the
graph's float32. It needs PyTorch and Triton, which take a second or two to import. Without them the graph has heads.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...checkpoint.tensors import SafetensorsFile
from ...errors import BackendError
from ...gpu import NoGpu, look, named_stream
from ...optional import need

HEADS = ("auto", "triton", "graph")


class FusedHeads:
    """All heads of a checkpoint on the GPU `index`. Thread-safe. The kernel is compiled for `sizes` at once."""

    def __init__(self, checkpoint: Checkpoint, index: int, batch_size: int, sizes: Sequence[int]) -> None:
        torch = self._torch = need("torch", "the fused heads")
        from ...kernels.head_launch import Scratch
        from ...kernels.head_weights import HeadWeights

        self.device = self._place(index)
        self._l2 = checkpoint.l2_normalise
        file, layers = SafetensorsFile(checkpoint.path), range(len(checkpoint.head_widths) - 1)

        def of(kind: str) -> list[Any]:
            # Copies: the file's pages are mapped read-only, which torch cannot express.
            return [torch.from_numpy(np.array(file.array(f"heads.{i}.{kind}"), np.float32)) for i in layers]

        self._lock = threading.Lock()
        self._idle: Any = None
        # The weights are laid out there too: no other stream would wait for that.
        with self._on(0):
            self._weights = HeadWeights.from_layers(of("weight"), of("bias"), self.device)
            self._scratch = Scratch.allocate(self._weights, batch_size)
            for n in sizes:
                shapes = ((n, self._weights.embedding), (n, self._weights.heads))
                self._launch(*(torch.ones(shape, dtype=torch.float32, device=self.device) for shape in shapes))

    def score(self, embedding: Any, raw: Any, stream: int) -> None:
        """Queue raw [n, H] = heads(embedding [n, D]) on `stream`. Both are float32 arrays of the extension, C order."""
        # The scratch is one: a launch on another stream waits for the last one's end.
        with self._lock, self._on(stream):
            self._launch(self._tensor(embedding), self._tensor(raw))

    def _launch(self, embedding: Any, raw: Any) -> None:
        from ...kernels.heads import score_heads

        score_heads(embedding, self._weights, self._scratch, raw, l2_normalise=self._l2)

    def _place(self, index: int) -> Any:
        return self._torch.device("cuda", index)

    def _tensor(self, array: Any) -> Any:
        return self._torch.from_dlpack(array)

    @contextmanager
    def _on(self, stream: int) -> Iterator[None]:
        """Make the stream PyTorch's current one. Launches on several streams follow each other."""
        cuda = self._torch.cuda
        with cuda.device(self.device), cuda.stream(named_stream(stream, self.device)):
            if self._idle is None:
                self._idle = cuda.Event()
            cuda.current_stream().wait_event(self._idle)
            try:
                yield
            finally:
                self._idle.record()


def choose_heads(heads: str, index: int) -> str:
    """Choose "triton" or "graph" for the GPU of that index. "auto" takes Triton where it and PyTorch are there.

    Raises BackendError when "triton" is asked for and something is missing; the text names it.
    """
    if heads not in HEADS:
        raise BackendError(f"heads is {heads!r}; expected one of {', '.join(HEADS)}")
    if heads == "graph":
        return heads
    gpu = look(f"cuda:{index}")
    if not isinstance(gpu, NoGpu):
        return "triton"
    if heads == "triton":
        raise BackendError(f"the heads by Triton cannot be used: {gpu.reason}")
    return "graph"
