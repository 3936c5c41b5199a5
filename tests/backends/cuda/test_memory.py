"""What the engine says it needs, against what PyTorch's tensors take while it works."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from emonet_fast.backends.cuda import memory
from emonet_fast.backends.cuda.fp8 import _BATCH, certified, certify
from emonet_fast.backends.cuda.memory import certifying_bytes, needed_bytes
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.errors import BackendError

from .making import engine, random_pixels
from .test_gpu import A100


class Peak(TorchDispatchMode):
    """The most bytes that storages made by PyTorch's operations held at a time while this lasts."""

    def __init__(self):
        super().__init__()
        self.held = self.most = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage):
        if storage in self._seen:
            return
        size = storage.nbytes()
        self._seen[storage] = size
        self.held += size
        self.most = max(self.most, self.held)
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size):
        self.held -= size


def test_engines_need_what_is_said(tiny, device):
    for precision in ("fp32", "bf16", "fp8"):
        with Peak() as peak:
            made = engine(tiny, device, precision, 4, plain=True)
        said = needed_bytes(tiny, precision, 4) - memory.OVERHEAD
        assert peak.held <= said <= 1.5 * peak.held, precision
        del made
    assert needed_bytes(tiny, "bf16", 64) > needed_bytes(tiny, "bf16", 1) > memory.OVERHEAD


def test_certifying_needs_what_is_said(tiny, device):
    pixels, calibration = random_pixels(tiny, 8, seed=1), random_pixels(tiny, 2 * _BATCH, seed=2)
    with Peak() as peak, pytest.raises(BackendError, match="fewer than 64"):
        certify(tiny, device, calibration, pixels, PlainOperations)
    said = certifying_bytes(tiny, _BATCH) - memory.OVERHEAD
    assert peak.most <= said <= 1.5 * peak.most


def test_too_little_memory_to_certify_is_said_first(tiny, tmp_path, monkeypatch):
    """Before pictures are made or weights are read."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: A100.name)
    monkeypatch.setattr("emonet_fast.gpu.free_memory", lambda index: 600_000_000)
    with pytest.raises(BackendError, match=r"has 0\.6 GB .*certifying FP8, .* needs 0\.8 GB: .*bf16"):
        certified(tiny, A100, tmp_path)
