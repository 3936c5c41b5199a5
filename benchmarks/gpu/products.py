"""The model's matrix products in bf16 and FP8, and attention: ours beside each kernel that PyTorch has for it."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.context import BF16_BOUND, FP8_BOUND, Context, Side, case, off
from benchmarks.timer import copies
from emonet_fast.backends.cuda.linear import make_linear, multiply
from emonet_fast.backends.cuda.operations import sdpa

# name: (K, N)
SHAPES = {
    "patch embedding": (768, 1152),
    "qkv": (1152, 3456),
    "out": (1152, 1152),
    "fc1": (1152, 4304),
    "fc2": (4304, 1152),
}
TOKENS, HEADS, HEAD_DIM = 576, 16, 72


def gemms(context: Context) -> None:
    shapes = {"qkv": (32, 48)} if context.dry else SHAPES
    for images in (1,) if context.dry else (1, 64, 256):
        for name, (k, n) in shapes.items():
            gemm(context, name, 256 if context.dry else -(-images * TOKENS // 256) * 256, k, n)
        context.free()


def gemm(context: Context, name: str, m: int, k: int, n: int) -> None:
    """bf16 with bias; FP8 row-wise with bias, x quantised before."""
    x = torch.randn(m, k, device=context.device).bfloat16()
    weight, bias = torch.randn(n, k, device=context.device) / k**0.5, torch.randn(n, device=context.device)
    out = torch.full((m, n), float("nan"), dtype=torch.bfloat16, device=context.device)
    part = min(m, 256)
    want = x[:part].double() @ weight.double().t() + bias.double()

    def bf16() -> list[Any]:
        layer = make_linear(weight, bias, "bf16")
        return [lambda: multiply(layer, x, out)]

    def fp8() -> list[Any]:
        layer = make_linear(weight, bias, "fp8")
        scales = x.abs().amax(1).float() / 448
        x8 = (x / scales.unsqueeze(1)).to(torch.float8_e4m3fn)
        return [lambda: multiply(layer, x8, out, scales=scales)]

    def error() -> float:
        return off(out[:part], want)

    sides = {
        "bf16": Side(bf16, error, bound=BF16_BOUND, bytes=2.0 * (m * k + n * k + m * n)),
        "fp8": Side(fp8, error, bound=FP8_BOUND, bytes=1.0 * (m * k + n * k) + 2.0 * m * n),
    }
    case(context, f"GEMM {name}", f"{m} x {k} x {n}", sides, flop=2.0 * m * k * n)


def attentions(context: Context) -> None:
    for batch in (1,) if context.dry else (64, 1, 256):
        attention_case(context, batch)
        context.free()


def smallest(context: Context) -> None:
    attention_case(context, 1)


def attention_case(context: Context, batch: int) -> None:
    """From the packed [M, 3 D] to [M, D]; SDPA gives a tensor of its own, ours fills a buffer, as in the engine."""
    from emonet_fast.kernels.attention import attention

    tokens, heads = (16, 2) if context.dry else (TOKENS, HEADS)
    d = heads * HEAD_DIM
    count = copies(8 * batch * tokens * d, context.device)
    qkv = [torch.randn(batch * tokens, 3 * d, device=context.device).bfloat16() for _ in range(count)]
    out = torch.full((batch * tokens, d), float("nan"), dtype=torch.bfloat16, device=context.device)
    want = exact(qkv[-1][:tokens], tokens, heads)

    def side(run: Callable[[Any], Any]) -> Side:
        latest: list[Any] = []

        def call(x: Any) -> None:
            latest[:] = [run(x)]

        def make() -> list[Any]:
            out.fill_(float("nan"))
            return [lambda x=x: call(x) for x in qkv]

        return Side(make, lambda: off(latest[0][:tokens], want))

    def ours(x: Any) -> Any:
        attention(x, out, batch, tokens, heads)
        return out

    def by(kind: SDPBackend) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            with sdpa_kernel(kind):
                return sdpa(x, batch, tokens, heads)

        return run

    sides = {"sdpa": side(lambda x: sdpa(x, batch, tokens, heads)), "ours": side(ours)}
    if context.cuda:
        for kind in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            sides[f"sdpa {kind.name.split('_')[0].lower()}"] = side(by(kind))
    flop, size = 4.0 * batch * tokens * tokens * d, 8.0 * batch * tokens * d
    case(context, "attention, head_dim 72", f"batch {batch}, {tokens} tokens", sides, flop=flop, bytes=size)


def exact(qkv: Any, tokens: int, heads: int) -> Any:
    """[tokens, D] of one image in float64."""
    q, k, v = qkv.double().view(tokens, 3, heads, HEAD_DIM).permute(1, 2, 0, 3)
    y = functional.softmax(q @ k.transpose(1, 2) / HEAD_DIM**0.5, dim=-1) @ v
    return y.transpose(0, 1).reshape(tokens, heads * HEAD_DIM)
