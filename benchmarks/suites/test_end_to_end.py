"""Bytes to scores: JPEGs of 1024 x 1024 in memory to raw scores on the host, against all baselines.

Our sides also subtract the neutral means and take the softmax; the baselines stop at raw scores.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks import fairness
from benchmarks.harness import Case
from benchmarks.workshop import Workshop, whole

BASELINES = {
    "published": "fp32",
    "batched": fairness.TORCH_BF16,
    "compiled": fairness.TORCH_BF16,
    "onnxruntime": "fp32",
}
# Whom our sides are compared with from run to run, by precision.
ALIKE = {"fp32": "onnxruntime", "bf16": "batched", "fp8": "compiled", "int8": "published"}
CPU_RUN, GPU_RUN = 1, 64


def cases(shop: Workshop) -> Iterator[Case]:
    run = CPU_RUN if shop.device.type == "cpu" else GPU_RUN
    for heads in list(shop.checkpoints)[: 1 if shop.quick else None]:
        # Compiling takes minutes at full depth: once, for the first variant.
        first = heads == next(iter(shop.checkpoints))
        names = list(BASELINES) if first else ["published", "batched"]
        sides: dict[str, Any] = {
            name: lambda name=name, heads=heads: shop.baseline(name, heads).scores for name in names
        }
        precisions = {name: BASELINES[name] for name in names}
        for backend, precision in [*shop.engines(), *shop.certified()]:
            name = f"{backend} {precision}"
            sides[name] = lambda b=backend, p=precision, heads=heads: whole(shop.scorer(heads, b, p))
            precisions[name] = precision
        yield Case(
            group=f"end to end: {heads}",
            inputs=lambda: chunked(shop.portraits(max(4, shop.pictures_checked, 2 * run)), run),
            sides=sides,
            judge=lambda outputs, heads=heads, precisions=precisions: fairness.scores(
                outputs, precisions, shop.checkpoint(heads).names
            ),
            images=run,
            check=max(1, shop.pictures_checked // run),
            flop=run * shop.flop(heads),
            precisions=precisions,
            beside={name: ALIKE[precisions[name]] for name in sides if name not in BASELINES} if first else {},
            info={"heads": heads},
        )


def test_end_to_end(side: Any) -> None:
    side()


def chunked(files: list[bytes], run: int) -> list[list[bytes]]:
    return [files[i : i + run] for i in range(0, len(files) - run + 1, run)]
