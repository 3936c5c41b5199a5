"""How far a kernel's output may be from the float64 formula, and inputs that are hard to quantise."""

import torch

E4M3 = torch.float8_e4m3fn

# Half a step of bf16's 7 stored bits of mantissa, relative to the smallest value of a binade: what rounding to nearest
# may cost. Cutting off costs up to twice that, and must fail.
BF16_HALF_STEP = 2.0**-8


def fresh(*shape: int, device: str, seed: int, outliers: bool = True) -> torch.Tensor:
    """Normal values in bf16; in every third row one value is x1000, as on SigLIP's background tokens."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=generator)
    if outliers:
        rows = torch.arange(0, shape[0], 3)
        values[rows, torch.randint(shape[1], rows.shape, generator=generator)] *= 1000
    return values.to(torch.bfloat16).to(device)


def excess(got: torch.Tensor, expected: torch.Tensor, allowed: torch.Tensor) -> str:
    """Where and how far `got` is beyond `allowed` of `expected` (float64), else empty. NaN is always beyond."""
    error = (got.double() - expected).abs()
    bad = ~(error <= allowed)
    if not bad.any():
        return ""
    where = tuple(int(i) for i in bad.nonzero()[0])
    limit = float(allowed.expand_as(error)[where])
    return (
        f"{int(bad.sum())} of {bad.numel()} beyond, first at {where}: got {float(got[where])}, expected "
        f"{float(expected[where])}, error {float(error[where]):.3g}, allowed {limit:.3g}"
    )


def excess_rows(
    out: torch.Tensor, scales: torch.Tensor | None, expected: torch.Tensor, arithmetic: torch.Tensor
) -> str:
    """`excess` of rows in float32, bf16 or e4m3 with scales: rounding of the type, and `arithmetic` before it.

    `arithmetic` is [M, 1] or [M, D].

    e4m3: a scaled value is rounded by half a step, which is at most 2^-4 of it (3 bits of mantissa), or 2^-10 below the
    normal values (steps of 2^-9). Multiplied by the scale that is 2^-4 |y| or 2^-10 scale. The scale itself and its
    reciprocal are float32: 2^-20 of everything covers their rounding. The largest scaled value is 448, so the scale
    must be amax / 448 and neither above nor below.
    """
    size = expected.abs()
    if scales is None:
        step = BF16_HALF_STEP if out.dtype == torch.bfloat16 else 2.0**-24
        return excess(out, expected, size * step + arithmetic)
    amax = size.amax(1, keepdim=True)
    scale = torch.where(amax == 0, 1.0, amax / 448)
    if wrong := excess(scales.unsqueeze(1), scale, scale * 2.0**-20 + arithmetic.amax(1, keepdim=True) / 448):
        return f"scales: {wrong}"
    dequantised = out.double() * scales.double().unsqueeze(1)
    rounding = torch.maximum(size * 2.0**-4, scale * 2.0**-10)
    return excess(dequantised, expected, rounding + size * 2.0**-20 + arithmetic * 1.0625)
