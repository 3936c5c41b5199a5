"""What is said where there is no GPU that can be used; and the batches that the GPU backend takes."""

import logging
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emonet_fast import gpu as device_module
from emonet_fast.backends.choose import choose, open_backend
from emonet_fast.backends.cuda import inputs
from emonet_fast.backends.cuda.inputs import as_tensor
from emonet_fast.errors import BackendError, InputError
from emonet_fast.faces import finder
from emonet_fast.gpu import SMALLER, Gpu, NoGpu, check_memory, choose_precision, driver_present, look
from emonet_fast.options import FaceOptions, Options

A100 = Gpu(0, "NVIDIA A100", (8, 0), 40_000_000_000)
without_gpu = pytest.mark.skipif(driver_present(), reason="this machine has an NVIDIA driver")


@without_gpu
def test_no_driver_is_said_without_pytorch():
    """In a fresh process: the question must not cost the import of PyTorch."""
    code = (
        "import sys; from emonet_fast.backends.choose import choose; from emonet_fast.options import Options;"
        "c = choose(Options()); assert 'torch' not in sys.modules; print(c.backend, c.notable, c.reason)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "openvino False CPU by OpenVINO: no NVIDIA driver was found on this machine\n"


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_asked_for_by_name_without_a_gpu(device):
    with pytest.raises(BackendError, match=rf"'{device}' was asked for, but no NVIDIA driver .* use device 'cpu'"):
        choose(Options(device=device))


@pytest.mark.parametrize(
    ("version", "said"),
    [("2.10.3", r"torch 2\.10\.3 is installed; expected 2\.11"), ("2.11.0+cpu", "built without CUDA")],
)
def test_packages_too_old(monkeypatch, version, said):
    monkeypatch.setattr(device_module, "driver_present", lambda: True)
    monkeypatch.setattr(device_module, "version", lambda package: version if package == "torch" else "3.6.0")
    if torch.version.cuda is not None and "cpu" in version:
        pytest.skip("this PyTorch has CUDA")
    found = look()
    assert isinstance(found, NoGpu)
    assert found.hardware
    assert re.search(said, found.reason)


class WithoutContext:
    """torch.cuda of a machine with two GPUs, whose calls make no context; the calls that would are not there."""

    def is_available(self):
        return True

    def device_count(self):
        return 2

    def current_device(self):
        return 0

    def get_device_capability(self, index):
        return (9, 0)

    def get_device_name(self, index):
        return "a GPU"

    def get_device_properties(self, index):
        return SimpleNamespace(total_memory=80_000_000_000)


@pytest.fixture
def two_gpus(monkeypatch):
    fake = SimpleNamespace(cuda=WithoutContext(), version=SimpleNamespace(cuda="13.0"), __version__="2.13.0")
    monkeypatch.setattr(device_module, "driver_present", lambda: True)
    monkeypatch.setattr(device_module, "need", lambda package, why: fake)


def test_looking_at_a_gpu_makes_no_context(two_gpus):
    """Bulk's parent looks, and its children compute: in exclusive mode the parent's context would keep them out."""
    assert look("cuda:1") == Gpu(1, "a GPU", (9, 0), 80_000_000_000)
    assert isinstance(look("cuda:2"), NoGpu)


def test_faces_are_found_where_pytorch_can_use_the_gpu(two_gpus, monkeypatch):
    """TensorRT's GPU is none of PyTorch's where that is built for the CPU, or sees fewer GPUs."""
    devices = []
    monkeypatch.setattr(finder, "FaceDetector", lambda model, *, device, **settings: devices.append(device))
    monkeypatch.setattr(finder, "find_model", lambda path, *places: path)
    monkeypatch.setattr(finder, "driver_present", lambda: True)
    faces, options = FaceOptions(faces="detect"), Options()
    for place in (None, (1, 4711), (2, 4711)):
        finder.open_finder(faces, options, place)
    monkeypatch.setattr(device_module, "need", lambda package, why: torch)
    if not torch.cuda.is_available():
        finder.open_finder(faces, options, (0, 4711))
    assert devices == ["cpu", "cuda:1", "cpu", "cpu"][: 3 + (not torch.cuda.is_available())]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_context_on_a_real_gpu():
    code = "import torch; from emonet_fast.gpu import look; look(); assert not torch._C._cuda_hasPrimaryContext(0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_auto_says_once_that_it_takes_the_cpu(monkeypatch, request, tmp_path, caplog):
    pytest.importorskip("openvino", reason="the CPU engine is not installed")
    small = request.getfixturevalue("small")
    monkeypatch.setattr("emonet_fast.backends.choose.look", lambda device: NoGpu("the GPU is too old", hardware=True))
    with caplog.at_level(logging.WARNING, logger="emonet_fast"):
        backend = open_backend(small, Options(precision="fp32", cache_dir=tmp_path))
    assert backend.name == "openvino"
    assert [r.message for r in caplog.records] == [
        "device 'auto' takes the CPU: the GPU is too old",
    ]


def test_fp8_is_for_gpus_that_have_it():
    with pytest.raises(BackendError, match="fp8 needs an NVIDIA GPU"):
        choose(Options(device="cpu", precision="fp8"))
    with pytest.raises(BackendError, match=r"A100 \(compute capability 8\.0\) has no FP8"):
        choose_precision(A100, "fp8")
    assert choose_precision(A100, "auto") == "bf16"


def test_too_little_memory_is_said_with_figures(monkeypatch):
    monkeypatch.setattr(device_module, "free_memory", lambda index: 1_000_000_000)
    with pytest.raises(BackendError, match=r"has 1\.0 GB of 40\.0 GB free; this engine needs 1\.5 GB.*--batch-size"):
        check_memory(A100, 1_500_000_000, "this engine", SMALLER)
    check_memory(A100, 1_000_000_000, "this engine", SMALLER)


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        ((2, 3, 32, 32), torch.uint8, r"shape \[2, 3, 32, 32\]; expected a batch .* with S = 64"),
        ((3, 64, 64), torch.uint8, r"shape \[3, 64, 64\]"),
        ((2, 4, 64, 64), torch.uint8, "shape"),
        ((2, 3, 64, 64), torch.int32, "dtype int32"),
        ((2, 3, 64, 64), torch.float64, "dtype float64"),
    ],
)
def test_wrong_batches(shape, dtype, said):
    with pytest.raises(InputError, match=said):
        as_tensor(torch.zeros(shape, dtype=dtype), torch.device("cpu"), 64)


