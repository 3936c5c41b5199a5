"""Linear layers in float32, bf16 and FP8 (e4m3, one scale for each token and each output channel).

FP8, row-wise: y[m, n] = (sum_k a8[m, k] w8[n, k]) * a_scale[m] * w_scale[n] + bias[n], accumulated in float32.
"""

from dataclasses import dataclass, replace
from typing import Any

from ...errors import BackendError
from ...gpu import numbers_of
from ...optional import need

# The largest finite value of e4m3 ("fn": no infinities).
E4M3_MAX = 448.0
# Before it, PyTorch launches the row-wise product of a GPU of capability 8.9 on another stream than the current one
# (pytorch/pytorch#177651): no graph would hold it.
_FP8_ON_ADA = (2, 12)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer on the device.

    Args:
        weight: [out, in] float32, bf16 or float8_e4m3fn.
        bias: [out] in the weight's dtype (bf16 beside FP8), as the products take it.
        exact_bias: [out] float32, for a kernel that adds it after the product.
        scale: [1, out] float32 of an FP8 weight, else None.
    """

    weight: Any
    bias: Any
    exact_bias: Any
    scale: Any = None

    @property
    def quantised(self) -> bool:
        """Whether it is FP8."""
        return self.scale is not None


def make_linear(weight: Any, bias: Any, precision: str) -> Linear:
    """Make a Linear in "fp32", "bf16" or "fp8" of weight [out, in] and bias [out], float32."""
    torch = need("torch", "the GPU engine")
    if precision == "fp32":
        return Linear(weight.contiguous(), bias, bias)
    if precision == "bf16":
        return Linear(weight.to(torch.bfloat16).contiguous(), bias.to(torch.bfloat16), bias)
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / E4M3_MAX, torch.ones_like(largest))
    quantised = (weight / scale).to(torch.float8_e4m3fn).contiguous()
    return Linear(quantised, bias.to(torch.bfloat16), bias, scale.reshape(1, -1).contiguous())


def nearest_e4m3(values: Any) -> Any:
    """Round float32 values to the nearest of e4m3. What lies beyond the largest code becomes the largest."""
    torch = need("torch", "the GPU engine")
    return values.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float()


def with_values(layer: Linear, codes: Any, bias: Any) -> Linear:
    """Return the FP8 layer with other codes [out, in] uint8 (e4m3's bits) and another bias [out] float32, if any."""
    torch = need("torch", "the GPU engine")
    if codes is not None:
        weight = codes.to(layer.weight.device).view(torch.float8_e4m3fn).contiguous()
        layer = replace(layer, weight=weight)
    if bias is not None:
        bias = bias.to(layer.exact_bias)
        layer = replace(layer, bias=bias.to(layer.bias.dtype), exact_bias=bias)
    return layer


def dequantised(layer: Linear) -> Any:
    """Return the weight [out, in] float32 that the products see."""
    weight = layer.weight.float()
    return weight * layer.scale.t() if layer.quantised else weight


def multiply(layer: Linear, x: Any, out: Any, *, scales: Any = None, bias: bool = True) -> None:
    """Compute out [M, out] = x [M, in] @ weight.T (+ bias); x is in the weight's dtype, scales [M] belong to FP8."""
    torch = need("torch", "the GPU engine")
    if layer.quantised:
        torch._scaled_mm(
            x,
            layer.weight.t(),
            scale_a=scales.reshape(-1, 1),
            scale_b=layer.scale,
            bias=layer.bias if bias else None,
            out_dtype=out.dtype,
            use_fast_accum=True,
            out=out,
        )
    elif bias:
        torch.addmm(layer.bias, x, layer.weight.t(), out=out)
    else:
        torch.mm(x, layer.weight.t(), out=out)


def check_fp8(device: Any) -> None:
    """Try one small FP8 product on the current stream, so that a GPU or a PyTorch without it is told from all others.

    Raises BackendError when the product is not supported or wrong.
    """
    torch = need("torch", "the GPU engine")
    version = str(torch.__version__)
    capability, name = torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device)
    what = (
        f"FP8 products by rows do not work on {name} (compute capability {capability[0]}.{capability[1]}) with PyTorch "
    )
    if capability == (8, 9) and numbers_of(version) < _FP8_ON_ADA:
        lowest = ".".join(map(str, _FP8_ON_ADA))
        raise BackendError(f"{what}{version}; expected {lowest} or newer, or use precision 'bf16'")
    rows, depth = 64, 128
    ones = make_linear(torch.ones(rows, depth, device=device), torch.zeros(rows, device=device), "fp8")
    codes = torch.ones(rows, depth, device=device).to(torch.float8_e4m3fn)
    out = torch.empty(rows, rows, dtype=torch.bfloat16, device=device)
    try:
        multiply(ones, codes, out, scales=torch.ones(rows, device=device))
        right = bool((out == depth).all())
    except RuntimeError as error:
        raise BackendError(f"{what}{version}: {error}; use precision 'bf16'") from None
    if not right:
        raise BackendError(
            f"{what}{version}: a product of ones is {float(out[0, 0])}, not {depth}; use precision 'bf16'"
        )


def multiply_gelu(layer: Linear, x: Any, out: Any) -> None:
    """Compute out = gelu_tanh(x @ weight.T + bias) in bf16, with the GELU in the product's epilogue. On CUDA only.

    cuBLASLt's epilogue is the tanh form. On the CPU the same call computes the other GELU (erf).
    """
    torch = need("torch", "the GPU engine")
    torch._addmm_activation(layer.bias, x, layer.weight.t(), use_gelu=True, out=out)
