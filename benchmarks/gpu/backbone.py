"""The engine from uint8 batches on the device to raw scores: images a second, batch-1 latency, host batches."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import products
from benchmarks.gpu.context import Context, Side, case, off
from benchmarks.gpu.engines import flop_an_image, make_engine, random_batches, random_weights, weight_sets
from benchmarks.timer import compare

# Of raw scores in the whole network. At full size random weights give 0.0045 and 0.060 on CPU tensors; these tell a
# broken engine, accuracy.py has the bars that count.
BOUNDS = {"bf16": 0.02, "fp8": 0.3}
LATENCY_ROUNDS = 300
HOST_BATCHES, HOST_SIZE = 12, 64


def bf16(context: Context) -> dict[str, Any]:
    return precision(context, "bf16", (256, 1, 64))


def fp8(context: Context) -> dict[str, Any]:
    """All layers in FP8, their weights to nearest: certifying these needs a checkpoint, and comes later."""
    return precision(context, "fp8", (256, 1))


def precision(context: Context, name: str, batches: Sequence[int]) -> dict[str, Any]:
    """On weights made on the device; the largest batch first, and at batch 1 each run by itself."""
    if name == "fp8" and context.cuda and torch.cuda.get_device_capability(context.device) < (8, 9):
        return {"note": "this card has no FP8"}
    batches = (2, 1) if context.dry else batches
    engine = make_engine(context, random_weights(context.network, context.device, name), name, max(batches))
    exact = make_engine(context, random_weights(context.network, context.device, "fp32"), "fp32", 2)
    found: dict[str, Any] = {"note": "a dry run: plain PyTorch in place of our kernels"} if context.dry else {}
    for batch in batches:
        throughput(context, f"{name}, attention sdpa", engine, exact, batch)
        if batch == 1:
            found["latency"] = latency(context, engine)
            context.tell(found)
    return found


def certified(context: Context) -> dict[str, Any]:
    """FP8 as it ships: with the layers that its certificate keeps in bf16."""
    if not context.keep:
        return {"note": "the certificate keeps no layer in bf16: the figures of fp8 hold"}
    batch = 2 if context.dry else 256
    engine = make_engine(context, weight_sets(context, "fp8")["fp8"], "fp8", batch)
    exact = make_engine(context, weight_sets(context, "fp32")["fp32"], "fp32", 2)
    throughput(context, f"fp8, {len(context.keep)} layers in bf16", engine, exact, batch)
    return {}


def attention(context: Context) -> dict[str, Any]:
    """Our attention: by itself beside SDPA's, then inside the engine."""
    products.attentions(context)
    exact = make_engine(context, random_weights(context.network, context.device, "fp32"), "fp32", 2)
    batch = 2 if context.dry else 256
    for name in ("bf16", "fp8"):
        weights = random_weights(context.network, context.device, name)
        for by in ("sdpa", "triton"):
            engine = make_engine(context, weights, name, batch, by)
            throughput(context, f"{name}, attention {by}", engine, exact, batch)
    return {}


def throughput(context: Context, name: str, engine: Any, exact: Any, batch: int) -> None:
    """The scores of the first and the last image of a batch are held to the float32 engine's."""
    inputs = random_batches(context, batch, 1 if context.dry else 8 if batch == 1 else 2)
    with torch.inference_mode():
        want = exact.run(inputs[0][[0, -1]])[1].clone()

        def error() -> float:
            return off(engine.run(inputs[0])[1][[0, -1]], want)

        def calls() -> list[Any]:
            return [lambda x=x: engine.run(x) for x in inputs]

        side = Side(calls, error, graph=False, bound=BOUNDS[name.partition(",")[0]], images=batch)
        flop = batch * flop_an_image(context.network)
        rounds = 9 if batch > 8 else 40
        case(context, "backbone + heads", f"batch {batch}", {name: side}, flop=flop, rounds=rounds)


def latency(context: Context, engine: Any) -> dict[str, float]:
    """Milliseconds of device work for one image that lies on the device, run by run."""
    pixels = random_batches(context, 1, 1)[0]
    with torch.inference_mode(), context.quiet():
        alone = {"engine": [lambda: engine.run(pixels)]}
        times = compare(alone, context.device, rounds=context.rounds(LATENCY_ROUNDS))["engine"]
    return {"p50": times.quantile(0.5) * 1e3, "p95": times.quantile(0.95) * 1e3}


def host(context: Context) -> dict[str, Any]:
    """Host batches as the scorer submits them: pinned staging, copies and results while the GPU works."""
    submit, depth, size, close = host_engine(context)
    image = context.network.vision.image_size
    rng = np.random.default_rng(5)
    batches = [rng.integers(0, 256, (size, 3, image, image), dtype=np.uint8) for _ in range(3)]
    count = 3 if context.dry else HOST_BATCHES
    seconds = []
    try:
        for _ in range(context.rounds(5) + 1):
            began = time.perf_counter()
            under_way: deque[Callable[[], Any]] = deque()
            for i in range(count):
                under_way.append(submit(batches[i % len(batches)]))
                if len(under_way) > depth:
                    under_way.popleft()()
            while under_way:
                under_way.popleft()()
            seconds.append((time.perf_counter() - began) / count)
    finally:
        close()
    middle = float(np.median(seconds[1:]))
    return {"batch": size, "ms": middle * 1e3, "images_per_second": size / middle}


def host_engine(context: Context) -> tuple[Callable[..., Any], int, int, Callable[[], None]]:
    """(submit, depth, batch size, close) of the `cuda` backend, or of a stand-in for CPU tensors."""
    if context.cuda:
        from emonet_fast.backends.cuda.backend import CudaBackend

        backend = CudaBackend(context.checkpoint, "cuda", "bf16", HOST_SIZE, context.cache)
        return backend.submit, backend.depth, HOST_SIZE, backend.close
    engine = make_engine(context, weight_sets(context, "bf16")["bf16"], "bf16", 2)

    def submit(pixels: Any) -> Callable[[], Any]:
        with torch.inference_mode():
            found = [part.numpy().copy() for part in engine.run(torch.from_numpy(pixels))]
        return lambda: found

    return submit, 0, 2, lambda: None
