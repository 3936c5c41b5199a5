"""NVIDIA's own lean runtime, as far as it goes without a GPU: it opens, says its version, and cannot build."""

from pathlib import Path

import pytest

from emonet_fast.gpu import driver_present

NO_LEAN = "NVIDIA's lean runtime (tensorrt-lean-cu13-libs, extra test) is not installed"


@pytest.fixture(scope="module")
def lean() -> str:
    package = pytest.importorskip("tensorrt_lean_libs", reason=NO_LEAN)
    return str(next(Path(package.__file__).parent.glob("libnvinfer_lean.so.*")))


def test_opens_and_says_its_version_and_that_it_cannot_build(opened, lean):
    found = opened.extension.TensorRt([lean], ["libnvonnxparser.so.11"])
    assert found.version[0] == 11
    assert found.version >= (11, 0, 0)
    assert found.path == lean
    assert found.build_fault == f"{lean} is a runtime without a builder (the lean runtime)"


@pytest.mark.skipif(driver_present(), reason="this machine has an NVIDIA driver")
def test_without_a_device_the_driver_is_asked_first(opened, lean):
    """TensorRT itself would end the process: nothing reaches it before CUDA has named a device."""
    with pytest.raises(opened.extension.TensorRtError, match=r"NVIDIA's driver \(libcuda\) could not be opened"):
        opened.extension.Cuda(["libcuda.so.1"])


@pytest.mark.tensorrt
def test_a_runtime_refuses_garbage(lean):
    """Needs a GPU and the extension built with the real headers."""
    extension = pytest.importorskip("emonet_fast._tensorrt", reason="the TensorRT extension is not built")
    if not driver_present():
        pytest.skip("this machine has no NVIDIA driver")
    device = extension.Device(extension.Cuda(["libcuda.so.1"]), 0)
    tensorrt = extension.TensorRt([lean], [])
    with pytest.raises(extension.TensorRtError, match="refused an engine of 7 bytes"):
        extension.Engine(tensorrt, device, b"garbage")
