"""Scorer: inputs of every kind in, one row each out, in order."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.checkpoint.heads import MEANS_FILE
from emonet_fast.scorer import UNTRAINED

from . import tolerances
from .pictures import encoded


@pytest.fixture(scope="module")
def scorer(published_small, cache_dir):
    with ef.Scorer(published_small, precision="fp32", cache_dir=cache_dir) as opened:
        yield opened


def test_every_kind_of_input_gives_the_same_scores(scorer, photos, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photos[0], "PNG"))
    scores = scorer([path, str(path), encoded(photos[0], "PNG"), Image.fromarray(photos[0]), photos[0], photos[1]])
    assert scores.status == ("ok",) * 6
    for row in range(1, 5):
        np.testing.assert_array_equal(scores.raw[row], scores.raw[0])
    assert np.abs(scores.raw[5] - scores.raw[0]).max() > tolerances.FAULT
    assert scores.keys[0] == str(path)
    assert scores.keys[2:] == ("#2", "#3", "#4", "#5")


def test_equals_the_reference_from_files_to_scores(scorer, published_small, photos):
    """The whole way: mean-subtracted scores and softmax too, against torch's readers of the same folder."""
    pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    import json

    from emonet_fast.backends.reference import Reference
    from emonet_fast.checkpoint import resolve_published

    found = resolve_published(published_small, scorer.options.cache_dir)
    names = [d.slug for d in taxonomy.DIMENSIONS]
    want = Reference.from_published(found, tuple(names), True).score(photos).raw.astype(np.float64)
    stats = json.loads((published_small / "heads" / MEANS_FILE).read_text())
    subtracted = want - np.array([stats[d.file_stem]["mean"] for d in taxonomy.DIMENSIONS])
    e = np.exp(subtracted[:, :40])
    scores = scorer(photos, embeddings=True)
    np.testing.assert_allclose(scores.raw, want, atol=tolerances.FP32_SCORE_SHALLOW)
    np.testing.assert_allclose(scores.score, subtracted, atol=tolerances.FP32_SCORE_SHALLOW)
    np.testing.assert_allclose(scores.softmax, e / e.sum(1, keepdims=True), atol=tolerances.FP32_SCORE_SHALLOW)
    assert scores.names == tuple(names)
    assert scores.embeddings.shape == (len(photos), 1152)


def test_bad_inputs_have_a_row_and_the_others_their_scores(scorer, photos, tmp_path):
    good = scorer([photos[0]]).raw[0]
    bad = [
        (tmp_path / "missing.jpg", "unreadable"),
        (b"", "empty"),
        (b"hello, this is text", "not_an_image"),
        (encoded(photos[1], "PNG")[:5000], "truncated"),
        (np.full((9, 9, 3), np.nan), "bad_input"),
        (np.zeros((9, 9), np.uint8), "bad_input"),
        (42, "bad_input"),
    ]
    images = [photos[0]] + [item for pair in bad for item in (pair[0], photos[0])]
    scores = scorer(images, embeddings=True)
    assert scores.status[0::2] == ("ok",) * (len(bad) + 1)
    assert scores.status[1::2] == tuple(status for _, status in bad)
    assert all(scores.reason[i] for i in range(1, len(images), 2))
    for row in range(0, len(images), 2):
        np.testing.assert_array_equal(scores.raw[row], good)
    assert np.isnan(scores.raw[1::2]).all()
    assert np.isnan(scores.embeddings[1::2]).all()
    assert scores.top(3)[1] == []
    assert scores.to_dicts()[1]["raw_elation"] is None


def test_batches_do_not_mix_rows(published_small, photos, scorer, cache_dir):
    """More inputs than a batch, bad ones between them: each row its own, tail padded."""
    images = [photos[0], b"", photos[1], photos[2], b"", b"", photos[3], photos[1]]
    with ef.Scorer(published_small, precision="fp32", batch_size=3, cache_dir=cache_dir) as batched:
        got = batched(images)
    want = scorer(images)
    np.testing.assert_allclose(got.raw, want.raw, atol=tolerances.OTHER_BATCH_SIZE)
    assert got.status == want.status
    assert got.metadata["batch_size"] == "3"


