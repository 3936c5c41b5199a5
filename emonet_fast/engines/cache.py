"""Compiled engines on disk: written aside, renamed, checked by size and SHA-256 before use."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from ..files import write_whole
from .plan import EnginePlan

_log = logging.getLogger("emonet_fast")


class EngineCache:
    """A folder of `<key>.engine` files, each with a `<key>.json` of its plan, size and hash beside it.

    The folder belongs to this user: an engine from elsewhere must never be put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, plan: EnginePlan) -> bytes | None:
        """The stored engine, or None where there is none or it is damaged (which is logged)."""
        path, record = self._paths(plan)
        try:
            blob, meta = path.read_bytes(), json.loads(record.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("stored engine %s cannot be read (%s): it is built again", path, error)
            return None
        expected = {"plan": asdict(plan), "size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        if meta != expected:
            _log.warning("stored engine %s does not match its record %s: it is built again", path, record.name)
            return None
        return blob

    def store(self, plan: EnginePlan, blob: bytes) -> None:
        """Keep an engine. Two processes that store the same plan at once leave one whole engine.

        Raises:
            OSError, EmonetError: the folder cannot be made or written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, record = self._paths(plan)
        meta = {"plan": asdict(plan), "size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        write_whole(path, blob)
        write_whole(record, json.dumps(meta, indent=1, sort_keys=True).encode())

    def _paths(self, plan: EnginePlan) -> tuple[Path, Path]:
        key = plan.key()
        return self.folder / f"{key}.engine", self.folder / f"{key}.json"
