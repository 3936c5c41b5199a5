"""`batched`: transformers in bf16 at its best batch size, all heads in one batched product a layer.

    python -m benchmarks.baselines.batched PICTURES --checkpoint C

What a user gets who knows PyTorch and has an afternoon.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.baselines.alone import joined, main, rgb
from benchmarks.gpu.published import Published as Network
from emonet_fast.backends.base import Outputs
from emonet_fast.backends.reference import image_processor
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.options import default_cache_dir

# Tried by `best_batch`. On a CPU 576 tokens an image already fill the products.
CPU_BATCHES, GPU_BATCHES = (1, 2, 4, 8), (16, 32, 64, 128, 256)


class Batched:
    """See the file's head. batch: images a call; None measures which is best."""

    def __init__(self, where: str, device: str = "cpu", batch: int | None = None) -> None:
        checkpoint = open_checkpoint(where, default_cache_dir())
        self.device = torch.device(device)
        self.size = checkpoint.vision.image_size
        self.model = Network(checkpoint, self.device, torch.bfloat16)
        self.processor = image_processor(checkpoint.preprocess)
        self.run: Callable[[Any], Any] = self.model.stacked
        self.batch = batch or self.best_batch()

    def scores(self, files: Sequence[bytes]) -> Outputs:
        def part(chunk: Sequence[bytes]) -> Outputs:
            images = [rgb(data) for data in chunk]
            values = self.processor(images=images, return_tensors="pt")["pixel_values"]
            return self.forward(values.to(self.device, torch.bfloat16))

        return self._in_batches(part, files)

    def network(self, pixels: Any) -> Outputs:
        def part(chunk: Any) -> Outputs:
            return self.forward(self.model.normalised(torch.from_numpy(chunk).to(self.device)))

        return self._in_batches(part, pixels)

    def forward(self, values: Any) -> Outputs:
        with torch.inference_mode():
            embedding, raw = (part.float().cpu().numpy() for part in self.run(values))
        return Outputs(embedding, raw)

    def best_batch(self) -> int:
        """The size with the best rate, larger ones tried until one is slower, on a tower of 2 layers: all are alike."""
        encoder = getattr(self.model.model, "vision_model", self.model.model).encoder
        layers, best, rate = encoder.layers, 1, 0.0
        encoder.layers = layers[:2]
        for n in GPU_BATCHES if self.device.type == "cuda" else CPU_BATCHES:
            values = torch.randn(n, 3, self.size, self.size, device=self.device).bfloat16()
            self.forward(values)
            began = time.perf_counter()
            self.forward(values)
            measured = n / (time.perf_counter() - began)
            if measured < rate:
                break
            best, rate = n, measured
        encoder.layers = layers
        return best

    def _in_batches(self, part: Callable[[Any], Outputs], items: Any) -> Outputs:
        return joined([part(items[i : i + self.batch]) for i in range(0, len(items), self.batch)])


if __name__ == "__main__":
    main(Batched, __doc__)