def test_no_inputs(scorer):
    scores = scorer([])
    assert len(scores) == 0
    assert scores.raw.shape == (0, 44)
    assert scores.top() == []


def test_one_picture_instead_of_a_list(scorer, photos):
    with pytest.raises(ef.InputError, match="list"):
        scorer("face.jpg")
    with pytest.raises(ef.InputError, match="list"):
        scorer(photos[0])


def test_pickled_scorer_scores_the_same(scorer, photos):
    want = scorer([photos[0]])
    data = pickle.dumps(scorer)
    assert len(data) < 10_000, "an opened scorer must not carry its engine along"
    with pickle.loads(data) as copy:  # noqa: S301 - our own bytes
        np.testing.assert_array_equal(copy([photos[0]]).raw, want.raw)


def test_cheap_to_make(tmp_path):
    """No checkpoint is read before the first use; its absence shows then."""
    scorer = ef.Scorer(tmp_path / "nowhere", cache_dir=tmp_path)
    with pytest.raises(ef.CheckpointError, match="nowhere"):
        scorer([b""])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("device", "gpu"), ("precision", "fp16"), ("batch_size", 0), ("batch_size", 2.0), ("threads", -1)],
)
def test_settings_that_cannot_work_are_refused_at_once(setting, value):
    with pytest.raises(ef.OptionError, match=f"{setting} is .*expected"):
        ef.Scorer("large", **{setting: value})


def test_cuda_is_refused_with_what_to_do(published_small, cache_dir):
    with pytest.raises(ef.BackendError, match="use device 'cpu'"):
        ef.Scorer(published_small, device="cuda", cache_dir=cache_dir)([b""])


def test_metadata_and_notes(scorer, small, photos):
    scores = scorer([photos[0]])
    assert scores.metadata["checkpoint_hash"] == small.weights_hash
    assert scores.metadata["backend"] == "openvino"
    assert scores.metadata["precision"] == "fp32"
    assert scores.metadata["package_version"] == ef.__version__
    assert UNTRAINED in scores.notes


def test_streams_one_batch_at_a_time(scorer, photos):
    """A picture is taken from the source only when its batch is wanted: memory is bounded for any length."""
    from emonet_fast.records import Picture

    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Picture(f"#{len(taken)}", photos[0])

    stream = scorer.batches(endless())
    assert next(stream).scores.keys == ("#1",)
    assert next(stream).scores.keys == ("#2",)
    assert len(taken) == 2


def test_broken_inputs_alone_stream_too(scorer):
    from emonet_fast.records import Picture

    sizes = [len(b.scores) for b in scorer.batches(Picture(f"#{i}", b"") for i in range(600))]
    assert sum(sizes) == 600
    assert max(sizes) <= 256


def test_wrong_scaling_is_reported(small, photos, cache_dir, tmp_path):
    """Embeddings fed un-normalised give scores far off the scale: the fault of two public programs."""
    from .faults import repacked

    path = repacked(small, tmp_path / "unnormalised.safetensors", l2_normalise=False)
    with (
        ef.Scorer(path, precision="fp32", cache_dir=cache_dir) as scorer,
        pytest.warns(ef.ScalingWarning, match="likely a scaling fault"),
    ):
        scores = scorer(photos[:2])
    assert np.abs(scores.raw).max() > 20


def test_a_missing_head_is_named_in_what_every_output_carries(tiny_folder, cache_dir, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "39")
    (folder / "heads" / "model_pride_best.pth").unlink()
    with ef.Scorer(folder, precision="fp32", cache_dir=cache_dir) as scorer:
        said = "no head for 1 of the 40 emotions (pride): no softmax"
        assert scorer.metadata["missing_heads"] == said
        assert said in scorer.empty().notes
        assert "missing_heads" not in ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir).metadata


def test_a_call_that_fails_as_a_whole_warns(tiny_folder, photos, cache_dir, recwarn):
    with ef.Scorer(tiny_folder, precision="fp32", cache_dir=cache_dir) as scorer:
        with pytest.warns(ef.NoScoresWarning, match=r"no scores of 2 pictures: unreadable, No such file or directory"):
            scorer(["a.jpg", "b.jpg"])
        recwarn.clear()
        for mixed in ([photos[0], b""], [b"", "a.jpg"], []):
            scorer(mixed)
        assert not recwarn.list
