"""The published JSON lines, against an example computed by hand."""

import json
import math

import numpy as np
import pytest

from emonet_fast import taxonomy
from emonet_fast.records import Status
from emonet_fast.scores import Scores
from emonet_fast.sinks import open_sink

FORTY = [d.name for d in taxonomy.EMOTIONS]


def written(path, scores):
    sink = open_sink(path, format="laion", metadata={}, embeddings=False)
    sink.write(scores)
    sink.close()
    return path.read_text(encoding="utf-8")


def test_equals_the_example_computed_by_hand(tmp_path):
    """Raw 1.5 for Elation, 0.5 for Jealousy & Envy, 0 elsewhere; mean 0.5 for Elation, 0.25 for Valence, else 0.

    The sum of the softmax is e^1 + e^0.5 + 38.
    """
    names = ["Elation", "Valence", "Jealousy & Envy", *(n for n in FORTY if n not in ("Elation", "Jealousy & Envy"))]
    raw = np.zeros((2, 41), np.float32)
    raw[0, :3] = 1.5, -0.75, 0.5
    means = dict.fromkeys(names, 0.0) | {"Elation": 0.5, "Valence": 0.25}
    scores = Scores.from_raw(
        raw, names, means, keys=["a/1.jpg", "b.jpg"], status=[Status.OK, Status.EMPTY], reason=["", "0 bytes"]
    )
    good, bad, end = written(tmp_path / "out.jsonl", scores).split("\n")
    assert end == ""
    total = math.e + math.sqrt(math.e) + 38
    start = (
        '{"image_path": "a/1.jpg", "results": {"model_amusement_best": {"raw": 0.0, "mean_subtracted": 0.0, "softmax": '
    )
    assert good.startswith(start)
    line = json.loads(good)
    assert list(line) == ["image_path", "results"]
    assert list(line["results"]) == [taxonomy.find(n).file_stem for n in (*FORTY, "Valence")]
    assert line["results"]["model_elation_best"]["softmax"] == pytest.approx(math.e / total, rel=1e-14)
    assert line["results"]["model_valence_best"] == {"raw": -0.75, "mean_subtracted": -1.0, "softmax": None}
    envy = line["results"]["model_jealousy_&_envy_best"]
    assert envy == {"raw": 0.5, "mean_subtracted": 0.5, "softmax": pytest.approx(math.exp(0.5) / total, rel=1e-14)}
    assert line["results"]["model_awe_best"]["softmax"] == pytest.approx(1 / total, rel=1e-14)
    assert json.loads(bad) == {"image_path": "b.jpg", "results": None, "status": "empty", "reason": "0 bytes"}


def test_raw_is_the_float32_itself_as_published(tmp_path):
    """The published lines print a float32 with the digits of its float64, such as 0.7083743810653687."""
    raw = np.float32(0.70837438)
    text = written(tmp_path / "out.jsonl", Scores.from_raw([[raw]], ["infatuation"], {"infatuation": 0.5}))
    assert '"raw": 0.7083743810653687, ' in text


@pytest.mark.parametrize(("means", "subtracted"), [(None, None), (dict.fromkeys(FORTY[:3], 1.0), 1.0)])
def test_what_cannot_be_known_is_null(tmp_path, means, subtracted):
    scores = Scores.from_raw([[2.0, 2.0, 2.0]], FORTY[:3], means)
    (line,) = written(tmp_path / "out.jsonl", scores).splitlines()
    for values in json.loads(line)["results"].values():
        assert values == {"raw": 2.0, "mean_subtracted": subtracted, "softmax": None}
