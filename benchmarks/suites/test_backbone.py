"""Backbone and heads: ready pixels [n, 3, S, S] uint8 on the host to raw scores on the host, over batch sizes.

Baseline: transformers in bf16 with stacked heads at the same batch size; on a CPU and beyond batch 1, where PyTorch's
bf16 takes several times as long an image, our float32 engine. TFLOP/s and their share of this run's own product rate
stand beside each time.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks import fairness
from benchmarks.harness import Case
from benchmarks.workshop import Workshop, network

CPU_BATCHES, GPU_BATCHES = (1, 4), (1, 8, 64, 256)


def cases(shop: Workshop) -> Iterator[Case]:
    heads = next(iter(shop.checkpoints))
    for batch in sizes(shop):
        sides: dict[str, Any] = {}
        precisions: dict[str, str] = {}
        if shop.device.type == "cuda" or batch == 1:
            sides["batched"] = lambda batch=batch: shop.baseline("batched", heads, batch).network
            precisions["batched"] = fairness.TORCH_BF16
        for backend, precision in shop.engines():
            name = f"{backend} {precision}"
            sides[name] = lambda b=backend, p=precision, n=batch: network(shop.scorer(heads, b, p, n))
            precisions[name] = precision
        yield Case(
            group=f"backbone: {heads}, batch {batch}",
            inputs=lambda batch=batch: shop.pixels(heads, max(3, -(-shop.pictures_checked // batch)), batch),
            sides=sides,
            judge=lambda outputs, precisions=precisions: judge(shop, heads, outputs, precisions),
            images=batch,
            check=max(1, shop.pictures_checked // batch),
            flop=batch * shop.flop(heads),
            precisions=precisions,
            rounds=3 if batch > 1 and shop.deep(heads) else None,
            info={"heads": heads, "batch": batch},
        )


def test_backbone(side: Any) -> None:
    side()


def sizes(shop: Workshop) -> tuple[int, ...]:
    if shop.batches:
        return shop.batches
    if shop.device.type == "cuda":
        return GPU_BATCHES
    return CPU_BATCHES[:1] if shop.quick else CPU_BATCHES


def judge(shop: Workshop, heads: str, outputs: Any, precisions: Any) -> Any:
    """Against this device's float32 engine where it is a side, which end_to_end holds to the published pipeline."""
    names = shop.checkpoint(heads).names
    exact = next((side for side in outputs if precisions[side] == "fp32"), None)
    if exact is None:
        return fairness.scores(outputs, precisions, names)
    ordered = {exact: outputs[exact], **outputs}
    return fairness.scores(ordered, precisions, names)
