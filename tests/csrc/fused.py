"""The heads' Triton kernel on the fake GPU, whose memory is the host's: run by Triton's interpreter."""

import ctypes
from contextlib import contextmanager

import numpy as np
import torch

from emonet_fast.backends.tensorrt.heads import FusedHeads


class HostHeads(FusedHeads):
    """As FusedHeads, on PyTorch's CPU. native: of the fakes, to wait for what the lazy fake GPU has queued."""

    native = None

    def __init__(self, checkpoint, index, batch_size, sizes):
        super().__init__(checkpoint, index, batch_size, ())  # nothing to compile ahead, and a launch takes a second

    def _place(self, index):
        return torch.device("cpu")

    def _tensor(self, array):
        held = (ctypes.c_float * int(np.prod(array.shape))).from_address(array.address)
        return torch.from_numpy(np.frombuffer(held, np.float32).reshape(array.shape))

    @contextmanager
    def _on(self, stream):
        if self.native is not None:
            done = self.native.extension.Event(self.native.device)
            done.record(stream)
            done.synchronize()
        yield
