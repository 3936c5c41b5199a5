"""Our engine for the parts that time or check the whole network, and the network that they take."""

import itertools
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.context import Context, random_heads
from emonet_fast import taxonomy
from emonet_fast.backends.cuda.engine import Engine
from emonet_fast.backends.cuda.graphs import CudaCapture, call_directly
from emonet_fast.backends.cuda.linear import make_linear
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.streams import OWN_STREAMS
from emonet_fast.backends.cuda.weights import Block, Norm, Pooling, Weights, load, refined
from emonet_fast.checkpoint.spec import Description, Preprocess, VisionConfig
from emonet_fast.engines.certificate import load_certificate

Sets = dict[str, Weights]

# This run's FP8 certificate lies beside its cache, for every process of the run.
CERTIFICATE_KEY = {"made for": "gpu-check"}
LARGE = (1152, 1024, 512, 256, 1)


def described(dry: bool, layers: int = 27) -> Description:
    """The published sizes with the Large heads; or tiny ones, of the tests' own checkpoint (outside.tiny)."""
    vision = VisionConfig(144, 304, 2, 2, 64, 16) if dry else VisionConfig(1152, 4304, layers, 16, 384, 16)
    half = (0.5, 0.5, 0.5)
    return Description(
        vision=vision,
        preprocess=Preprocess(vision.image_size, "bilinear", 1 / 255, half, half),
        names=tuple(dimension.slug for dimension in taxonomy.DIMENSIONS),
        head_widths=(144, 32, 16, 1) if dry else LARGE,
        neutral_means=None,
        l2_normalise=True,
        untrained=True,
        source="random",
    )


def random_weights(network: Description, device: torch.device, precision: str) -> Weights:
    """Weights of these sizes, made on the device: no file is needed. Each precision has the same ones, rounded."""
    vision, generator = network.vision, torch.Generator(device).manual_seed(7)
    d, mlp = vision.hidden_size, vision.intermediate_size
    plain = "fp32" if precision == "fp32" else "bf16"

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, device=device)

    def linear(out: int, inside: int, kind: str) -> Any:
        return make_linear(normal(out, inside) / inside**0.5, normal(out) * 0.1, kind)

    def norm() -> Norm:
        return Norm(1 + normal(d) * 0.1, normal(d) * 0.1)

    def block() -> Block:
        qkv, out = linear(3 * d, d, precision), linear(d, d, precision)
        return Block(norm(), qkv, out, norm(), linear(mlp, d, precision), linear(d, mlp, precision))

    heads, size = vision.num_attention_heads, vision.head_dim
    keys, values = normal(d, heads) / d**0.5, normal(heads, d, size) / d**0.5
    tops = (linear(d, d, "fp32"), norm(), linear(mlp, d, "fp32"), linear(d, mlp, "fp32"))
    return Weights(
        patch=linear(d, 3 * vision.patch_size**2, plain),
        positions=normal(vision.tokens, d).to(torch.float32 if plain == "fp32" else torch.bfloat16),
        blocks=tuple(block() for _ in range(vision.num_hidden_layers)),
        post_norm=norm(),
        pooling=Pooling(keys, values, normal(d) * 0.1, *tops),
        heads=tuple((w.cpu(), b.cpu()) for w, b in random_heads(len(network.names), network.head_widths, generator)),
    )


def certificate_file(context: Context) -> Path:
    return context.cache / "fp8-certificate.safetensors"


def weight_sets(context: Context, *precisions: str) -> Sets:
    """Of the checkpoint; FP8 with what this run's certificate keeps and refines, where there is one."""
    sets = {}
    for precision in precisions:
        found = load_certificate(certificate_file(context), CERTIFICATE_KEY) if precision == "fp8" else None
        sets[precision] = load(context.checkpoint, context.device, precision, frozenset(found.keep if found else ()))
        if found:
            tensors = {name: torch.from_numpy(values) for name, values in found.tensors.items()}
            sets[precision] = refined(sets[precision], tensors)
    return sets


def make_engine(context: Context, weights: Weights, precision: str, batch: int, attention: str = "sdpa") -> Engine:
    """attention: "sdpa" or "triton".

    A dry run takes plain PyTorch: in the interpreter one image costs seconds. Its results say so.
    """
    network = context.network
    patch, l2 = network.vision.patch_size, network.l2_normalise
    if precision == "fp32" or context.dry:
        operations: Any = PlainOperations(weights, patch, l2)
    else:
        from emonet_fast.backends.cuda.triton_operations import TritonOperations

        operations = TritonOperations(weights, patch, l2, batch, attention)
    capture = CudaCapture(context.device, OWN_STREAMS.take(context.device)) if context.cuda else call_directly
    return Engine(network, weights, precision, batch, context.device, capture, operations=operations)


def random_batches(context: Context, n: int, count: int = 2) -> list[Any]:
    """`count` batches [n, 3, S, S] of random uint8 on the device: never zeros, and never the same one twice running."""
    size = context.network.vision.image_size
    generator = torch.Generator(context.device).manual_seed(n)
    shape = (n, 3, size, size)
    return [
        torch.randint(0, 256, shape, dtype=torch.uint8, device=context.device, generator=generator)
        for _ in range(count)
    ]


def flop_an_image(network: Description) -> float:
    """519e9 for the published tower: products, attention, patch embedding, pooling head, heads."""
    v = network.vision
    d, t, mlp = v.hidden_size, v.tokens, v.intermediate_size
    block = 2 * t * (4 * d * d + 2 * d * mlp) + 4 * t * t * d
    # The published pooling head projects keys and values of all tokens; ours folds the probe and does less.
    pooling = 2 * t * 2 * d * d + 4 * t * d + 2 * (2 * d * d + 2 * d * mlp)
    widths = network.head_widths
    heads = 2 * len(network.names) * sum(a * b for a, b in itertools.pairwise(widths))
    return float(v.num_hidden_layers * block + 2 * t * 3 * v.patch_size**2 * d + pooling + heads)
