"""What lies in the package's cache folder: listed, swept of what killed runs have left, and pruned."""

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

# An unfinished file that has not grown for so long belongs to a run that was killed.
DEAD_SECONDS = 3600.0
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_KINDS = {".safetensors": "weights", ".engine": "engine", ".weights": "weights", ".cache": "timing"}
# In the folder of engines, by their names.
_OWN = {
    "int8-*.safetensors": "recipe",
    "*.safetensors": "certificate",
    "fidelity-*.json": "report",
    "calibration-" + "[0-9a-f]" * 32: "calibration",
}
# Folders of engines that are being built: our prefix, and nothing but what a build writes.
_BUILDS, _BUILT = re.compile(r"emonet-fast-[a-z0-9_]{8}"), {"engine", "network.onnx", "network.weights"}


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing in the cache.

    Args:
        path: its file or folder; the record or page beside it goes with it.
        kind: "weights", "engine", "certificate" (of FP8), "recipe" and "report" (of int8), "calibration" (the folder of
            one that was stopped), "timing" or "unfinished".
        size: in bytes.
        used: when it was used last, in seconds since 1970.
        about: what it was made from and for; "" where that is unknown.
        stale: why nothing can use it any more; "" where something may.
    """

    path: Path
    kind: str
    size: int
    used: float
    about: str = ""
    stale: str = ""

    def remove(self) -> None:
        """Remove it and its record. Raises OSError."""
        if self.kind == "calibration":
            shutil.rmtree(self.path)
            return
        self.path.unlink(missing_ok=True)
        beside = {"weights": ".json", "engine": ".json", "report": ".html"}.get(self.kind)
        if beside is not None:
            self.path.with_suffix(beside).unlink(missing_ok=True)


def entries(cache_dir: Path, versions: Mapping[str, object] = MappingProxyType({})) -> list[Kept]:
    """Everything in the cache, but for the pins of the hub's commits; the one used last comes first.

    versions: what is installed, by the backend's name and "graph"; an engine of another one is stale.
    """
    found: list[Kept] = []
    for folder in (cache_dir, cache_dir / "packed", cache_dir / "engines"):
        for path in folder.iterdir() if folder.is_dir() else ():
            kind = _kind(path, engines=folder.name == "engines")
            if kind is None or (folder == cache_dir and kind != "unfinished"):
                continue
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                status = path.lstat()
                used = status.st_mtime if kind == "unfinished" else max(status.st_atime, status.st_mtime)
                size = sum(file.stat().st_size for file in path.rglob("*")) if kind == "calibration" else status.st_size
                record = _record(path)
                found.append(Kept(path, kind, size, used, _about(record), _stale(record, versions)))
    return sorted(found, key=lambda entry: -entry.used)


def _kind(path: Path, engines: bool) -> str | None:
    if _UNFINISHED.fullmatch(path.name):
        return "unfinished"
    if engines:
        own = next((kind for pattern, kind in _OWN.items() if path.match(pattern)), None)
        if own is not None:
            return own
    return _KINDS.get(path.suffix)


def _record(path: Path) -> dict[str, Any]:
    """What lies beside it; {} where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        record = json.loads(path.with_suffix(".json").read_text("utf-8"))
        return record if isinstance(record, dict) else {}
    return {}


def _stale(record: Mapping[str, Any], versions: Mapping[str, object]) -> str:
    source, plan = str(record.get("source", "")), record.get("plan")
    if Path(source).is_absolute() and not Path(source).exists():
        return f"{source} is not there any more"
    if isinstance(plan, dict):
        installed = versions.get(str(plan.get("backend")), plan.get("version"))
        if plan.get("version") != installed:
            return f"{plan.get('backend')} {installed} is installed"
        if plan.get("graph_version") not in (None, versions.get("graph", plan.get("graph_version"))):
            return "this version of the package computes another graph"
    return ""


def _about(record: Mapping[str, Any]) -> str:
    try:
        plan = record.get("plan")
        if "fidelity" in record:
            return f"{record['precision']} of {record['checkpoint']}, {record['created']}"
        return f"{plan['backend']} {plan['version']}, {plan['part']}, {plan['precision']}" if plan else record["source"]
    except (KeyError, TypeError, AttributeError):
        return ""


def sweep(cache_dir: Path) -> None:
    """Remove what killed runs have left unfinished: files of the cache, and folders of builds. Raises nothing."""
    with contextlib.suppress(OSError):
        prune(cache_dir, math.inf)
    for folder in _dead_builds():
        shutil.rmtree(folder, ignore_errors=True)


def _dead_builds() -> Iterator[Path]:
    if not hasattr(os, "getuid"):
        return  # Windows: nobody can tell whose a folder is
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob("emonet-fast-*"):
            status = folder.lstat()
            if not _BUILDS.fullmatch(folder.name) or folder.is_symlink() or status.st_uid != os.getuid():
                continue
            files = list(folder.iterdir())
            touched = max([status.st_mtime, *(file.lstat().st_mtime for file in files)])
            # A build of TensorRT writes nothing for long.
            if {file.name for file in files} <= _BUILT and time.time() - touched > 24 * DEAD_SECONDS:
                yield folder


def prune(
    cache_dir: Path, days: float, most: float = math.inf, versions: Mapping[str, object] | None = None
) -> list[tuple[Kept, str]]:
    """Remove what was not used for so many days, and what killed runs have left; never what a process has mapped.

    Args:
        cache_dir: the cache.
        days: since its last use.
        most: bytes that may stay; what was used last stays first.
        versions: as of `entries`, to remove what is stale as well; None leaves that alone.

    Returns:
        What was removed, and why; what is in use and would have been, with the reason "".

    Raises:
        OSError: when something cannot be removed.
    """
    now, size, found = time.time(), 0, []
    for entry in entries(cache_dir, versions or {}):
        age = now - entry.used
        if entry.kind == "unfinished":
            reason = "left by a killed run" if age > DEAD_SECONDS else ""
        elif age > days * 86400:
            reason = f"not used for {age / 86400:.0f} days"
        elif versions is not None and entry.stale:
            reason = entry.stale
        else:
            size += entry.size
            reason = "the others take the room" if size > most else ""
        if reason:
            found.append((entry, reason))
    used = mapped_files() if found else set()
    removed = [(entry, "" if os.path.realpath(entry.path) in used else reason) for entry, reason in found]
    for entry, reason in removed:
        if reason:
            entry.remove()
    return removed


def mapped_files() -> set[str]:
    """Files that running processes have mapped, as weights are, as far as this user may see them (Linux alone)."""
    files: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            lines = maps.read_text("utf-8", "surrogateescape").splitlines()
            files.update(parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6)
    return files
