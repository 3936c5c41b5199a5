"""A run against its own rows: z columns in tables that are written already, of every kind, and persons of a video."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from emonet_fast.population.annotate import adding, values_against
from emonet_fast.population.spool import FEWEST_ROWS, Spool
from emonet_fast.sinks import open_sink
from emonet_fast.sinks.tables import recover

from .made import SLUGS, population, scores, written


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.jsonl"])
def test_a_table_gets_the_columns_that_it_would_have_had(tmp_path, name):
    rows = scores(population(40), bad=(7,))
    base = rows.as_baseline()
    path = tmp_path / name
    table = open_sink(path, metadata=rows.metadata, annotated=True)
    table.write(rows.select(range(25)))
    table.write(rows.select(range(25, 40)))
    table.annotate(adding(SLUGS, base), base.facts)
    table.close()
    expected = written(tmp_path / f"known{path.suffix}", rows.against(base))
    assert read(path) == read(expected)
    if name == "s.parquet":
        metadata = pq.read_schema(path).metadata
        assert metadata[b"baseline_rows"] == b"39"
        assert metadata[b"checkpoint_hash"] == b"sha256:aa"
    else:
        facts = json.loads((tmp_path / f"{name}.meta.json").read_text("utf-8"))
        assert (facts["baseline_rows"], facts["emonet_fast.rows"]) == ("39", "40")


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl"])
def test_a_killed_run_against_its_own_rows_leaves_them_without_z(tmp_path, name):
    rows = scores(population(5))
    table = open_sink(tmp_path / name, metadata=rows.metadata, annotated=True)
    table.write(rows)
    table.file.close()
    assert recover(tmp_path / name) == 5
    assert read(tmp_path / name) == read(written(tmp_path / f"plain{table.path.suffix}", rows))


def test_a_spool_gives_the_baseline_of_all_its_rows():
    rows = scores(population(50), bad=(1, 2))
    with Spool(SLUGS, rows.metadata) as spool:
        for i in range(0, 50, 20):
            spool.add(rows.select(range(i, min(i + 20, 50))))
        assert spool.rows == 48
        made = spool.of_all()
        assert spool.of_people() == {}
    assert np.array_equal(made.quantiles, rows.as_baseline().quantiles)


def test_each_person_has_a_quiet_level_of_their_own():
    """Two faces, one of which smiles more: against themselves both are usual. Seen too briefly, a face has no z."""
    raw = population(60)
    raw[::2, SLUGS.index("elation")] += 3
    people = [("a.mp4", i % 2) for i in range(57)] + [("a.mp4", 9)] * 3
    rows = scores(raw)
    with Spool(SLUGS, rows.metadata) as spool:
        spool.add(rows, people)
        own = spool.of_people()
    assert FEWEST_ROWS > 3
    assert set(own) == {("a.mp4", 0), ("a.mp4", 1)}
    z, percentile = values_against(raw, own, people)
    at = SLUGS.index("elation")
    for person in (0, 1):
        values = raw[person:57:2, at].astype(np.float64)
        middle = np.median(values)
        assert np.median(z[person:57:2, at]) == pytest.approx(0, abs=1e-12)
        assert own["a.mp4", person].median[at] == middle
    assert np.isnan(z[57:]).all()
    assert np.isnan(percentile[57:]).all()
