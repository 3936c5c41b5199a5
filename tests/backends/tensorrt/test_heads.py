"""The order on streams of the fused heads, on a fake of PyTorch's CUDA."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")

from emonet_fast.kernels import head_launch, head_weights

from emonet_fast import gpu as gpu_room
from emonet_fast.backends.tensorrt import heads as room
from emonet_fast.backends.tensorrt.heads import FusedHeads

from ..cuda.fakes import FakeStream, FakeTorch


def test_weights_are_laid_out_where_others_wait_for_it_and_errors_are_waited_for(monkeypatch):
    """The program's current stream may be any: no stream of the engine would wait for that."""
    fake = FakeTorch()
    log, cuda = fake.cuda.log, fake.cuda
    cuda.default_stream = lambda device: FakeStream(log, "legacy")
    cuda.ExternalStream = lambda handle, device: FakeStream(log, f"stream {handle}")

    class Weights:
        embedding, heads = 8, 2

        @staticmethod
        def from_layers(matrices, biases, device):
            log.append(("weights", cuda.current[-1].name))
            return Weights()

    class Scratch:
        @staticmethod
        def allocate(weights, batch_size):
            log.append(("scratch", cuda.current[-1].name))

    for module in (room, gpu_room):
        monkeypatch.setattr(module, "need", lambda package, why: fake)
    monkeypatch.setattr(head_weights, "HeadWeights", Weights)
    monkeypatch.setattr(head_launch, "Scratch", Scratch)
    cuda.current.append(FakeStream(log, "the program's"))
    file = SimpleNamespace(array=lambda name: np.zeros((2, 1, 8)))
    monkeypatch.setattr(room, "SafetensorsFile", lambda path: file)
    checkpoint = SimpleNamespace(path=None, head_widths=(8, 1), l2_normalise=True)
    heads = FusedHeads(checkpoint, 0, 4, ())
    assert log == [("wait", "legacy", "event"), ("weights", "legacy"), ("scratch", "legacy"), ("record", "legacy")]

    def broken(embedding, raw):
        log.append(("launch", cuda.current[-1].name))
        raise RuntimeError("no kernel")

    heads._launch, heads._tensor = broken, lambda array: array
    log.clear()
    with pytest.raises(RuntimeError, match="no kernel"):
        heads.score(None, None, 7)
    assert log == [("wait", "stream 7", "event"), ("launch", "stream 7"), ("record", "stream 7")]
