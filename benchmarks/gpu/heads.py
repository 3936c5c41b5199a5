"""The fused heads beside one MLP call a head and a stacked product in bf16."""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.gpu.context import Context, Side, case, kernel_operations, off, random_heads
from benchmarks.gpu.published import mlp
from emonet_fast.backends.cuda.operations import stacked_heads

LARGE, COUNT = (1152, 1024, 512, 256, 1), 40
BATCHES = (1, 64, 256)
TINY, TINY_COUNT, TINY_BATCHES = (144, 64, 32, 16, 1), 2, (3,)


def measure(context: Context, batches: Sequence[int] = BATCHES) -> dict[str, Any]:
    """Two sets of weights in turns: one set alone is larger than the L2 cache, and two certainly do not fit."""
    widths, count, batches = (TINY, TINY_COUNT, TINY_BATCHES) if context.dry else (LARGE, COUNT, batches)
    generator = torch.Generator().manual_seed(3)
    sets = [random_heads(count, widths, generator) for _ in range(2)]
    weights = {dtype: [on(layers, context, dtype) for layers in sets] for dtype in (torch.float32, torch.bfloat16)}
    try:
        ours: Any = [kernel_operations(context.device, layers, batch=max(batches)) for layers in sets]
    except Exception as error:
        ours = error
    size = 2.0 * sum(w.numel() for w, _ in sets[0])
    for batch in batches:
        x = torch.randn(batch, widths[0], generator=generator).to(context.device) * 3
        bytes_moved = size + 4.0 * batch * (widths[0] + count)
        shape = f"{count} heads, batch {batch}"
        case(context, "heads", shape, sides(context, x, weights, ours), flop=batch * size, bytes=bytes_moved)
    return {}


def largest(context: Context) -> None:
    measure(context, BATCHES[-1:])


def smallest(context: Context) -> None:
    measure(context, BATCHES[:1])


def on(layers: list[tuple[Any, Any]], context: Context, dtype: torch.dtype) -> list[tuple[Any, Any]]:
    return [(w.to(context.device, dtype), b.to(context.device, dtype)) for w, b in layers]


def sides(context: Context, x: Any, weights: dict[Any, Any], ours: Any) -> dict[str, Side]:
    unit = x / x.norm(dim=1, keepdim=True)
    rough = unit.bfloat16()
    count, batch = len(weights[torch.float32][0][0][0]), len(x)
    # A head at a time: all heads in float64 would be 0.6 GB twice.
    want = torch.cat([stacked_heads(unit.double(), one_head(weights[torch.float32][0], h)) for h in range(count)], 1)
    outs = [torch.full((batch, count), float("nan"), device=context.device) for _ in range(2)]
    results: dict[str, Any] = {}

    def fused() -> Sequence[Any]:
        if isinstance(ours, Exception):
            raise ours
        return [lambda o=o, out=out: o.heads(x, out) for o, out in zip(ours, outs, strict=True)]

    def keep(name: str, call: Any) -> Any:
        def run() -> None:
            results[name] = call()

        return run

    def one_call_a_head() -> Sequence[Any]:
        heads = [mlp([(w[h], b[h]) for w, b in layers]) for layers in weights[torch.float32][:1] for h in range(count)]
        return [keep("calls", lambda: torch.cat([head(unit) for head in heads], dim=1))]

    def baddbmm() -> Sequence[Any]:
        return [
            keep(f"b{i}", lambda layers=layers: stacked_heads(rough, layers))
            for i, layers in enumerate(weights[torch.bfloat16])
        ]

    return {
        "ours": Side(fused, lambda: off(outs[0], want)),
        "one call a head, fp32": Side(one_call_a_head, lambda: off(results["calls"], want), graph=False),
        "baddbmm bf16": Side(baddbmm, lambda: off(results["b0"], want)),
    }


def one_head(layers: list[tuple[Any, Any]], h: int) -> list[tuple[Any, Any]]:
    return [(w[h : h + 1].double(), b[h : h + 1].double()) for w, b in layers]
