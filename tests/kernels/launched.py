"""What the JIT would compile for a launch, without a GPU: to be compared with what is compiled ahead.

python -m tests.kernels.launched: launches every kernel at the published sizes on CPU tensors, stops each launch before
it compiles, and prints those that are not among their file's variants. Must not run in the interpreter.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import triton
from emonet_fast.kernels import attention, gelu, head_launch, head_weights, heads, layer_norm, patches, quantise, resize
from emonet_fast.kernels.aot import Variant
from triton import knobs
from triton.backends.compiler import GPUTarget

# What `head_launch` takes a CPU for, and `attention`.
CAPABILITY = 90

Described = dict[str, Any]


class NoGpu:
    """Stands where Triton's driver would look for a GPU."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", CAPABILITY, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def describe(kernel: str, signature: dict, constants: dict, attributes: dict, options: dict) -> Described:
    """The same form for both sides. Constants and attributes are keyed by the argument's position."""
    names = list(signature)
    return {
        "kernel": kernel,
        "signature": dict(signature),
        "constants": {names[position[0]]: value for position, value in constants.items()},
        "divisible": {names[position[0]] for position, found in attributes.items() if found},
        "options": {name: options[name] for name in ("num_warps", "num_stages", "enable_fp_fusion")},
    }


def of_variant(v: Variant) -> Described:
    """What is compiled ahead."""
    constants = {(list(v.signature).index(name),): value for name, value in v.constants.items()}
    return describe(v.kernel.__name__, v.signature, constants, v.attributes, v.launch.options)


def of_launch(launch: Callable[[], None]) -> list[Described]:
    """What the JIT is asked for. No kernel is compiled or run."""
    found = []

    def record(*, fn: Any, compile: dict[str, Any], **_: Any) -> bool:
        found.append(
            describe(fn.name, compile["signature"], compile["constants"], compile["configs"][0], options=compile)
        )
        return True  # Triton takes it as compiled elsewhere, and the launch ends here

    knobs.runtime.jit_cache_hook = record
    try:
        launch()
    finally:
        knobs.runtime.jit_cache_hook = None
    return found


def head_launches() -> Iterator[tuple[str, Callable[[], None]]]:
    """Batches up to 512, both layouts."""
    both = (torch.bfloat16, torch.float32)
    for sizes, types in (((1152, 1024, 512, 256, 1), both), ((1152, 128, 32, 1), both[1:])):
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        # All heads of a layer are one matrix in memory: enough for a launch that does not run.
        matrices = [torch.zeros(1, *shape).expand(44, -1, -1) for shape in shapes]
        biases = [torch.zeros(44, out) for out, _ in shapes]
        weights = head_weights.HeadWeights.from_layers(matrices, biases, "cpu")
        scratch = head_launch.Scratch.allocate(weights, 512)
        for batch in (1, 16, 17, 32, 33, 64, 65, 100, 128, 255, 256, 400, 512):
            for dtype in types:
                x, raw = torch.empty(batch, 1152, dtype=dtype), torch.empty(batch, 44)
                call = partial(heads.score_heads, x, weights, scratch, raw, l2_normalise=True)
                yield f"{len(sizes) - 1} layers, batch {batch}, {dtype}", call


def other_launches() -> Iterator[tuple[str, Callable[[], None]]]:
    """One network's launches, at a batch of 2."""
    rows, bf16, e4m3 = 2 * 576, torch.bfloat16, torch.float8_e4m3fn
    vector, scales = torch.empty(1152), torch.empty(rows)
    x, wide = torch.empty(rows, 1152, dtype=bf16), torch.empty(rows, 4304, dtype=bf16)
    for name, out, s in (("bf16", bf16, None), ("e4m3", e4m3, scales)):
        norm = partial(layer_norm.layer_norm, x, vector, vector, 1e-6, torch.empty(rows, 1152, dtype=out), scales=s)
        yield f"norm {name}", norm
        yield f"norm {name} of a sum", partial(norm, delta=x)
        yield f"gelu {name}", partial(gelu.gelu, wide, torch.empty(4304), torch.empty(rows, 4304, dtype=out), s)
    for values in (x, wide):
        yield f"quantise {values.shape[1]}", partial(quantise.quantise, values, values.to(e4m3), scales)
    pixels, factor = torch.zeros(2, 3, 384, 384, dtype=torch.uint8), (0.1, 0.1, 0.1)
    to = torch.empty(rows, 768, dtype=bf16)
    yield "patches", partial(patches.patches, pixels, to, 16, factor=factor, shift=factor)
    picture = torch.zeros(40, 50, 3, dtype=torch.uint8)
    for first in (False, True):
        given = [resize.Pixels(picture.data_ptr(), 40, 50, first)] * 3
        yield "resize", partial(resize.Resizer(384, "bilinear", "cpu"), given)
    for batch in (1, 256):
        qkv = torch.empty(batch * 576, 3 * 1152, dtype=bf16)
        out = torch.empty(batch * 576, 1152, dtype=bf16)
        yield f"attention {batch}", partial(attention.attention, qkv, out, batch, 576, 16)


def differences() -> Iterator[str]:
    """Launches that are not compiled ahead. Each kernel file's check that tensors are on a GPU is left out."""
    known: dict[str, list[Described]] = {}
    files = ("attention", "gelu", "heads", "layer_norm", "patches", "quantise", "resize")
    for file in files:
        module = importlib.import_module(f"emonet_fast.kernels.{file}")
        module.check_device = lambda tensors: None
        for variant in module.variants(CAPABILITY):
            known.setdefault(variant.kernel.__name__, []).append(of_variant(variant))
    for name, launch in (*head_launches(), *other_launches()):
        launched = of_launch(launch)
        if not launched:
            yield f"{name}: nothing was launched"
        for described in launched:
            if described not in known[described["kernel"]]:
                yield f"{name}: launched as {described}, but compiled ahead as {known[described['kernel']]}"


def main() -> int:
    triton.runtime.driver.set_active(NoGpu())
    found = list(differences())
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
