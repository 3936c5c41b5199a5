"""What a user would run instead, in turns with ours, all on weights made on the device.

published: transformers float32, one image at a time, one MLP call a head, scores to the host after each image.
batched: transformers bf16, stacked heads. compiled: torch.compile(mode="max-autotune") of that, whose kernels a process
in the background has compiled and chosen before. Decoding is on no side: all start from pixels on the GPU.
"""

from typing import Any

import torch

from benchmarks.gpu.context import Context, Side, case
from benchmarks.gpu.engines import flop_an_image, make_engine, random_batches, random_weights
from benchmarks.gpu.published import Published

BATCHED = 64
COMPILED = (256, 64)


def measure(context: Context) -> dict[str, Any]:
    """published and batched beside our bf16, in one set of turns."""
    batch, largest = (2, 2) if context.dry else (BATCHED, 256)
    exact = Published(context.network, context.device, torch.float32)
    rough = Published(context.network, context.device, torch.bfloat16)
    engine = make_engine(context, random_weights(context.network, context.device, "bf16"), "bf16", largest)
    singles = random_batches(context, 1, 4)

    def published() -> list[Any]:
        return [lambda x=x: exact.one_by_one(exact.normalised(x))[1].cpu() for x in singles]

    def batched() -> list[Any]:
        return [lambda x=x: rough.stacked(rough.normalised(x)) for x in random_batches(context, batch)]

    def ours(n: int) -> Any:
        return lambda: [lambda x=x: engine.run(x) for x in random_batches(context, n)]

    sides = {
        "published, fp32, one image at a time": Side(published, graph=False, images=1),
        f"transformers bf16, batch {batch}": Side(batched, graph=False, images=batch),
        f"ours bf16, batch {batch}": Side(ours(batch), graph=False, images=batch),
    }
    if not context.dry:
        sides[f"ours bf16, batch {largest}"] = Side(ours(largest), graph=False, images=largest)
    with torch.inference_mode():
        rows = case(context, "baselines", "", sides, rounds=9)
    speed = {row["side"]: row.get("images_per_second") for row in rows}
    slow, fast = (speed.get(name) for name in (next(iter(sides)), list(sides)[-1]))
    return {"factor_published": fast / slow if slow and fast else None}


def compiled(context: Context) -> dict[str, Any]:
    """torch.compile of the published network beside our bf16 and FP8 at the same batch, one batch after the other."""
    found: dict[str, Any] = {"factors": {}}
    rough = Published(context.network, context.device, torch.bfloat16)
    for batch in (2,) if context.dry else COMPILED:
        rows = compiled_batch(context, rough, batch)
        speed = {row["side"]: row.get("images_per_second") for row in rows}
        base = speed.pop("torch.compile bf16")
        if base:
            found["factors"][str(batch)] = {name: value / base for name, value in speed.items() if value}
        context.tell(found)
        context.free()
    return found


def fill(context: Context) -> dict[str, Any]:
    """Compile for `compiled`, in the background, so that it finds its kernels stored."""
    rough = Published(context.network, context.device, torch.bfloat16)
    with torch.inference_mode():
        for batch in COMPILED:
            run(context, rough)(random_batches(context, batch, 1)[0])
    return {}


def run(context: Context, rough: Published) -> Any:
    options: dict[str, Any] = {"backend": "eager"} if context.dry else {"mode": "max-autotune"}

    def network(pixels: Any) -> Any:
        return rough.stacked(rough.normalised(pixels))

    torch._dynamo.reset()
    return torch.compile(network, dynamic=False, **options)


def compiled_batch(context: Context, rough: Published, batch: int) -> list[dict[str, Any]]:
    inputs = random_batches(context, batch)
    theirs = run(context, rough)

    def reference() -> list[Any]:
        for x in inputs * 2:  # compiles, then records its own CUDA graph
            theirs(x)
        return [lambda x=x: theirs(x) for x in inputs]

    def ours(precision: str) -> Any:
        def make() -> list[Any]:
            weights = random_weights(context.network, context.device, precision)
            engine = make_engine(context, weights, precision, batch)
            return [lambda x=x: engine.run(x) for x in inputs]

        return make

    sides = {"torch.compile bf16": Side(reference, graph=False, images=batch)}
    for precision in ("bf16", "fp8"):
        sides[f"ours {precision}"] = Side(ours(precision), graph=False, images=batch)
    with torch.inference_mode():
        flop = batch * flop_an_image(context.network)
        return case(context, "torch.compile", f"batch {batch}", sides, flop=flop, rounds=9)
