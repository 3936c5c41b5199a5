"""The CPU engine against the reference: fidelity, independence of rows, stored engines."""

import logging
import platform
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.backends.base import padded
from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.backends.openvino.build import build_in_process
from emonet_fast.backends.openvino.engine import choose_precision, device_name, plan_for
from emonet_fast.backends.openvino.pages import release_file_pages
from emonet_fast.engines.cache import EngineCache
from emonet_fast.engines.fidelity import measure
from emonet_fast.errors import BackendError
from emonet_fast.preprocess import resize

from ... import tolerances
from ...comparing import EMOTIONS, outputs_of


@pytest.fixture(scope="module", params=["small", "large"])
def checkpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def shots(photos):
    """Five: a photograph costs each side 2 s of processor, and every head's scores differ by 0.3 among five."""
    return photos[:5]


@pytest.fixture(scope="module")
def pixels(checkpoint, shots):
    return np.stack([resize(rgb, checkpoint.preprocess) for rgb in shots])


@pytest.fixture(scope="module")
def want(checkpoint, shots):
    pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    from emonet_fast.backends.reference import Reference

    outputs = Reference.from_packed(checkpoint).score(shots)
    return outputs.embedding, outputs.raw


def test_fp32_equals_the_reference(checkpoint, pixels, want, cache_dir):
    backend = OpenVinoBackend(checkpoint, "fp32", cache_dir=cache_dir)
    found = measure(want, outputs_of(backend, pixels), EMOTIONS)
    assert found.max_error <= tolerances.FP32_SCORE_SHALLOW
    assert found.cosine_min >= tolerances.FP32_COSINE
    assert want[1].std(axis=0).min() > 0.3, "scores that hardly vary would pass any comparison"


def test_bf16_is_as_close_as_pytorch_in_bf16(checkpoint, pixels, shots, want, cache_dir):
    from emonet_fast.backends.reference import Reference

    if choose_precision("auto") != "bf16":
        pytest.skip("this processor has no bf16 instructions")
    theirs = Reference.from_packed(checkpoint, "bf16").score(shots)
    allowed = measure(want, (theirs.embedding, theirs.raw), EMOTIONS)
    backend = OpenVinoBackend(checkpoint, "bf16", cache_dir=cache_dir)
    found = measure(want, outputs_of(backend, pixels), EMOTIONS)
    assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
    assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error
    assert found.max_error > 1e-4, "this is float32: bf16 was asked for"


@pytest.fixture(scope="module")
def batch4(small, cache_dir):
    return OpenVinoBackend(small, "fp32", 4, cache_dir=cache_dir)


def test_rows_do_not_depend_on_neighbours_or_place(small, photos, batch4):
    """Bit-equal at the same engine batch size: alone and padded, and at every place among others."""
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:4]])
    alone = batch4.run(pixels[:1])
    for place in range(4):
        got = batch4.run(np.roll(pixels, place, axis=0))
        np.testing.assert_array_equal(got.raw[place], alone.raw[0])
        np.testing.assert_array_equal(got.embedding[place], alone.embedding[0])
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    noise[2] = pixels[0]
    np.testing.assert_array_equal(batch4.run(noise).raw[2], alone.raw[0])


def test_batch_size_hardly_matters(small, photos, batch4, cache_dir):
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:4]])
    one = outputs_of(OpenVinoBackend(small, "fp32", 1, cache_dir=cache_dir), pixels)
    np.testing.assert_allclose(outputs_of(batch4, pixels)[1], one[1], atol=tolerances.OTHER_BATCH_SIZE)


def test_results_stay_when_the_engine_runs_again(small, photos, batch4):
    """Outputs are the caller's own, not views of memory that the next call overwrites."""
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:2]])
    first = batch4.run(pixels[:1])
    kept = first.raw.copy()
    batch4.run(pixels[1:2])
    np.testing.assert_array_equal(first.raw, kept)


def test_stored_engine_gives_the_same_scores(small, photos, tmp_path, caplog):
    pixels = resize(photos[0], small.preprocess)[None]
    with caplog.at_level(logging.INFO, "emonet_fast"):
        fresh = OpenVinoBackend(small, "fp32", cache_dir=tmp_path).run(pixels)
        assert "compiling" in caplog.text
        stored = {p: p.stat().st_mtime_ns for p in (tmp_path / "engines").iterdir()}
        caplog.clear()
        again = OpenVinoBackend(small, "fp32", cache_dir=tmp_path).run(pixels)
    assert "compiling" not in caplog.text
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "engines").iterdir()} == stored
    np.testing.assert_array_equal(again.raw, fresh.raw)
    assert sum(p.stat().st_size for p in stored) < 20e6, "weights belong into the checkpoint, not into the engine"


