"""The published pipeline on this device: transformers' vision tower, and the heads as published or stacked."""

from dataclasses import asdict
from typing import Any

import torch

from benchmarks.gpu.context import random_heads
from emonet_fast.backends.cuda.operations import stacked_heads
from emonet_fast.backends.reference import read_packed
from emonet_fast.checkpoint.spec import Checkpoint, Description


class Published:
    """transformers' SigLIP and one MLP a head, in `dtype`. Needs no image library.

    checkpoint: a packed one; a Description alone gets random weights, made on the device.
    """

    def __init__(self, checkpoint: Description, device: torch.device, dtype: torch.dtype) -> None:
        if isinstance(checkpoint, Checkpoint):
            model, tensors = read_packed(checkpoint)
            count = len(checkpoint.head_widths) - 1
            layers = [(tensors[f"heads.{i}.weight"], tensors[f"heads.{i}.bias"]) for i in range(count)]
        else:
            import transformers

            with device:
                model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**asdict(checkpoint.vision)))
            generator = torch.Generator(device).manual_seed(3)
            layers = random_heads(len(checkpoint.names), checkpoint.head_widths, generator)
        self.model = model.eval().requires_grad_(False).to(device, dtype)
        self.layers = [tuple(tensor.to(device, dtype) for tensor in layer) for layer in layers]
        self.heads = [mlp([(w[h], b[h]) for w, b in self.layers]) for h in range(len(checkpoint.names))]
        self.l2_normalise, self.preprocess, self.dtype = checkpoint.l2_normalise, checkpoint.preprocess, dtype

    def normalised(self, pixels: Any) -> Any:
        """[n, 3, S, S] uint8 on the device -> (x * rescale_factor - mean) / std."""
        spec = self.preprocess
        mean, std = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
        return ((pixels.float() * spec.rescale_factor - mean) / std).to(self.dtype)

    def embed(self, values: Any) -> tuple[Any, Any]:
        """(embedding, what the heads take)."""
        embedding = self.model(values).pooler_output
        if self.l2_normalise:
            return embedding, embedding / embedding.norm(p=2, dim=-1, keepdim=True)
        return embedding, embedding

    def one_by_one(self, values: Any) -> tuple[Any, Any]:
        """(embedding [n, D], raw [n, H]): one MLP call a head, as published."""
        embedding, x = self.embed(values)
        return embedding, torch.cat([head(x) for head in self.heads], dim=1)

    def stacked(self, values: Any) -> tuple[Any, Any]:
        """The same with all heads in one batched product a layer."""
        embedding, x = self.embed(values)
        return embedding, stacked_heads(x, self.layers)


def mlp(pairs: list[tuple[Any, Any]]) -> torch.nn.Sequential:
    """Linear, ReLU, ..., Linear from (weight [out, in], bias [out])."""
    layers: list[torch.nn.Module] = []
    for weight, bias in pairs:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        linear.weight = torch.nn.Parameter(weight, requires_grad=False)
        linear.bias = torch.nn.Parameter(bias, requires_grad=False)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
