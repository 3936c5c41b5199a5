"""The programs on docs/summaries.md run, in R and in pandas, and give what scipy gives of the rows themselves."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from emonet_fast.commands import main

from ..population.made import SLUGS, population
from ..tolerances import SAME_FIGURE
from .made import frame, write

PAGE = (Path(__file__).parents[2] / "docs" / "summaries.md").read_text("utf-8")
# R reads a decimal text to within some units of the last place, and the differences are small beside the means.
READ_BY_R = 1e-9


def programs(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with what the page's programs read, and the scores' table."""
    folder = tmp_path_factory.mktemp("study")
    parts, people = [], ["key,participant,condition"]
    for person in range(7):
        for condition in ("task", "rest")[: 1 if person == 6 else 2]:  # the last one has no rest
            raw = population(12, seed=10 * person + (condition == "rest"))
            name = f"p{person}_{condition}.mp4"
            parts.append(frame(raw, bad=[3], source=f"study/{name}", seconds=np.arange(12.0), track=0, person=person))
            parts[-1]["condition_of"] = condition
            people.append(f"{name},p{person},{condition}")
    table = pd.concat(parts, ignore_index=True)
    (file,) = write(folder / "video.parquet", table)
    file.rename(folder / "video.parquet")
    (folder / "people.csv").write_text("\n".join(people), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command = "summarise video.parquet --participants people.csv --by participant --by condition -o study.csv"
        assert command in PAGE
        assert CliRunner().invoke(main.cli, command.split()).exit_code == 0
    return folder, table


def check(folder, table, tolerance):
    found = pd.read_csv(folder / "comparison.csv").set_index("dimension")
    good = table[table["status"] == "ok"]
    tests = {}
    for slug in SLUGS:
        means = good.astype({f"raw_{slug}": float}).groupby(["person", "condition_of"])[f"raw_{slug}"].mean().unstack()
        pairs = means.dropna()
        tests[slug] = stats.ttest_rel(pairs["task"], pairs["rest"])
        low, high = tests[slug].confidence_interval()
        expected = [6, (pairs["task"] - pairs["rest"]).mean(), low, high, tests[slug].pvalue]
        columns = ["participants", "difference", "low", "high", "p"]
        assert found.loc[slug, columns].tolist() == pytest.approx(expected, rel=tolerance, abs=tolerance)
    so_far = 0.0
    for i, slug in enumerate(sorted(tests, key=lambda slug: tests[slug].pvalue)):
        so_far = max(so_far, min(1.0, (40 - i) * tests[slug].pvalue))
        assert found.loc[slug, "p_holm"] == pytest.approx(so_far, rel=tolerance, abs=tolerance)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed: no Rscript")
def test_the_program_in_r(study):
    folder, table = study
    (program,) = programs("r")
    subprocess.run(["Rscript", "--vanilla", "-e", program], cwd=folder, check=True, capture_output=True)
    check(folder, table, READ_BY_R)


def test_the_programs_in_python(study, monkeypatch):
    folder, table = study
    monkeypatch.chdir(folder)
    names = {}
    for program in programs("python"):
        exec(program, names)  # noqa: S102 - of our own page
    assert (folder / "conditions.groups.parquet").is_file()
    assert names["counts"].shape == (7, 7)
    assert names["counts"].sum() == 10  # 11 rows with scores in the first track
    check(folder, table, SAME_FIGURE)
