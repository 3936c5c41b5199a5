"""What this card gives at best today: a large product in bf16 and in FP8, a large copy. All shares refer to these."""

from typing import Any

import torch

from benchmarks.gpu.context import BF16_BOUND, FP8_BOUND, Context, Side, case, off
from emonet_fast.backends.cuda.linear import E4M3_MAX


def measure(context: Context) -> dict[str, Any]:
    side = 64 if context.dry else 8192
    rows = gemm(context, side) + copy(context)
    medians = {row["side"]: row for row in rows}
    return {
        "bf16_gemm_tflops": medians["bf16"].get("tflops"),
        "fp8_gemm_tflops": medians["fp8 row-wise"].get("tflops"),
        "copy_gbs": medians["copy"].get("gbs"),
    }


def gemm(context: Context, n: int) -> list[dict[str, Any]]:
    generator = torch.Generator(context.device).manual_seed(1)
    a, b = (torch.randn(n, n, generator=generator, device=context.device).bfloat16() for _ in range(2))
    out = torch.full_like(a, float("nan"))
    part = min(n, 256)
    want = a[:part].double() @ b.double()

    def row_wise() -> list[Any]:
        scale_a, scale_b = (t.abs().amax(1, keepdim=True).float() / E4M3_MAX for t in (a, b.t().contiguous()))
        a8, b8 = (a / scale_a).to(torch.float8_e4m3fn), (b.t() / scale_b).contiguous().to(torch.float8_e4m3fn)
        scales = {"scale_a": scale_a, "scale_b": scale_b.t().contiguous(), "out_dtype": torch.bfloat16}
        return [lambda: torch._scaled_mm(a8, b8.t(), **scales, use_fast_accum=True, out=out)]

    def error() -> float:
        return off(out[:part], want)

    sides = {
        "bf16": Side(lambda: [lambda: torch.mm(a, b, out=out)], error, bound=BF16_BOUND),
        "fp8 row-wise": Side(row_wise, error, bound=FP8_BOUND),
    }
    return case(context, "GEMM", f"{n}^3", sides, flop=2.0 * n**3)


def copy(context: Context) -> list[dict[str, Any]]:
    """Bytes read plus bytes written."""
    size = 1 << 20 if context.dry else 4_000_000_000
    a = torch.randint(0, 256, (size,), dtype=torch.uint8, device=context.device)
    b = torch.empty_like(a)
    return case(
        context, "device copy", f"{size / 1e9:g} GB", {"copy": Side(lambda: [lambda: b.copy_(a)])}, bytes=2 * size
    )
