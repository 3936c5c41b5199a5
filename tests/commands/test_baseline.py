"""`emonet-fast baseline` as a user meets it."""

import pytest
from click.testing import CliRunner

from emonet_fast.baseline import Baseline
from emonet_fast.commands import main
from emonet_fast.commands.stored import chosen_baseline
from emonet_fast.errors import DataError, OptionError

from ..population.made import population, scores, written


def test_the_command_writes_the_figures_and_says_what_was_left_out(tmp_path):
    written(tmp_path / "a.parquet", scores(population(30), bad=(1,)))
    done = CliRunner().invoke(main.cli, ["baseline", f"{tmp_path}/a.parquet", "-o", f"{tmp_path}/b.json"])
    assert done.exit_code == 0, done.output
    assert "29 rows, 40 heads, precision fp32; left out: 1 no_face" in done.output
    assert "29 rows; z and percentiles are rough below 100" in done.output
    assert Baseline.read(tmp_path / "b.json").rows == 29


def test_an_output_that_is_an_input_is_refused(tmp_path):
    written(tmp_path / "a.jsonl", scores(population(3)))
    done = CliRunner().invoke(main.cli, ["baseline", str(tmp_path), "-o", f"{tmp_path}/a.jsonl"])
    assert done.exit_code == 2
    assert "ending in .json" in done.output


def test_a_word_that_a_command_does_not_know_is_no_file(tmp_path):
    with pytest.raises(OptionError, match=r"^--baseline person came; expected a file, or self$"):
        chosen_baseline("person", "self")
    with pytest.raises(DataError, match="cannot be read"):
        chosen_baseline(str(tmp_path / "self.json"), "self")
    assert chosen_baseline("self", "self") == "self"