def test_damaged_stored_engine_is_built_again(small, photos, tmp_path, caplog):
    pixels = resize(photos[0], small.preprocess)[None]
    fresh = OpenVinoBackend(small, "fp32", cache_dir=tmp_path).run(pixels)
    engine = next((tmp_path / "engines").glob("*.engine"))
    good = engine.read_bytes()
    engine.write_bytes(good[: len(good) // 2])
    with caplog.at_level(logging.WARNING, "emonet_fast"):
        again = OpenVinoBackend(small, "fp32", cache_dir=tmp_path).run(pixels)
    assert "built again" in caplog.text
    np.testing.assert_array_equal(again.raw, fresh.raw)
    assert engine.stat().st_size == len(good)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN knows other instruction sets there")
def test_a_stored_engine_of_other_instructions_is_built_again(small, photos, cache_dir, tmp_path, monkeypatch, caplog):
    pixels = resize(photos[0], small.preprocess)[None]
    want = OpenVinoBackend(small, "fp32", cache_dir=cache_dir).run(pixels)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # for the child that compiles: this process has read it already
    foreign = build_in_process(small.path, "pooling", "fp32", 1, tmp_path).engine.read_bytes()
    monkeypatch.undo()
    EngineCache(tmp_path / "engines").store(plan_for(small, "pooling", "fp32", 1), foreign)
    with caplog.at_level(logging.WARNING, "emonet_fast"):
        again = OpenVinoBackend(small, "fp32", cache_dir=tmp_path)
    assert "OpenVINO refuses a stored engine" in caplog.text
    np.testing.assert_array_equal(again.run(pixels).raw, want.raw)
    caplog.clear()
    OpenVinoBackend(small, "fp32", cache_dir=tmp_path)
    assert not caplog.text


def test_cache_that_cannot_be_written_is_said(small, photos, tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with caplog.at_level(logging.WARNING, "emonet_fast"):
        outputs = OpenVinoBackend(small, "fp32", cache_dir=blocked).run(resize(photos[0], small.preprocess)[None])
    assert "could not be kept" in caplog.text
    assert np.isfinite(outputs.raw).all()


class _NoBf16:
    """A processor's properties as OpenVINO reports them on older machines."""

    def get_property(self, device: str, name: str) -> object:
        return {"OPTIMIZATION_CAPABILITIES": ["FP32", "INT8"], "FULL_DEVICE_NAME": "Old CPU"}[name]


def test_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr("emonet_fast.backends.openvino.engine.openvino_core", _NoBf16)
    assert choose_precision("auto") == "fp32"
    assert choose_precision("fp32") == "fp32"
    with pytest.raises(BackendError, match=r"Old CPU.*no bf16 instructions"):
        choose_precision("bf16")


@pytest.mark.parametrize(("level", "bf16"), [("AVX512_CORE_VNNI", False), ("avx2", False), ("AVX512_CORE_AMX", True)])
def test_bf16_is_not_taken_where_onednn_is_held_below_it(monkeypatch, level, bf16):
    """OpenVINO names it all the same, and then takes 13 times as long as in float32."""

    class Fast:
        def get_property(self, device: str, name: str) -> object:
            return {"OPTIMIZATION_CAPABILITIES": ["BF16", "FP32", "INT8"], "FULL_DEVICE_NAME": "New CPU"}[name]

    monkeypatch.setattr("emonet_fast.backends.openvino.engine.openvino_core", Fast)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert device_name() == "New CPU [BF16, FP32, INT8]"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", level)
    assert choose_precision("auto") == ("bf16" if bf16 else "fp32")
    assert device_name() == f"New CPU [{'BF16, ' if bf16 else ''}FP32, INT8] held to {level.upper()}"


def test_padding():
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(padded(rows, 4), [[0, 1, 2], [3, 4, 5], [0, 0, 0], [0, 0, 0]])
    assert padded(rows, 2) is rows
    with pytest.raises(ValueError, match="expected 1 to 4"):
        padded(np.zeros((5, 3), np.uint8), 4)
    with pytest.raises(ValueError, match="0 rows"):
        padded(np.zeros((0, 3), np.uint8), 4)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="pages are released on Linux only")
def test_released_pages_keep_their_content(tmp_path):
    path = tmp_path / "weights"
    np.arange(1 << 20, dtype=np.int32).tofile(path)
    view = np.memmap(path, np.int32, mode="r")
    total = int(view.sum())
    assert release_file_pages(path) >= view.nbytes
    assert int(view.sum()) == total
    writable = np.memmap(path, np.int32, mode="c")
    writable[0] = 77
    del view
    release_file_pages(path)
    assert writable[0] == 77, "private changes must never be dropped"
