"""Weights, network, buffers and graphs of one precision on one device: device tensors in, static buffers out.

It knows nothing of streams or of the host, so that all of it also runs on CPU tensors, for checks.
"""

from dataclasses import replace
from typing import Any

from ...checkpoint.spec import Checkpoint
from .graphs import Capture, Graphs
from .network import CudaNetwork
from .operations import Operations, PlainOperations
from .weights import Weights
from .workspace import Views, Workspace


class Engine:
    """Scores batches of up to `batch_size` images that lie on a device.

    The precision is the one that `weights` were loaded in. `operations` None takes default_operations.
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
    ) -> None:
        self.checkpoint, self.precision = checkpoint, precision
        self.workspace = Workspace(checkpoint, batch_size, precision, device)
        self.operations = operations or default_operations(checkpoint, weights, precision, batch_size)
        # The operations hold the heads in their own form; the host's copy need not stay.
        self.network = CudaNetwork(checkpoint.vision, replace(weights, heads=()), self.operations)
        self._views: dict[int, Views] = {}
        self.graphs = Graphs(capture, lambda size: self.network.run(self.views(size)), batch_size)
        self._factor, self._shift = checkpoint.preprocess.affine

    def use(self, weights: Weights) -> None:
        """Use other layers of the same checkpoint from now on. The heads stay; the captured graphs are dropped."""
        self.graphs.clear()
        self.network.weights = replace(weights, heads=())

    def views(self, size: int) -> Views:
        """Return the static buffers of a batch size."""
        if size not in self._views:
            self._views[size] = self.workspace.views(size)
        return self._views[size]

    def run(self, pixels: Any) -> tuple[Any, Any]:
        """Score pixels [n, 3, S, S] on the device, uint8 or normalised floats, any strides, 1 <= n <= batch_size.

        Returns embedding [n, D] and raw [n, H] float32: parts of the static buffers, which the next run overwrites.
        Rows beyond n of the graph's batch hold what an earlier batch left there; no row depends on another one.
        """
        n = len(pixels)
        replay = self.graphs.prepare(n)
        v = self.views(self.graphs.size_for(n))
        self.operations.patches(pixels, v.patches[: n * self.checkpoint.vision.tokens], self._factor, self._shift)
        replay()
        return v.embedding[:n], v.raw[:n]


def default_operations(checkpoint: Checkpoint, weights: Weights, precision: str, batch_size: int) -> Operations:
    """Return our Triton kernels; for "fp32" plain PyTorch, whose products are exact and whose speed does not matter."""
    if precision == "fp32":
        return PlainOperations(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise)
    from .triton_operations import TritonOperations

    return TritonOperations(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise, batch_size)
