"""An export that is stopped between the renames of its files; what it tells of its progress."""

import numpy as np
import pytest

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.pack import write_packed
from emonet_fast.checkpoint.tensors import Entry, SafetensorsFile
from emonet_fast.errors import DataError
from emonet_fast.export import check, export
from emonet_fast.export.expected import as_input
from emonet_fast.files import PendingFile
from emonet_fast.graph import onnx_file
from emonet_fast.options import ExportOptions, Options

from ..tiny import LAYERS

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime (extra bench) is not installed")


@pytest.fixture(scope="module")
def other(tiny, cache_dir, tmp_path_factory):
    """The same network with other weights: its file of weights has the same size."""
    file = SafetensorsFile(tiny.checkpoint.path)
    entries = [
        Entry(name, info.shape, lambda name=name: [file.array(name) * np.float32(0.7)])
        for name, info in tiny.checkpoint.tensors.items()
    ]
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    write_packed(path, tiny.checkpoint, entries)
    return open_checkpoint(path, cache_dir)


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_run_that_is_stopped_among_its_renames_leaves_no_mixed_set(tiny, other, tmp_path, monkeypatch, renamed):
    """The older model with the newer weights would open, and give scores of no network."""
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)  # so that weights are beside the model
    model = tmp_path / "m.onnx"
    options = Options(cache_dir=tmp_path / "cache")
    export(other, model, ExportOptions(), options)
    publish, left = PendingFile.publish, [renamed]

    def stopping(self):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        publish(self)

    monkeypatch.setattr(PendingFile, "publish", stopping)
    with pytest.raises(KeyboardInterrupt):
        export(tiny.checkpoint, model, ExportOptions(), options)
    monkeypatch.setattr(PendingFile, "publish", publish)
    if renamed < 2:
        assert not model.exists()
    else:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        raw = session.run(["raw"], {"pixels": as_input(tiny.pixels, ExportOptions())})[0]
        np.testing.assert_allclose(raw, tiny.outputs["raw"], atol=2e-5)
    with pytest.raises(DataError, match="there is no file" if renamed < 2 else "is not the file that was written"):
        check(model)
    export(tiny.checkpoint, model, ExportOptions(), options)
    assert all(result.passed for result in check(model)[1])


def test_progress_goes_on_within_the_checks(tiny, tmp_path):
    """At full size float32 outputs take half a minute, and a picture in a runtime seconds."""
    told = {}

    def progress(phase, done, total):
        told.setdefault(phase, []).append((done, total))

    wanted = ExportOptions(precision="fp16")
    export(tiny.checkpoint, tmp_path / "m.onnx", wanted, Options(cache_dir=tmp_path / "cache"), progress)
    layers = 4 * LAYERS + 1
    assert told["check"] == told["check of float16"] == [(done, layers) for done in range(layers + 1)]
    told.clear()
    check(tmp_path / "m.onnx", progress)
    assert [phase.split()[0] for phase in told] == ["ONNX", "OpenVINO"]
    for steps in told.values():
        assert steps == [(done, 4) for done in range(5)]
