"""The codebook describes every column that a writer writes, and no other; and the pages have its rows."""

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from emonet_fast import codebook, taxonomy
from emonet_fast.bulk.rows import Origin
from emonet_fast.bulk.shard_file import ShardFile
from emonet_fast.commands.main import cli
from emonet_fast.errors import DataError
from emonet_fast.records import Face
from emonet_fast.scores import Scores, face_values
from emonet_fast.sinks import open_sink
from emonet_fast.summaries import summarise
from emonet_fast.timeline import Timeline

from ..population.made import population, scores
from ..population.made import written as written_parquet

ROOT = Path(__file__).parents[2]


def run(*arguments):
    done = CliRunner().invoke(cli, ["codebook", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def whole_scores():
    """Scores with everything that adds columns."""
    made = scores(population(12), bad=(3,))
    faces = face_values([Face(1, 2, 30, 40, 0.9)] * 12)
    vectors = np.ones((12, 6), np.float32)
    whole = Scores(**{**vars(made.against(made.as_baseline())), "faces": faces, "embeddings": vectors})
    assert whole.kinds == ("raw", "score", "softmax", "z")
    return whole


def timeline_columns():
    whole, n = whole_scores(), 12
    zeros = np.zeros(n, np.int64)
    line = Timeline(
        whole, "a.mp4", zeros, zeros.astype(float), zeros, (Fraction(1, 25),) * n, zeros, zeros > 0, whole.score
    )
    return line.to_arrow().column_names


def shard_columns(folder):
    file = ShardFile(folder / "00000.parquet", pa.schema([("emotion", pa.string())]), "fp16", {})
    file.write(whole_scores(), [Origin("s", i, ("awe",)) for i in range(12)])
    file.finish(whole_scores())
    file.pending.publish()
    return pq.read_schema(folder / "00000.parquet").names


def laion_columns(folder):
    sink = open_sink(folder / "l.jsonl", format="laion", metadata={})
    sink.write(scores(population(12)))
    sink.close()
    return list(json.loads((folder / "l.jsonl").read_text("utf-8").splitlines()[0]))


def test_every_column_of_every_writer_is_described_and_nothing_else_is(tmp_path):
    """Whoever adds a column describes it in codebook.toml."""
    summary = summarise(written_parquet(tmp_path / "s.parquet", scores(population(12))), [])
    written = {
        "figures": summary.figures.column_names,
        "groups": summary.groups.column_names,
        "scores": [*timeline_columns(), *shard_columns(tmp_path), *laion_columns(tmp_path)],
    }
    assert set(written) == set(codebook.tables())
    for table, names in written.items():
        described = codebook.describe(names)
        assert [c.name for c in described if c.meaning == codebook.UNKNOWN] == []
        met = {c.meaning.removeprefix(f"{c.emotion}: ") for c in described}
        assert {kind.meaning for kind in codebook.kinds(table)} == met
    assert {c.name for c in codebook.every()} >= set(written["scores"]) - {"keep_emotion"}


def test_a_summary_is_by_columns_of_the_scores():
    described = codebook.describe(["track", "answers", "dimension", "kind", "n"])
    assert [c.name for c in described if c.meaning == codebook.UNKNOWN] == ["answers"]
    assert described[0] == codebook.describe(["key", "raw_elation", "track"])[2]


def test_the_page_has_the_rows_of_the_codebook():
    pages = {"figures": "summaries.md", "groups": "summaries.md", "scores": "output-formats.md"}
    for table in codebook.tables():
        rows = codebook.to_markdown(list(codebook.kinds(table))).decode()
        page = (ROOT / "docs" / pages[table]).read_text("utf-8")
        assert rows in page, f"put these rows into docs/{pages[table]}:\n{rows}"


def test_a_head_has_its_scale_and_reliability(tmp_path):
    run("-o", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as file:
        every = {row["name"]: row for row in csv.DictReader(file)}
    assert len(every) == 5 * 44 + 40 + len(
        {kind.name for table in codebook.tables() for kind in codebook.kinds(table) if "<dim>" not in kind.name}
    )
    figures = json.loads((ROOT / "emonet_fast" / "reliability.json").read_text("utf-8"))["emotions"]
    for slug, (alpha, kappa, large, small) in figures.items():
        for kind in ("raw", "score", "softmax", "z", "percentile", "smooth"):
            row = every[f"{kind}_{slug}"]
            known = [row[name] for name in ("alpha", "human_kappa", "large_spearman", "small_spearman")]
            assert [None if text == "" else float(text) for text in known] == [alpha, kappa, large, small]
            assert row["group"] == taxonomy.find(slug).group
    assert every["raw_elation"]["range"] == "0..7, not clipped"
    assert every["raw_valence"]["range"] == "-3..3, not clipped"
    assert every["raw_elation"]["agreement"] == "experts agree on this"
    assert every["raw_awe"]["agreement"] == "experts do not agree on this"
    assert (every["raw_valence"]["alpha"], every["key"]["agreement"]) == ("", "")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_of_a_table_exactly_its_columns_in_their_order(tmp_path, suffix):
    sink = open_sink(tmp_path / f"s{suffix}", metadata={})
    sink.write(scores(population(12)))
    sink.close()
    run(tmp_path / f"s{suffix}", "-o", tmp_path / "c.json")
    rows = json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert [row["name"] for row in rows] == scores(population(12)).to_arrow().column_names
    said = run(tmp_path / f"s{suffix}")
    assert "raw_elation: Elation: the head's output; 0..7, not clipped" in said
    assert "experts agree on this: alpha 0.58" in said


def test_unknown_columns_are_said_and_older_names_are_known(tmp_path):
    table = pa.table({"key": ["a"], "prob_awe": [0.1], "age|years": [3], "raw_ennui": [1.0]})
    pq.write_table(table, tmp_path / "t.parquet")
    said = run(tmp_path / "t.parquet", "-o", tmp_path / "c.md")
    page = (tmp_path / "c.md").read_text("utf-8").splitlines()
    assert page[2].startswith("| `key` |")
    assert "Awe: softmax" in page[3]
    assert page[3].endswith("alpha 0.08, kappa 0.09, Large model's Spearman 0.26 |")
    assert page[4] == r"| `age\|years` |  |  |  |  | not a column of this package |  |"
    assert "ennui: the head's output" in page[5]
    assert "4 columns; 1 not of this package: age|years" in said
    with pytest.raises(DataError, match=r"expected scores in \.parquet"):
        CliRunner().invoke(cli, ["codebook", str(tmp_path / "c.md")], catch_exceptions=False)
