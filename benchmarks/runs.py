"""Runs of the suites as they lie in benchmarks/results/, for what is written from them. Standard library only."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# What an hour of the machine is taken to cost, in US dollars: assumptions of the cost figures, named beside them.
# A CPU is a rented one of 2 cores, a GPU one H100 or H200 on demand; put in your own.
DOLLARS_AN_HOUR = {"cpu": 0.10, "cuda": 3.00}


@dataclass(frozen=True)
class Entry:
    """One side of one case. seconds: a round each. info: what the harness found beside the time."""

    group: str
    side: str
    seconds: tuple[float, ...]
    info: dict[str, Any]

    @property
    def factor(self) -> float:
        return float(self.info["ratio"]["value"])

    @property
    def rate(self) -> float:
        return float(self.info["images_per_second"])


@dataclass(frozen=True)
class Run:
    """A whole run: its machine, and its entries in their order."""

    date: str
    commit: str
    machine: dict[str, Any]
    entries: tuple[Entry, ...]

    @property
    def device(self) -> str:
        return str(self.machine["device"])

    def where(self) -> str:
        """The machine in words."""
        facts = self.machine["emonet_fast"]
        if self.device == "cuda":
            place = str(self.machine["gpu"])
        else:
            place = f"{facts['machine']['cores']} cores of an {facts['cpu_engine'].get('name', 'unknown processor')}"
        layers = ", ".join(f"{heads} {count}" for heads, count in self.machine["layers"].items())
        return f"{place}; layers: {layers}; {self.date}, commit {self.commit[:12]}"

    def groups(self, beginning: str) -> Iterator[tuple[str, list[Entry]]]:
        """Groups whose name begins so, with their entries, the baseline first."""
        names = dict.fromkeys(entry.group for entry in self.entries if entry.group.startswith(beginning))
        for name in sorted(names, key=_in_order):
            yield name, [entry for entry in self.entries if entry.group == name]


def _in_order(name: str) -> list[tuple[int, Any]]:
    """Numbers within names by their size."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def read_run(path: Path) -> Run:
    found = json.loads(path.read_text("utf-8"))
    entries = tuple(
        Entry(one["group"], one["extra_info"]["side"], tuple(one["stats"]["data"]), one["extra_info"])
        for one in found["benchmarks"]
    )
    commit = found["commit_info"]
    named = str(commit["id"]) + ("+" if commit.get("dirty") else "")
    return Run(str(found["datetime"])[:19], named, found["machine_info"], entries)


def newest(device: str) -> Run | None:
    """The newest whole run on this kind of device; quick ones do not count."""
    runs = [read_run(path) for path in sorted(RESULTS.glob(f"bench-{device}-*.json"))]
    return max((run for run in runs if not run.machine["quick"]), key=lambda run: run.date, default=None)


def dollars_a_million(run: Run, entry: Entry) -> float:
    return 1e6 / entry.rate / 3600 * DOLLARS_AN_HOUR[run.device]
