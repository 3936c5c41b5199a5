"""What a GPU's products are asked for: FP8 tried before it is used, and the GELU in bf16's epilogue alone."""

import pytest
import torch

from emonet_fast.backends.cuda import linear, network
from emonet_fast.backends.cuda.linear import check_fp8
from emonet_fast.errors import BackendError

from .making import engine, random_pixels


@pytest.fixture
def gpu(monkeypatch):
    """Lets the host be a GPU of some capability, with a PyTorch of some version."""

    def made(capability=(9, 0), version="2.13.0"):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
        monkeypatch.setattr(torch, "__version__", version)
        return torch.device("cpu")

    return made


def test_fp8_products_that_work(gpu):
    for capability, version in (((9, 0), "2.11.0"), ((8, 9), "2.12.0+cu130"), ((12, 0), "2.14.0")):
        check_fp8(gpu(capability, version))


def test_fp8_products_that_are_not_there_are_said(gpu, monkeypatch):
    def unsupported(*arguments, **settings):
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(torch, "_scaled_mm", unsupported)
    words = r"do not work on a GPU \(compute capability 12\.0\) with PyTorch 2\.13\.0: CUBLAS_STATUS_NOT_SUPPORTED; use"
    with pytest.raises(BackendError, match=words):
        check_fp8(gpu((12, 0)))


def test_fp8_products_that_are_wrong_are_said(gpu, monkeypatch):
    """As where the kernel went to another stream."""
    monkeypatch.setattr(torch, "_scaled_mm", lambda *arguments, out, **settings: out.zero_())
    with pytest.raises(BackendError, match=r"a product of ones is 0\.0, not 128"):
        check_fp8(gpu())


def test_fp8_products_on_ada_need_a_newer_pytorch(gpu):
    with pytest.raises(BackendError, match=r"capability 8\.9\) with PyTorch 2\.11\.0; expected 2\.12 or newer"):
        check_fp8(gpu((8, 9), "2.11.0"))


@pytest.mark.parametrize("tiny", ["small"], indirect=True)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_epilogue_is_for_bf16(tiny, monkeypatch, precision):
    """The float32 engine is what FP8's certificate is measured by: its GELU is computed in float32."""
    fused = []

    def multiply_gelu(layer, x, out):
        fused.append(x.dtype)
        linear.multiply(layer, x, out)
        out.copy_(torch.nn.functional.gelu(out, approximate="tanh"))

    monkeypatch.setattr(network, "multiply_gelu", multiply_gelu)
    made = engine(tiny, torch.device("cpu"), precision, 1, plain=True)
    made.network._on_cuda = True
    with torch.inference_mode():
        made.run(torch.from_numpy(random_pixels(tiny, 1, seed=1)))
    assert fused == ([torch.bfloat16] * 2 if precision == "bf16" else [])
