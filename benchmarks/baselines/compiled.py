"""`compiled`: `batched` through torch.compile.

    python -m benchmarks.baselines.compiled PICTURES --checkpoint C

mode="max-autotune" on a GPU, the default mode on a CPU. Compiling takes from half a minute to several.
"""

import torch

from benchmarks.baselines.alone import main
from benchmarks.baselines.batched import Batched
from emonet_fast.backends.base import Outputs


class Compiled(Batched):
    """See the file's head. One shape: the last, smaller batch of a run is padded to it."""

    def __init__(self, where: str, device: str = "cpu", batch: int | None = None) -> None:
        super().__init__(where, device, batch)
        options = {"mode": "max-autotune"} if self.device.type == "cuda" else {}
        self.run = torch.compile(self.model.stacked, dynamic=False, **options)

    def forward(self, values: "torch.Tensor") -> Outputs:
        n = len(values)
        if n < self.batch:
            values = torch.cat([values, values[-1:].expand(self.batch - n, *values.shape[1:])])
        padded = super().forward(values)
        return Outputs(padded.embedding[:n], padded.raw[:n])

    def best_batch(self) -> int:
        """Measured before compiling: compiling every size would take minutes."""
        self.batch = 0  # nothing is padded yet
        return super().best_batch()


if __name__ == "__main__":
    main(Compiled, __doc__)
