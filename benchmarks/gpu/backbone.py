"""The engine from uint8 batches on the device to raw scores: images a second, batch-1 latency, host batches."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.context import Context, Side, case, describe, off, rates
from benchmarks.gpu.engines import flop_an_image, make_engine, random_batches, weight_sets
from benchmarks.timer import compare

BATCHES = (1, 8, 64, 256)
# Of raw scores in the whole network: wide, for noise is no face; accuracy.py has the bars that count.
BOUNDS = {"bf1": 0.1, "fp8": 0.3}
LATENCY_ROUNDS = 300
HOST_BATCHES, HOST_SIZE = 12, 64


def measure(context: Context) -> dict[str, Any]:
    weights = weight_sets(context, "bf16", "fp8") if fp8_works(context) else weight_sets(context, "bf16")
    batches = (1, 2) if context.dry else BATCHES
    engines: dict[str, Any] = {}
    for precision in weights:
        for attention in ("sdpa", "triton"):
            name = f"{precision}, attention {attention}"
            try:
                engines[name] = make_engine(context, weights[precision], precision, max(batches), attention)
            except Exception as error:
                engines[name] = error
    exact = make_engine(context, weight_sets(context, "fp32")["fp32"], "fp32", 2)
    rows: list[dict[str, Any]] = []
    for batch in batches:
        rows += throughput(context, engines, exact, batch)
    found = {
        "rows": rates(context, rows),
        "flop_an_image": flop_an_image(context.checkpoint),
        "fp8_keep": sorted(context.keep),
        "latency": latency(context, engines),
    }
    if context.dry:
        found["note"] = "a dry run: plain PyTorch in place of our kernels"
    engines.clear()
    del exact
    context.free()
    try:
        found["host"] = host_batches(context)
    except Exception as error:
        found["host"] = {"failed": describe(error)}
    return found


def fp8_works(context: Context) -> bool:
    return not context.cuda or torch.cuda.get_device_capability(context.device) >= (8, 9)


def throughput(context: Context, engines: dict[str, Any], exact: Any, batch: int) -> list[dict[str, Any]]:
    """The scores of the first and the last image of a batch are held to the float32 engine's."""
    inputs = random_batches(context, batch, 1 if context.dry else 8 if batch == 1 else 2)
    with torch.inference_mode():
        want = exact.run(inputs[0][[0, -1]])[1].clone()

    def side(name: str, engine: Any) -> Side:
        def make() -> list[Any]:
            if isinstance(engine, Exception):
                raise engine
            return [lambda x=x: engine.run(x) for x in inputs]

        def error() -> float:
            return off(engine.run(inputs[0])[1][[0, -1]], want)

        return Side(make, error, graph=False, bound=BOUNDS[name[:3]], images=batch)

    with torch.inference_mode():
        sides = {name: side(name, engine) for name, engine in engines.items()}
        flop = batch * flop_an_image(context.checkpoint)
        return case(context, "backbone + heads", f"batch {batch}", sides, flop=flop, rounds=9 if batch > 8 else 40)


def latency(context: Context, engines: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Milliseconds of device work for one image that lies on the device, run by run."""
    usable = {name: engine for name, engine in engines.items() if not isinstance(engine, Exception)}
    pixels = random_batches(context, 1, 1)[0]
    found: dict[str, dict[str, Any]] = {}
    with torch.inference_mode():
        for name, engine in usable.items():
            alone = {name: [lambda engine=engine: engine.run(pixels)]}
            try:
                times = compare(alone, context.device, rounds=context.rounds(LATENCY_ROUNDS))[name]
            except Exception as error:
                found[name] = {"failed": describe(error)}
            else:
                found[name] = {"p50": times.quantile(0.5) * 1e3, "p95": times.quantile(0.95) * 1e3}
    return found


def host_batches(context: Context) -> dict[str, Any]:
    """Host batches as the scorer submits them: pinned staging, copies and results while the GPU works."""
    submit, depth, size, close = host_engine(context)
    image = context.checkpoint.vision.image_size
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