def test_other_places():
    batch = torch.zeros(1, 3, 64, 64)
    with pytest.raises(InputError, match="lie on cpu, the engine on cuda:1"):
        as_tensor(batch, torch.device("cuda", 1), 64)
    with pytest.raises(InputError, match="list, without __dlpack__"):
        as_tensor([1, 2], torch.device("cpu"), 64)


def test_shares_memory_over_dlpack():
    source = np.zeros((2, 3, 64, 64), np.uint8)
    tensor = as_tensor(source, torch.device("cpu"), 64)
    source[1, 2, 3, 4] = 7
    assert tensor[1, 2, 3, 4] == 7


def test_memory_of_another_context_is_refused(monkeypatch):
    """As pycuda.autoinit makes one: the driver is asked before PyTorch takes the address."""
    asked = []
    monkeypatch.setattr(inputs, "in_another_context", lambda address, index: asked.append((address, index)) or True)
    array = SimpleNamespace(__cuda_array_interface__={"data": (4711, False)})
    with pytest.raises(InputError, match=r"another CUDA context .* import pycuda\.autoprimaryctx"):
        as_tensor(array, torch.device("cuda", 1), 64)
    assert asked == [(4711, 1)]


def test_misaligned_memory_is_refused():
    raw = torch.zeros(3 * 64 * 64 * 4 + 4, dtype=torch.uint8).numpy()
    odd = np.ndarray((1, 3, 64, 64), np.float32, raw.data, offset=1)
    with pytest.raises(InputError, match=r"multiple of 4 bytes|over DLPack"):
        as_tensor(odd, torch.device("cpu"), 64)


def test_the_backend_needs_no_cpu_engine_packages():
    """A GPU machine gets the package without its dependencies: none of these may be imported, not even late."""
    code = """
import sys
for name in ("openvino", "onnx", "pyarrow", "nvidia", "PIL", "huggingface_hub", "tqdm", "click", "jinja2"):
    sys.modules[name] = None
import emonet_fast.backends.cuda.backend, emonet_fast.backends.cuda.fp8, emonet_fast.backends.cuda.triton_operations
import emonet_fast.checkpoint, emonet_fast.engines.certificate, emonet_fast.backends.choose
from emonet_fast import taxonomy, scores
"""
    subprocess.run([sys.executable, "-c", code], check=True)
