"""The block of docs/recipes.md by which BORIS takes the events in, and BORIS itself, where it is.

EMONET_FAST_BORIS names the Python of an environment with `boris-behav-obs` of 9 or newer, and `openpyxl`; it wants
Debian's libmpv2 and libegl1.
"""

import json
import os
import subprocess

import pandas
import pytest

from tests.video.test_episode_files import two_people, written

from .conftest import block

# BORIS with a project of these events' behaviours and subjects, an observation that is open, and no screen.
BORIS = """
import copy
import json
import sys

import pandas
from PySide6.QtWidgets import QApplication, QMessageBox

application = QApplication([])
from boris import config, core, dialog, import_observations, project_functions

said = []
for kind in ("information", "warning", "critical"):
    setattr(QMessageBox, kind, lambda parent, title, text, *more: said.append(text))
dialog.MessageDialog = lambda *asked: config.NO  # whether it may look for a newer version

table = pandas.read_excel(sys.argv[1])
project = copy.deepcopy(config.EMPTY_PROJECT)
behaviour = {"type": "State event", "description": "", "color": "", "category": "", "modifiers": "", "excluded": ""}
for i, code in enumerate(sorted(set(table["code"]))):
    project[config.ETHOGRAM][str(i)] = {**behaviour, "key": "abcdefgh"[i], "code": code, "coding map": ""}
for i, name in enumerate(sorted(set(table["subject"]))):
    project[config.SUBJECTS][str(i)] = {"key": "", "name": name, "description": ""}
observation = {"file": {}, "type": config.LIVE, "date": "2026-11-30T12:00:00", "description": "", "time offset": 0}
more = {"events": [], "observation time interval": [0, 0], "independent_variables": {}, "media_info": {}}
unset = ["visualize_spectrogram", "visualize_waveform", "close_behaviors_between_videos", "scan_sampling_time"]
unset += ["start_from_current_time", "start_from_current_epoch_time"]
project[config.OBSERVATIONS]["talk"] = observation | more | dict.fromkeys(unset, False)

window = core.MainWindow("ffmpeg")
window.load_project("talk.boris", False, project)
window.observationId, window.playerType = "talk", config.LIVE
import_observations.load_observations_from_spreadsheet(window, sys.argv[1])
sound, _ = project_functions.check_state_events_obs(
    "talk", window.pj[config.ETHOGRAM], window.pj[config.OBSERVATIONS]["talk"]
)
shown = window.tv_events.model()
rows = [[shown.index(i, j).data() for j in range(shown.columnCount())] for i in range(shown.rowCount())]
print(json.dumps({"said": said, "sound": sound, "rows": rows}))
"""


@pytest.fixture
def workbook(tmp_path, monkeypatch):
    """The workbook that the block makes of a table of two people's emotions."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "talk.boris.tsv", *two_people())
    exec(block("pandas.read_csv"), {})  # noqa: S102 - our own page
    return tmp_path / "talk.xlsx"


def test_boris_takes_the_events_in(workbook):
    """import_observations.py of boris_behav_obs 10.0.2 reads the first sheet by pandas, and asks for these columns."""
    events = pandas.read_excel(workbook, sheet_name=0, engine="openpyxl")
    assert list(events.columns) == ["time", "subject", "code", "modifier", "comment"]
    assert events.iloc[0].to_list()[:3] == [0.0, "Face 1", "Awe"]
    assert list(events["time"]) == [0.0, 0.5, 1.0, 1.0, 1.0, 1.5]
    assert list(events["code"]).count("Jealousy & Envy") == 2


@pytest.mark.skipif(not os.environ.get("EMONET_FAST_BORIS"), reason="EMONET_FAST_BORIS names no Python with BORIS")
def test_boris_shows_them_as_states(workbook, tmp_path):
    """Its window, without a screen: every emotion starts and stops."""
    variables = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    variables.pop("PYTHONPATH", None)  # of another Python
    command = [os.environ["EMONET_FAST_BORIS"], "-c", BORIS, str(workbook)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path, env=variables)
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer["said"] == ["Observations imported successfully"]
    assert answer["sound"], "states that start and do not stop"
    assert [row[:4] for row in answer["rows"]] == [
        ["00:00:00.000", "Face 1", "Awe", "START"],
        ["00:00:00.500", "Face 2", "Jealousy & Envy", "START"],
        ["00:00:01.000", "Face 1", "Awe", "STOP"],
        ["00:00:01.000", "Face 2", "Jealousy & Envy", "STOP"],
        ["00:00:01.000", "Face 1", "Fear", "START"],
        ["00:00:01.500", "Face 1", "Fear", "STOP"],
    ]
