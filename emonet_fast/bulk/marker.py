"""Markers: files beside a shard's rows that tell what became of it, see folder.py. They may come from a stranger."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..reports.collect import InputCount
from ..sources.folder import hash_of, stat_file
from .plan import Plan

MARKER_FORMAT = "emonet_fast.bulk.shard"
MARKER_VERSION = 1


class ShardState(StrEnum):
    """What became of a shard."""

    DONE = "done"
    FAILED = "failed"
    TODO = "todo"


@dataclass(frozen=True, slots=True)
class FoundShard:
    """A shard as its files show it.

    Args:
        state: what became of it.
        marker: of a shard that is done or failed, else None.
        reason: why a file that is there counts for nothing; "" otherwise.
    """

    state: ShardState
    marker: dict[str, Any] | None = None
    reason: str = ""


def skipped_by(plan: Plan, shards: Iterable[FoundShard]) -> Counter[str]:
    """How many of what the inputs held are no rows, by kind: of the listing, and of the tars that are done."""
    skipped = Counter(plan.skipped)
    for shard in shards:
        if shard.state == ShardState.DONE and shard.marker is not None:
            skipped.update(shard.marker.get("skipped", {}))
    return skipped


def input_count(markers: Iterable[Mapping[str, Any]], *, faces: bool) -> InputCount:
    """How many pictures, and faces where a run looks for them, finished shards hold, by their markers."""
    known = list(markers)
    found = sum(marker.get("faces", 0) for marker in known) if faces else None
    return InputCount(sum(marker["inputs"] for marker in known), found)


def failures(shards: Mapping[int, FoundShard]) -> dict[int, str]:
    """Why shards were given up, by their numbers."""
    failed = {number: one.marker or {} for number, one in shards.items() if one.state == ShardState.FAILED}
    return {number: str(marker.get("failed")) for number, marker in failed.items()}


def read_marker(path: Path, plan: Plan, shard: int) -> tuple[dict[str, Any] | None, str]:
    """A marker that belongs to the plan, or why there is none ("" where there is no file)."""
    try:
        marker = json.loads(small_text(path))
        if not isinstance(marker, dict) or marker.get("format") != MARKER_FORMAT or not _typed(marker):
            return None, f"{path.name} is no marker"
        if (marker["plan"], marker["shard"]) != (plan.id, shard):
            return None, f"{path.name} belongs to another plan"
        if marker["fingerprint"] != dict(plan.fingerprint):
            return None, f"{path.name} has another fingerprint"
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, RecursionError) as error:
        return None, f"{path.name} cannot be read ({type(error).__name__})"
    return marker, ""


def _typed(marker: dict[str, Any]) -> bool:
    """Whether what is read of a marker is what it should be: of one that is done, or of one that failed."""
    if "failed" in marker:
        return isinstance(marker["failed"], str)
    notes = marker.get("notes")
    for counts in (marker.get("counts"), marker.get("skipped", {})):
        if not isinstance(counts, dict) or not all(type(number) is int for number in counts.values()):
            return False
    return isinstance(notes, list) and all(isinstance(note, str) for note in notes)


def small_text(path: Path) -> str:
    """A file's text. Raises OSError where it is no regular file: a pipe would be waited for."""
    stat_file(path)
    return path.read_text(encoding="utf-8")


def file_fault(path: Path, marker: dict[str, Any], hashes: bool) -> str:
    """Why a shard's file is not its marker's, "" where it is. hashes: whether it is read whole."""
    try:
        size = stat_file(path).st_size
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    if size != marker.get("bytes"):
        return f"{path.name} has {size} bytes, its marker says {marker.get('bytes')}"
    if hashes and hash_or_none(path) != marker.get("sha256"):
        return f"{path.name} is damaged: its SHA-256 is not its marker's"
    return ""


def hash_or_none(path: Path) -> str | None:
    """SHA-256 of a file; None where it cannot be read."""
    try:
        return hash_of(path)
    except OSError:
        return None
