"""What the DALI decoder does on which CUDA stream, and what it asks of DALI on a GPU. Fakes stand for both."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from emonet_fast.options import Options
from emonet_fast.records import Picture

from .making import BILINEAR, encoded, on_device, untimed

pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")

from emonet_fast.decoders.dali import exact, pipeline, runner  # noqa: E402
from emonet_fast.decoders.dali.decoder import DaliDecoder  # noqa: E402
from emonet_fast.decoders.dali.pipeline import Definition  # noqa: E402


@pytest.mark.usefixtures("wide_blocks")
def test_pixels_go_to_the_host_on_the_stream_that_made_them(photos, monkeypatch):
    """A copy on another stream would not wait for the crop, and a report would show another picture."""
    current = ["default"]

    @contextmanager
    def stream(one):
        current.append(one)
        yield
        current.pop()

    copied, handed = [], []
    cpu, to_dlpack = torch.Tensor.cpu, torch.Tensor.__dlpack__
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copied.append(current[-1]) or cpu(tensor))
    monkeypatch.setattr(
        torch.Tensor, "__dlpack__", lambda tensor, **options: handed.append(current[-1]) or to_dlpack(tensor, **options)
    )
    monkeypatch.setattr(exact, "_MAX_VALUES", 3 * 384 * 384 + 1)
    decoder = on_device()
    decoder._device._stream = "the engine's"
    pictures = [Picture("small", encoded(photos[0][:40, :50])), Picture("for the host", photos[0][:385, :500])]
    (batch,) = decoder.batches(pictures, 2, keep_rgb=True)
    assert [part.on_device for part in batch.parts] == [True, False]
    # Two pictures to show, and the one that the host resizes.
    assert copied == ["the engine's"] * 3
    # A consumer is made to wait for the stream that is PyTorch's current one in the hand-over.
    np.from_dlpack(batch.parts[0].pixels)
    assert handed == ["the engine's"]


@pytest.mark.parametrize("exactly", [False, True])
def test_dali_waits_itself_where_its_pictures_go_to_the_host(monkeypatch, exactly):
    """Bound to a stream they would be there only when that has come so far, and DALI copies them on another one."""
    bound = []

    class Tensors(list):
        def as_cpu(self):
            return self

    class Pipe:
        def feed_input(self, name, values):
            self.count = len(values)

        def schedule_run(self):
            pass

        def outputs(self, cuda_stream=None):
            bound.append(cuda_stream)
            return [Tensors(torch.zeros((8, 8, 3), dtype=torch.uint8) for _ in range(self.count))]

    monkeypatch.setattr(runner, "build", lambda definition: Pipe())
    decoder = DaliDecoder(BILINEAR, Options(), untimed, 1, device_id=0, stream=4711)
    assert decoder._device is None
    if exactly:
        decoder._device = on_device()._device
    found = list(decoder._wholes([Picture("a", encoded(np.zeros((8, 8, 3), np.uint8)))], 4))
    assert [whole.pixels.shape for whole in found] == [(8, 8, 3)]
    assert bound == [4711 if exactly else None]


@pytest.mark.parametrize("batch_size", [1, 16, 64, 256])
@pytest.mark.parametrize("regions", [False, True])
def test_what_a_gpus_decoder_is_asked(monkeypatch, batch_size, regions):
    """All of a run by one decoder, and no more memory in advance than a run may take."""
    asked = {}

    def decode(encoded, **settings):
        asked.update(settings)

    decoders = SimpleNamespace(image=decode, image_slice=decode)
    monkeypatch.setattr(pipeline, "fn", SimpleNamespace(decoders=decoders, external_source=lambda **settings: None))
    pipeline._graph(Definition(0, batch_size, 2, regions=regions))
    assert asked["hw_decoder_load"] == 1.0
    side = asked["preallocate_width_hint"]
    assert asked["preallocate_height_hint"] == side <= 2048
    assert side**2 * batch_size <= 64_000_000
    assert side**2 * batch_size > 57_000_000 or side == 2048
