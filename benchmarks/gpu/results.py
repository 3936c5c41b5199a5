"""The results of a run: kept on the disk after every row, and gone on with by the next run. Standard library only."""

import json
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.table import markdown

ROOT = Path(__file__).parents[2]
SCHEMA = 2
# A part that ended; any other is tried again by the next run.
DONE = ("ok", "failed")
# What must be equal for one run to go on with another.
SAME = ("schema", "commit", "dry", "layers", "card")


class Results:
    """One document for people and one for programs, `gpu-<card>-<date>.md` and `.json`, each whole or not there.

    work: a folder of this machine, which keeps a copy for the next run. began: of this run, by time.monotonic(). The
    seconds of earlier runs that it goes on with are counted apart.
    """

    def __init__(self, folder: Path, work: Path, began: float, about: dict[str, Any]) -> None:
        self.folder, self.work, self.began = folder, work, began
        now = datetime.now(UTC)
        self.doc: dict[str, Any] = {"schema": SCHEMA, "date": now.date().isoformat(), "time": now.strftime("%H:%M UTC")}
        self.doc |= {"card": "", **about, "finished": False, "runs": [], "parts": {}}
        self.path = folder

    def open(self, facts: dict[str, Any], places: list[Path]) -> None:
        """Go on with the newest run in one of `places` that is alike and not at its end, or begin one."""
        self.doc["card"] = facts.get("card", "unknown")
        self.folder.mkdir(parents=True, exist_ok=True)
        found = [path for place in places for path in place.glob("gpu-*.json")]
        for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
            begun = json.loads(path.read_text("utf-8"))
            if begun.get("finished") is False and all(begun.get(key) == self.doc[key] for key in SAME):
                self.doc, self.path = begun, self.folder / path.name
                break
        else:
            self.path = new_file(self.folder, self.doc["card"], self.doc["date"])
        self.doc["runs"].append({"seconds": 0.0})
        self.parts["facts"] = facts
        self.write()

    @property
    def parts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.doc["parts"]
        return found

    def done(self, name: str) -> bool:
        return self.parts.get(name, {}).get("status") in DONE

    def take(self, name: str, event: dict[str, Any]) -> None:
        """Keep a row or further figures of a part."""
        part = self.parts[name]
        if "row" in event:
            part.setdefault("rows", []).append(event["row"])
        part |= event.get("tell", {})
        self.write()

    def end(self, name: str, seconds: float, found: dict[str, Any]) -> None:
        self.parts[name] = {**self.parts.get(name, {}), **found, "seconds": round(seconds, 2)}
        self.write()

    def write(self) -> None:
        self.doc["runs"][-1]["seconds"] = round(time.monotonic() - self.began, 2)
        body = json.dumps(self.doc, indent=1, allow_nan=False) + "\n"
        for folder in {self.folder, self.work}:
            replace(folder / self.path.name, body)
        try:
            text = markdown(self.doc)
        except Exception as error:  # a figure in an unforeseen form must not end the run
            text = f"The JSON beside this file could not be turned into a table: {type(error).__name__}: {error}\n"
        replace(self.path.with_suffix(".md"), text)


def new_file(folder: Path, card: str, date: str) -> Path:
    """gpu-<card>-<date>.json; a second run of the day gets a number, for no run overwrites another."""
    card = re.sub(r"[^a-z0-9]+", "-", card.lower().replace("nvidia", "").partition("(")[0]).strip("-")
    for number in range(1, 1000):
        path = folder / f"gpu-{card}-{date}{f'-{number}' if number > 1 else ''}.json"
        if not path.exists():
            return path
    raise FileExistsError(folder)


def replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def commit() -> str | None:
    """The checkout's commit, with + where files differ from it; None without git."""
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
