"""The one table of results: results/measurements.jsonl, with a line for each case of each suite.

A line holds suite, case, machine, date (UTC) and value. The value is what the suite's script measured, as JSON. A case
that is measured again replaces its old line. `python -m benchmarks.pages` makes the documents' tables from these lines.
Runs of `make gpu-check` and `make trt-check` stay outside: each is a whole protocol, made on somebody else's machine.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "results" / "measurements.jsonl"
# What decides how fast int8 and bf16 are, as people call it.
_LOW_PRECISIONS = {
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "bf16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "i8mm": "i8mm",
    "bf16": "bf16",
}


@dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Args:
        suite: the script or the suite that measured.
        case: what was measured; unique within its suite.
        machine: the processor or the GPU in words; never the name of a host.
        date: ISO, a day or a second of a day, UTC.
        value: JSON-ready figures.
    """

    suite: str
    case: str
    machine: str
    date: str
    value: Any


@dataclass(frozen=True)
class Suite:
    """The cases of one suite.

    Args:
        machine: where its newest case was measured.
        date: when its newest case was measured.
        values: the figures by case, in the order in which they were measured first.
    """

    machine: str
    date: str
    values: dict[str, Any]


def lines(table: Path | None = None) -> list[Measurement]:
    """All lines of the table; none where there is no file."""
    table = table or TABLE
    text = table.read_text("utf-8") if table.exists() else ""
    return [Measurement(**json.loads(line)) for line in text.splitlines()]


def read(suite: str, table: Path | None = None) -> Suite | None:
    """The cases of a suite; None where nothing of it was measured yet."""
    own = [line for line in lines(table) if line.suite == suite]
    if not own:
        return None
    newest = max(own, key=lambda line: line.date)
    return Suite(newest.machine, newest.date, {line.case: line.value for line in own})


def keep(
    suite: str,
    values: Mapping[str, Any],
    *,
    date: str = "",
    machine: str = "",
    whole: bool = False,
    table: Path | None = None,
) -> None:
    """Write figures by case into the table.

    Args:
        suite: the suite that they belong to.
        values: JSON-ready figures by case.
        date: when they were measured; today by default.
        machine: where they were measured; this machine by default.
        whole: whether the suite's other cases are forgotten.
        table: the file; the repository's by default.
    """
    date = date or datetime.now(UTC).date().isoformat()
    machine = machine or this_machine()
    every = lines(table)
    rest = [line for line in every if line.suite != suite]
    old = {} if whole else {line.case: line for line in every if line.suite == suite}
    new = {case: Measurement(suite, case, machine, date, value) for case, value in values.items()}
    ordered = sorted([*rest, *(old | new).values()], key=lambda line: line.suite)
    text = "".join(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in ordered)
    (table or TABLE).write_text(text, "utf-8")


def this_machine() -> str:
    """The cores and the processor in words."""
    from emonet_fast.doctor import report

    return processor(report())


def processor(facts: dict[str, Any]) -> str:
    """The cores and the processor of doctor's facts, and what decides how fast its low precisions are."""
    engine, cores = facts["cpu_engine"], facts["machine"]["cores"]
    words = f"{cores} cores of an {engine.get('name', 'unknown processor')}"
    known = engine.get("instructions")
    if not isinstance(known, list):  # no list on some systems
        return words
    low = [short for name, short in _LOW_PRECISIONS.items() if name in known]
    without = [] if any("bf16" in short for short in low) else ["without bf16"]
    return ", ".join([words, *([f"with {' and '.join(low)}"] if low else []), *without])
