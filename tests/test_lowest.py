"""An import and a small scoring run: all that CI asks of the lowest versions of the dependencies."""

import numpy as np
import pytest

import emonet_fast as ef

from .tiny import write_tiny


def test_scores_equal_the_reference(tmp_path):
    pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    from emonet_fast.backends.reference import Reference
    from emonet_fast.checkpoint import resolve_published

    folder = write_tiny(tmp_path / "published")
    pictures = [np.random.default_rng(i).integers(0, 256, (40 + i, 60, 3), dtype=np.uint8) for i in range(3)]
    with ef.Scorer(folder, precision="fp32", cache_dir=tmp_path / "cache") as scorer:
        scores = scorer([*pictures, b"no picture"], embeddings=True)
        names, normalise = scorer.checkpoint.names, scorer.checkpoint.l2_normalise
    found = resolve_published(folder, tmp_path / "cache")
    want = Reference.from_published(found, names, normalise).score(pictures)
    np.testing.assert_allclose(scores.raw[:3], want.raw, atol=1e-4)
    np.testing.assert_allclose(scores.embeddings[:3], want.embedding, atol=1e-4)
    assert scores.status == ("ok", "ok", "ok", "not_an_image")
    table = scores.to_arrow()
    assert table.num_rows == 4
    assert table.column("raw_awe").null_count == 1


def test_an_evaluation_and_its_charts(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")
    from emonet_fast.evaluate import hq, hq_tables, report

    from .evaluate.made import predictions, ratings

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, (20, 40)).astype(float)
    found = hq.hq_figures(predictions(truth), ratings(np.stack([truth, truth])), bootstraps=5)
    assert found.overall_kappa() == (1, 1, 1)
    report.write_report(hq_tables.hq_result(found, "made up"), tmp_path / "r.html")
    # Two charts, each for light and for dark pages.
    assert (tmp_path / "r.html").read_text("utf-8").count("data:image/png") == 4
