"""Kernels that take one row at a time: LayerNorm, GELU, quantisation; resize, patches; fc1's GELU in either place."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu.context import FP8_BOUND, Context, Side, case, off
from benchmarks.timer import copies
from emonet_fast.backends.cuda.linear import E4M3_MAX, make_linear, multiply, multiply_gelu

EPS = 1e-6
D, MLP, TOKENS = 1152, 4304, 576


def measure(context: Context, batches: Sequence[int] = (1, 64)) -> None:
    for images in (1,) if context.dry else batches:
        m = 2 if context.dry else images * TOKENS
        for part in (layer_norms, gelus, fc1, quantisation):
            part(context, m)
        patch_rows(context, images)
        resize_rows(context, images)
        context.free()


def normal(context: Context, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Any:
    return torch.randn(*shape, device=context.device).to(dtype)


def outputs(context: Context, m: int, d: int, fp8: bool) -> tuple[Any, Any]:
    """out and scales, poisoned."""
    out = torch.full((m, d), float("nan"), dtype=torch.bfloat16, device=context.device)
    if not fp8:
        return out, None
    return out.to(torch.float8_e4m3fn), torch.full((m,), float("nan"), device=context.device)


def widened(out: Any, scales: Any) -> Any:
    return out.double() if scales is None else out.double() * scales.double().unsqueeze(1)


def put(y: Any, out: Any, scales: Any) -> None:
    """What plain PyTorch does to store y: a cast, or scales and a cast."""
    if scales is None:
        out.copy_(y)
        return
    scale = y.abs().amax(dim=1, keepdim=True) / E4M3_MAX
    scales.copy_(scale.squeeze(1))
    out.copy_((y / scale).to(out.dtype))


def row_case(
    context: Context,
    what: str,
    m: int,
    d: int,
    fp8: bool,
    kernel: Callable[..., None],
    plain: Callable[..., None],
    exact: Callable[..., Any],
    inputs: Callable[[], tuple[Any, ...]],
    bytes_a_row: int,
) -> None:
    """kernel, plain: (out, scales, *inputs) -> None; exact: (*inputs) -> float64 output of fresh inputs."""

    def side(run: Callable[..., None]) -> Side:
        first: list[tuple[Any, Any]] = []

        def make() -> list[Any]:
            given = [inputs() for _ in range(copies(m * bytes_a_row, context.device))]
            made = [outputs(context, m, d, fp8) for _ in given]
            want = exact(*(t.clone() for t in given[0]))
            run(*made[0], *(t.clone() for t in given[0]))
            first.append((widened(*made[0]), want))
            return [lambda o=o, g=g: run(*o, *g) for o, g in zip(made, given, strict=True)]

        return Side(make, lambda: off(*first[0]), bound=FP8_BOUND if fp8 else 2e-2)

    name = f"{what}, {'fp8' if fp8 else 'bf16'} out"
    sides = {"ours": side(kernel), "torch": side(plain)}
    case(context, name, f"{m} x {d}", sides, bytes=float(m * bytes_a_row))


def layer_norms(context: Context, m: int) -> None:
    from emonet_fast.kernels.layer_norm import layer_norm

    weight, bias = normal(context, 2, D, dtype=torch.float32)

    def ours(out: Any, scales: Any, x: Any, delta: Any) -> None:
        layer_norm(x, weight, bias, EPS, out, delta=delta, scales=scales)

    def plain(out: Any, scales: Any, x: Any, delta: Any) -> None:
        x.add_(delta)
        put(functional.layer_norm(x, (D,), weight.bfloat16(), bias.bfloat16(), EPS), out, scales)

    def exact(x: Any, delta: Any) -> Any:
        total = (x.float() + delta.float()).bfloat16().double()
        return functional.layer_norm(total, (D,), weight.double(), bias.double(), EPS)

    def inputs() -> tuple[Any, Any]:
        return normal(context, m, D), normal(context, m, D)

    for fp8 in (False, True):
        size = 6 * D + (D if fp8 else 2 * D)
        row_case(context, "LayerNorm + residual", m, D, fp8, ours, plain, exact, inputs, size)


def gelus(context: Context, m: int) -> None:
    from emonet_fast.kernels.gelu import gelu

    bias = normal(context, MLP, dtype=torch.float32)

    def ours(out: Any, scales: Any, x: Any) -> None:
        gelu(x, bias, out, scales)

    def plain(out: Any, scales: Any, x: Any) -> None:
        put(functional.gelu(x + bias.bfloat16(), approximate="tanh"), out, scales)

    def exact(x: Any) -> Any:
        return functional.gelu(x.double() + bias.double(), approximate="tanh")

    for fp8 in (False, True):
        size = 2 * MLP + (MLP if fp8 else 2 * MLP)
        row_case(context, "bias + GELU", m, MLP, fp8, ours, plain, exact, lambda: (normal(context, m, MLP),), size)


def quantisation(context: Context, m: int) -> None:
    from emonet_fast.kernels.quantise import quantise

    def ours(out: Any, scales: Any, x: Any) -> None:
        quantise(x, out, scales)

    def plain(out: Any, scales: Any, x: Any) -> None:
        put(x.float(), out, scales)

    row_case(
        context, "quantise", m, D, True, ours, plain, lambda x: x.double(), lambda: (normal(context, m, D),), 3 * D
    )


def fc1(context: Context, m: int) -> None:
    """GELU in the product's epilogue (one pass less over [M, 4304]) beside product and kernel. CUDA only."""
    from emonet_fast.kernels.gelu import gelu

    k, n = (32, 64) if context.dry else (D, MLP)
    x = normal(context, m, k)
    weight, bias = normal(context, n, k, dtype=torch.float32) / k**0.5, normal(context, n, dtype=torch.float32)
    layer = make_linear(weight, bias, "bf16")
    out = torch.full((m, n), float("nan"), dtype=torch.bfloat16, device=context.device)
    part = min(m, 256)
    want = functional.gelu(x[:part].double() @ weight.double().t() + bias.double(), approximate="tanh")

    def separate() -> None:
        multiply(layer, x, out, bias=False)
        gelu(out, bias, out)

    def error() -> float:
        return off(out[:part], want)

    sides = {"product, then our GELU": Side(lambda: [separate], error)}
    if context.cuda:
        sides["GELU in the epilogue"] = Side(lambda: [lambda: multiply_gelu(layer, x, out)], error)
    case(context, "fc1 + GELU, bf16", f"{m} x {k} x {n}", sides, flop=2.0 * m * k * n)


