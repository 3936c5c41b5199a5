"""Runs of `make bench`: from a file of pytest-benchmark into the table of results, and back for pages and plots."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import measurements

DEVICES = ("cpu", "cuda")
# What an hour of the machine is taken to cost, in US dollars: assumptions of the cost figures, named beside them.
# A CPU is a rented one of 2 cores, a GPU one H100 or H200 on demand; put in your own.
DOLLARS_AN_HOUR = {"cpu": 0.10, "cuda": 3.00}
# The case that holds what is true of the whole run.
FACTS = "run"


@dataclass(frozen=True)
class Entry:
    """One side of one case.

    Args:
        group: the case.
        side: the side, unique within its case.
        seconds: of each round.
        info: what the harness found beside the time.
    """

    group: str
    side: str
    seconds: tuple[float, ...]
    info: dict[str, Any]

    @property
    def factor(self) -> float:
        """How many times as fast as its baseline it is."""
        return float(self.info["ratio"]["value"])

    @property
    def rate(self) -> float:
        """Images a second."""
        return float(self.info["images_per_second"])


@dataclass(frozen=True)
class Run:
    """A whole run.

    Args:
        device: "cpu" or "cuda".
        machine: in words.
        date: when it ended, to the second.
        facts: commit, layers by heads, gemm_tflops by precision, versions of packages.
        entries: in the order of the suites.
    """

    device: str
    machine: str
    date: str
    facts: dict[str, Any]
    entries: tuple[Entry, ...]

    def where(self) -> str:
        """The run's machine, layers, date and commit in words."""
        layers = ", ".join(f"{heads} {count}" for heads, count in self.facts["layers"].items())
        return f"{self.machine}; layers: {layers}; {self.date}, commit {self.facts['commit'][:12]}"

    def groups(self, beginning: str) -> Iterator[tuple[str, list[Entry]]]:
        """Groups whose name begins so, with their entries, the baseline first."""
        names = dict.fromkeys(entry.group for entry in self.entries if entry.group.startswith(beginning))
        for name in sorted(names, key=_in_order):
            yield name, [entry for entry in self.entries if entry.group == name]


def _in_order(name: str) -> list[tuple[int, Any]]:
    """Numbers within names by their size."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def parse(document: dict[str, Any]) -> Run:
    """A run from a file of pytest-benchmark that the suites wrote."""
    machine, commit = document["machine_info"], document["commit_info"]
    facts = machine["emonet_fast"]
    entries = tuple(
        Entry(one["group"], one["extra_info"]["side"], tuple(one["stats"]["data"]), one["extra_info"])
        for one in document["benchmarks"]
    )
    known = {
        "commit": str(commit["id"]) + ("+" if commit.get("dirty") else ""),
        "layers": machine["layers"],
        "gemm_tflops": machine["gemm_tflops"],
        "packages": facts.get("packages", {}) | facts.get("optional", {}) | machine.get("packages", {}),
        "python": facts["machine"].get("python", ""),
        "system": machine.get("system_text", ""),
    }
    place = str(machine["gpu"]) if machine["device"] == "cuda" else measurements.processor(facts)
    return Run(machine["device"], place, str(document["datetime"])[:19], known, entries)


def keep(run: Run) -> None:
    """Put a whole run in the place of the device's last one."""
    values: dict[str, Any] = {FACTS: run.facts}
    for entry in run.entries:
        values[f"{entry.group} | {entry.side}"] = {"seconds": entry.seconds, **entry.info}
    measurements.keep(f"bench-{run.device}", values, date=run.date, machine=run.machine, whole=True)


def newest(device: str) -> Run | None:
    """The device's last whole run."""
    suite = measurements.read(f"bench-{device}")
    if suite is None:
        return None
    entries = tuple(
        Entry(*case.split(" | "), tuple(value["seconds"]), value)
        for case, value in suite.values.items()
        if case != FACTS
    )
    return Run(device, suite.machine, suite.date, suite.values[FACTS], entries)


def dollars_a_million(run: Run, entry: Entry) -> float:
    """US dollars for a million images on the run's machine."""
    return 1e6 / entry.rate / 3600 * DOLLARS_AN_HOUR[run.device]
