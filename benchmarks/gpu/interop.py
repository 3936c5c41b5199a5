"""Batches of other libraries in the `cuda` backend, bit for bit as PyTorch's; those that this machine has."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.context import Context, describe
from benchmarks.gpu.engines import random_batches

BATCH = 8


def measure(context: Context) -> dict[str, Any]:
    """Dry, numpy's array stands for them, and what is tried is that it is taken where it lies."""
    batch = random_batches(context, 2 if context.dry else BATCH, 1)[0]
    score = scorer(context)
    want = score(batch)
    for name, make in (MAKERS if context.cuda else {"numpy": lambda x: x}).items():
        row: dict[str, Any] = {"what": "interop", "shape": f"batch {len(batch)}", "side": name}
        try:
            got = score(make(batch.cpu().numpy()))
            row["error"] = float((got - want).abs().max())
            row["wrong"] = not torch.equal(got, want)
        except ModuleNotFoundError as error:
            row["skipped"] = f"{error.name} is not installed"
        except Exception as error:
            row["failed"] = describe(error)
        context.row(row)
    return {}


def scorer(context: Context) -> Callable[[Any], Any]:
    """A batch to raw scores on the host."""
    if not context.cuda:
        from emonet_fast.backends.cuda.inputs import as_tensor

        size = context.network.vision.image_size
        return lambda batch: as_tensor(batch, context.device, size).double().mean((1, 2, 3))
    from emonet_fast.backends.cuda.backend import CudaBackend

    backend = CudaBackend(context.checkpoint, "cuda", "bf16", BATCH, context.cache)

    def score(batch: Any) -> Any:
        torch.cuda.synchronize(context.device)  # the other library's stream is not ours
        raw = backend.run_device(batch).raw
        torch.cuda.synchronize(context.device)
        return raw.cpu()

    return score


def cupy(pixels: Any) -> Any:
    import cupy

    made = cupy.asarray(pixels)
    cupy.cuda.get_current_stream().synchronize()
    return made


def jax(pixels: Any) -> Any:
    import jax

    return jax.device_put(pixels, jax.devices("gpu")[0]).block_until_ready()


def numba(pixels: Any) -> Any:
    from numba import cuda

    made = cuda.to_device(pixels)
    cuda.synchronize()
    return made


MAKERS: dict[str, Callable[[Any], Any]] = {"cupy": cupy, "jax": jax, "numba": numba}