def patch_rows(context: Context, images: int) -> None:
    """uint8 images to normalised bf16 rows."""
    from emonet_fast.kernels.patches import patches

    size, p = (32, 16) if context.dry else (384, 16)
    factor, shift = (1 / 127.5,) * 3, (-1.0,) * 3
    grid = size // p
    bytes_moved = images * 3 * size * size * 3
    given = [
        torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, device=context.device)
        for _ in range(copies(bytes_moved, context.device))
    ]
    out = torch.full((images * grid * grid, 3 * p * p), float("nan"), dtype=torch.bfloat16, device=context.device)

    def cut(x: Any) -> Any:
        x = x.reshape(images, 3, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(images * grid * grid, 3 * p * p)

    def plain(x: Any) -> None:
        out.copy_(cut(x.float() / 127.5 - 1))

    want = cut(given[-1].double() / 127.5 - 1)
    sides = {
        "ours": Side(lambda: [lambda x=x: patches(x, out, p, factor=factor, shift=shift) for x in given],
                     lambda: off(out, want)),
        "torch": Side(lambda: [lambda x=x: plain(x) for x in given], lambda: off(out, want)),
    }  # fmt: skip
    case(context, "patches", f"{images} x {size} x {size}", sides, bytes=float(bytes_moved))


def resize_rows(context: Context, images: int) -> None:
    """Decoded pictures to the network's size in Pillow's arithmetic, and in PyTorch's, which is up to a level off."""
    from emonet_fast.kernels.resize import Pixels, Resizer, reference

    edge, size = (48, 32) if context.dry else (1024, 384)
    bytes_moved = images * 3 * (edge * edge + 2 * edge * size + size * size)
    given = [
        torch.randint(0, 256, (images, edge, edge, 3), dtype=torch.uint8, device=context.device)
        for _ in range(copies(bytes_moved, context.device))
    ]
    resizer = Resizer(size, "bilinear", context.device)
    left: dict[str, Any] = {}

    def ours(x: Any) -> None:
        left["ours"] = resizer([Pixels(one.data_ptr(), edge, edge, False) for one in x])

    def plain(x: Any) -> None:
        planes = x.permute(0, 3, 1, 2).float()
        found = functional.interpolate(planes, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        left["torch"] = found.round().to(torch.uint8)

    want = torch.from_numpy(reference(given[-1][0].cpu().numpy(), size, "bilinear", rows_first=False)).double()

    def side(name: str, run: Callable[[Any], None]) -> Side:
        # Not recorded: the addresses come from the host, as they do in the decoder.
        return Side(lambda: [lambda x=x: run(x) for x in given], lambda: off(left[name][0].cpu(), want), graph=False)

    sides = {"ours": side("ours", ours), "torch": side("torch", plain)}
    case(context, "resize", f"{images} x {edge} x {edge} to {size}", sides, bytes=float(bytes_moved))
