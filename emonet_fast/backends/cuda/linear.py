"""Linear layers in float32, bf16 and FP8 (e4m3, one scale for each token and each output channel).

FP8, row-wise: y[m, n] = (sum_k a8[m, k] w8[n, k]) * a_scale[m] * w_scale[n] + bias[n], accumulated in float32.
"""

from dataclasses import dataclass
from typing import Any

from ...optional import need

# The largest finite value of e4m3 ("fn": no infinities).
E4M3_MAX = 448.0
# Rows of FP8 products are padded to a multiple of this: an older CUTLASS path of torch._scaled_mm reads
# out of bounds otherwise.
FP8_ROWS = 256


@dataclass(frozen=True, slots=True)
class Linear:
    """weight [out, in]: float32, bf16, or float8_e4m3fn with scale [1, out] float32. bias [out].

    bias has the weight's dtype; bf16 beside an FP8 weight.
    """

    weight: Any
    bias: Any
    scale: Any = None

    @property
    def quantised(self) -> bool:
        return self.scale is not None


def make_linear(weight: Any, bias: Any, precision: str) -> Linear:
    """weight [out, in] and bias [out] float32 -> a Linear in "fp32", "bf16" or "fp8"."""
    torch = need("torch", "the GPU engine")
    if precision == "fp32":
        return Linear(weight.contiguous(), bias.contiguous())
    if precision == "bf16":
        return Linear(weight.to(torch.bfloat16).contiguous(), bias.to(torch.bfloat16))
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / E4M3_MAX, torch.ones_like(largest))
    quantised = (weight / scale).to(torch.float8_e4m3fn).contiguous()
    return Linear(quantised, bias.to(torch.bfloat16), scale.reshape(1, -1).contiguous())


def multiply(layer: Linear, x: Any, out: Any, *, scales: Any = None, bias: bool = True) -> None:
    """out [M, out] = x [M, in] @ weight.T (+ bias). x: in the weight's dtype; FP8 with its scales [M] float32."""
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


def multiply_gelu(layer: Linear, x: Any, out: Any) -> None:
    """out = gelu_tanh(x @ weight.T + bias) in the product's epilogue: CUDA only.

    PyTorch's CPU version of the same call takes the other GELU (erf); cuBLASLt's epilogue is the tanh form.
    """
    torch = need("torch", "the GPU engine")
    torch._addmm_activation(layer.bias, x, layer.weight.t(), use_gelu=True, out=out)
