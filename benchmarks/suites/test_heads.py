"""Heads: embeddings [n, D] to raw scores [n, H], Large and Small.

Baseline: one MLP call a head in float32, as published. On a CPU our heads are part of the float32 top (pooling and
heads), which cannot be timed without it: here the same heads of our graph are compiled alone.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks import fairness
from benchmarks.harness import Case, Run
from benchmarks.head_graph import compiled_heads
from benchmarks.workshop import Workshop
from emonet_fast.checkpoint.spec import Checkpoint

# On the 0..7 scale: gate_fp32's bar for scores.
SCORE = 1e-3
CPU_BATCHES, GPU_BATCHES = (1, 64), (1, 64, 256)


def cases(shop: Workshop) -> Iterator[Case]:
    every = CPU_BATCHES if shop.device.type == "cpu" else GPU_BATCHES
    for heads in shop.checkpoints:
        for n in every[-1:] if shop.quick else every:
            sides: dict[str, Callable[[], Run]] = {
                "published": lambda heads=heads: torch_heads(shop, heads, "one_by_one"),
                "stacked": lambda heads=heads: torch_heads(shop, heads, "stacked"),
            }
            if shop.device.type == "cpu":
                sides["openvino fp32"] = lambda heads=heads, n=n: compiled_heads(shop.checkpoint(heads), n)
            else:
                sides["triton"] = lambda heads=heads, n=n: triton_heads(shop, heads, n)
            yield Case(
                group=f"heads: {heads}, batch {n}",
                inputs=lambda heads=heads, n=n: embeddings(shop, heads, n),
                sides=sides,
                judge=lambda outputs: fairness.values(outputs, SCORE, "scores"),
                images=n,
                info={"heads": heads, "batch": n},
            )


def test_heads(side: Any) -> None:
    side()


def embeddings(shop: Workshop, heads: str, n: int) -> list[Any]:
    width = shop.checkpoint(heads).vision.hidden_size
    return list(np.random.default_rng(0).normal(size=(4, n, width)).astype(np.float32))


def layers(checkpoint: Checkpoint) -> list[tuple[Any, Any]]:
    """(weight [H, out, in], bias [H, out]) of each layer, float32."""
    from safetensors import safe_open

    with safe_open(checkpoint.path, framework="pt") as file:
        count = len(checkpoint.head_widths) - 1
        return [(file.get_tensor(f"heads.{i}.weight"), file.get_tensor(f"heads.{i}.bias")) for i in range(count)]


def torch_heads(shop: Workshop, heads: str, how: str) -> Run:
    from benchmarks.gpu.published import mlp
    from emonet_fast.backends.cuda.operations import stacked_heads

    checkpoint = shop.checkpoint(heads)
    stacked = [(w.to(shop.device), b.to(shop.device)) for w, b in layers(checkpoint)]
    alone = [mlp([(w[h], b[h]) for w, b in stacked]) for h in range(len(checkpoint.names))]

    def run(values: Any) -> Any:
        with torch.inference_mode():
            x = torch.from_numpy(values).to(shop.device)
            x = x / x.norm(p=2, dim=-1, keepdim=True) if checkpoint.l2_normalise else x
            raw = torch.cat([head(x) for head in alone], dim=1) if how == "one_by_one" else stacked_heads(x, stacked)
            return raw.cpu().numpy()

    return run


def triton_heads(shop: Workshop, heads: str, n: int) -> Run:
    """Our kernel, which the `cuda` engine calls."""
    from benchmarks.gpu.context import kernel_operations

    checkpoint = shop.checkpoint(heads)
    weights = [(w.to(shop.device), b.to(shop.device)) for w, b in layers(checkpoint)]
    operations = kernel_operations(shop.device, weights, batch=n)
    out = torch.empty(n, len(checkpoint.names), device=shop.device)

    def run(values: Any) -> Any:
        operations.heads(torch.from_numpy(values).to(shop.device), out)
        return out.cpu().numpy()

    return run
