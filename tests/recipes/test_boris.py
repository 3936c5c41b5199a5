"""The block of docs/recipes.md by which BORIS takes the events in."""

import pandas

from tests.video.test_episode_files import two_people, written

from .conftest import block


def test_boris_takes_the_events_in(tmp_path, monkeypatch):
    """import_observations.py of boris_behav_obs 10.0.2 reads the first sheet by pandas, and asks for these columns."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "talk.boris.tsv", *two_people())
    exec(block("pandas.read_csv"), {})  # noqa: S102 - our own page
    events = pandas.read_excel("talk.xlsx", sheet_name=0, engine="openpyxl")
    assert list(events.columns) == ["time", "subject", "code", "modifier", "comment"]
    assert events.iloc[0].to_list()[:3] == [0.0, "Face 1", "Awe"]
    assert list(events["time"]) == [0.0, 0.5, 1.0, 1.0, 1.0, 1.5]
    assert list(events["code"]).count("Jealousy & Envy") == 2
