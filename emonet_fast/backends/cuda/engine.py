"""Weights, network, buffers and graphs of one precision on one device: device tensors in, static buffers out.

Knows nothing of streams or of the host, so that the whole of it also runs on CPU tensors, for checks.
"""

from dataclasses import replace
from typing import Any

from ...checkpoint.spec import Checkpoint
from .graphs import Capture, Graphs
from .network import Network
from .operations import Operations, PlainOperations
from .weights import Weights
from .workspace import Views, Workspace


class Engine:
    """Scores batches of up to `batch_size` images that lie on `device`.

    precision: "fp32", "bf16" or "fp8", the one that `weights` were loaded in. operations: None for our kernels
    ("fp32": plain PyTorch). capture: see graphs. gelu_epilogue: see Network; CUDA only.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        weights: Weights,
        precision: str,
        batch_size: int,
        device: Any,
        capture: Capture,
        *,
        operations: Operations | None = None,
        gelu_epilogue: bool = False,
    ) -> None:
        self.checkpoint, self.precision = checkpoint, precision
        self.workspace = Workspace(checkpoint, batch_size, precision, device)
        self.operations = operations or default_operations(checkpoint, weights, precision, batch_size)
        # The operations hold the heads in their own form; the host's copy need not stay.
        tower = replace(weights, heads=())
        self.network = Network(checkpoint.vision, tower, self.operations, gelu_epilogue=gelu_epilogue)
        self._views: dict[int, Views] = {}
        self.graphs = Graphs(capture, lambda size: self.network.run(self.views(size)), batch_size)
        self._factor, self._shift = checkpoint.preprocess.affine

    def use(self, weights: Weights) -> None:
        """Take other layers of the same checkpoint from now on; the heads stay, the captured graphs go."""
        self.graphs.clear()
        self.network.weights = replace(weights, heads=())

    def views(self, size: int) -> Views:
        """The static buffers of a batch size."""
        if size not in self._views:
            self._views[size] = self.workspace.views(size)
        return self._views[size]

    def run(self, pixels: Any) -> tuple[Any, Any]:
        """pixels [n, 3, S, S] on the device, uint8 or normalised floats, any strides, 1 <= n <= batch_size.

        Returns embedding [n, D] and raw [n, H] float32: parts of the static buffers, overwritten by the next run.
        Rows beyond n of the graph's batch hold what an earlier batch left there; no row depends on another one.
        """
        n = len(pixels)
        replay = self.graphs.prepare(n)
        v = self.views(self.graphs.size_for(n))
        self.operations.patches(pixels, v.patches[: n * self.checkpoint.vision.tokens], self._factor, self._shift)
        replay()
        return v.embedding[:n], v.raw[:n]


def default_operations(checkpoint: Checkpoint, weights: Weights, precision: str, batch_size: int) -> Operations:
    """Our Triton kernels; plain PyTorch in float32, whose products are exact and whose kernels nobody times."""
    if precision == "fp32":
        return PlainOperations(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise)
    from .triton_operations import TritonOperations

    return TritonOperations(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise, batch_size)
