"""Backends asked for by name, and what their settings allow."""

import importlib.util

import pytest

from emonet_fast.backends.choose import choose
from emonet_fast.backends.tensorrt import libraries
from emonet_fast.errors import BackendError, OptionError
from emonet_fast.gpu import NoGpu
from emonet_fast.options import Options


def test_a_backend_by_name():
    assert choose(Options(backend="tensorrt")).backend == "tensorrt"
    assert choose(Options(backend="tensorrt", device="cuda:1")).backend == "tensorrt"
    assert choose(Options(backend="openvino")).backend == "openvino"


@pytest.mark.parametrize(("backend", "device"), [("tensorrt", "cpu"), ("cuda", "cpu"), ("openvino", "cuda:0")])
def test_a_backend_on_the_wrong_device_is_refused(backend, device):
    with pytest.raises(BackendError, match=f"backend '{backend}' does not run on device '{device}'; expected device"):
        choose(Options(backend=backend, device=device))


def test_settings_that_cannot_work():
    with pytest.raises(OptionError, match="backend is 'trt'; expected one of auto, openvino, cuda, tensorrt"):
        Options(backend="trt")
    with pytest.raises(OptionError, match="trust_engine is for backend 'tensorrt', and the backend is 'auto'"):
        Options(trust_engine="x.engine")


@pytest.mark.skipif(importlib.util.find_spec("emonet_fast._tensorrt") is not None, reason="the extension is built here")
def test_an_installation_without_the_extension_says_so():
    found = libraries.look()
    assert isinstance(found, NoGpu)
    assert found.reason.startswith("the TensorRT extension is not part of this installation")
    assert "docs/tensorrt.md" in libraries.NEEDS
    from click.testing import CliRunner

    from emonet_fast.commands.main import cli

    done = CliRunner().invoke(cli, ["build", "-c", "never opened", "--backend", "tensorrt"])
    assert isinstance(done.exception, BackendError)
    assert "TENSORRT" in str(done.exception).upper()
