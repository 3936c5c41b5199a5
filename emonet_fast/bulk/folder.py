"""The output folder: the plan, the locks, and each shard's rows in 00012.parquet.

The marker 00012.json is written after the rows, 00012.failed.json for a shard that was given up. A shard is done if its
marker belongs to this plan and fingerprint and the file has the marker's size and SHA-256. Anything else is as if it
were not there, and is scored again.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from ..files import PendingFile, sync_folder, write_whole
from ..sources.folder import reason_of
from .inputs import PlannedFile
from .marker import (
    MARKER_FORMAT,
    MARKER_VERSION,
    FoundShard,
    ShardState,
    file_fault,
    hash_or_none,
    read_marker,
    small_text,
)
from .plan import PLAN, VERSION_1_FILES, Plan, files_name
from .plan_file import plan_of
from .rows import write_files
from .settings import differences

_FILES = r"_files-[0-9a-f]{16}\.list"
_TEMPORARY = re.compile(
    rf"\.(plan\.json|baseline\.json|{_FILES}|(\d{{5,}})\.(parquet|json|failed\.json))\.[0-9a-f]{{8}}\.tmp"
)
_OURS = re.compile(
    rf"lock(-\d+-of-\d+)?|baseline\.json|\..*\.tmp|report\.html|\d{{5,}}\.attempt|{_FILES}|{VERSION_1_FILES}"
)
_HASHERS = 4
# What a marker says of the file and of itself, beside what came of the shard.
_OF_THE_FILE = frozenset({"sha256", "bytes", "format", "version", "shard", "written", "plan", "fingerprint"})


class Folder:
    """An output folder; it is made if it is missing.

    Raises OptionError when it cannot be made, is a file, or holds something that no bulk run wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, not paths
        except OSError as error:
            raise OptionError(f"cannot use {path} as output folder: {error.strerror}") from error
        strange = [n for n in names if not _OURS.fullmatch(n)]
        if PLAN not in names and strange:
            raise OptionError(
                f"{path} has no {PLAN} but holds {', '.join(strange[:3])}; "
                "expected an empty or new folder, or one of an earlier bulk run"
            )

    def read_plan(self) -> Plan | None:
        """The folder's plan; None if it has none yet.

        Raises DataError when it cannot be read, or its list of image files is not the one that it was made with.
        """
        path = self.path / PLAN
        try:
            text = small_text(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({reason_of(error)})") from error
        plan = plan_of(text, path)
        if plan.files_hash and hash_or_none(self.files(plan)) != plan.files_hash:
            raise DataError(f"{self.files(plan)} is not the list that {path} was made with; begin in a new folder")
        return plan

    def files(self, plan: Plan) -> Path:
        """The plan's list of image files. An older version's is moved on when its run goes on, see `move_files`."""
        path = self.path / plan.files_name
        return self.path / VERSION_1_FILES if plan.version == 1 and not path.exists() else path

    def move_files(self, plan: Plan) -> None:
        """Give an older version's list of image files the name that no reader of `*.parquet` takes for a shard."""
        with contextlib.suppress(FileNotFoundError):  # another part of the plan has done it
            if plan.version == 1 and plan.files_hash:
                (self.path / VERSION_1_FILES).rename(self.path / plan.files_name)

    def plan(self) -> Plan:
        """The folder's plan, which must be there. Raises DataError when there is none, and as `read_plan` does."""
        plan = self.read_plan()
        if plan is None:
            raise DataError(f"{self.path / PLAN} is gone; run again, or begin in a new folder")
        return plan

    def keep_files(self, files: Sequence[PlannedFile], shard_size: int) -> str:
        """Write a plan's list of image files, before the plan. Gives its SHA-256; "" for no files."""
        if not files:
            return ""
        data = write_files(files, shard_size)
        digest = hashlib.sha256(data).hexdigest()
        write_whole(self.path / files_name(digest), data, follow=False)
        return digest

    def keep_plan(self, plan: Plan) -> Plan:
        """Write the plan if the folder has none, in one step with its list of files, which its name belongs to.

        Several runs on parts of one plan may do so at once, while the inputs still grow: the first one's plan counts.
        Gives that plan. Raises DataError, which names the differences, when it was made for another purpose.
        """
        with PendingFile(self.path / PLAN, follow=False) as pending:
            pending.file.write(plan.text().encode())
            pending.finish()
            with contextlib.suppress(FileExistsError):
                pending.publish_new()
        sync_folder(self.path)
        kept = self.plan()
        check_same(self.path, kept, plan)
        for name in os.listdir(self.path):  # noqa: PTH208 - names are wanted, not paths
            # Lists of plans that came later, or were never written, an older version's too.
            if re.fullmatch(f"{_FILES}|{VERSION_1_FILES}", name) and name != self.files(kept).name:
                (self.path / name).unlink(missing_ok=True)
        return kept

    def stem(self, plan: Plan, shard: int) -> Path:
        """The path of a shard's files without their suffix, as of 00012.parquet."""
        return self.path / f"{shard:0{max(5, len(str(len(plan.shards) - 1)))}d}"

    def publish(self, plan: Plan, shard: int, pending: PendingFile, marker: dict[str, Any]) -> dict[str, Any]:
        """Put a finished shard's file in place and, once it is on the disk, its marker. Gives the whole marker.

        The hash and the size of the file are added to the facts in `marker`. When the disk refuses (EmonetError), what
        was there before is still whole, or counts for nothing.
        """
        digest, size = pending.hashed()
        pending.publish()
        sync_folder(self.path)
        whole = self._mark(plan, shard, ".json", {"sha256": digest, "bytes": size, **marker})
        self.stem(plan, shard).with_suffix(".failed.json").unlink(missing_ok=True)
        return whole

    def publish_again(self, plan: Plan, shard: int, pending: PendingFile, marker: Mapping[str, Any]) -> None:
        """Put a finished shard's file in place of the one that `marker` is of, with a marker of the same facts."""
        facts = {k: v for k, v in marker.items() if k not in _OF_THE_FILE}
        self.publish(plan, shard, pending, facts)

    def give_up(self, plan: Plan, shard: int, reason: str, attempts: int) -> dict[str, Any]:
        """Mark a shard as failed. Gives the marker."""
        return self._mark(plan, shard, ".failed.json", {"failed": reason, "attempts": attempts})

    def _mark(self, plan: Plan, shard: int, suffix: str, facts: dict[str, Any]) -> dict[str, Any]:
        marker = {
            "format": MARKER_FORMAT,
            "version": MARKER_VERSION,
            "shard": shard,
            **facts,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": plan.id,
            "fingerprint": dict(plan.fingerprint),
        }
        path, text = self.stem(plan, shard).with_suffix(suffix), json.dumps(marker, indent=1).encode() + b"\n"
        write_whole(path, text, follow=False)
        sync_folder(self.path)
        return marker

    def look(self, plan: Plan, shards: Iterable[int], *, hashes: bool = True) -> dict[int, FoundShard]:
        """What each shard is, by its files. hashes: whether files are read whole to compare their hash."""
        numbers = list(shards)
        with ThreadPoolExecutor(_HASHERS) as pool:
            return dict(zip(numbers, pool.map(lambda n: self._look(plan, n, hashes), numbers), strict=True))

    def _look(self, plan: Plan, shard: int, hashes: bool) -> FoundShard:
        stem = self.stem(plan, shard)
        marker, fault = read_marker(stem.with_suffix(".json"), plan, shard)
        if marker is not None:
            fault = file_fault(stem.with_suffix(".parquet"), marker, hashes)
            if not fault:
                return FoundShard(ShardState.DONE, marker)
        failed, _ = read_marker(stem.with_suffix(".failed.json"), plan, shard)
        if failed is not None and "failed" in failed:
            return FoundShard(ShardState.FAILED, failed, fault)
        return FoundShard(ShardState.TODO, None, fault)

    def clear_temporary(self, shards: Iterable[int], *, alone: bool) -> None:
        """Remove what killed runs left unfinished of these shards. Only for the holder of the lock.

        alone: of the plan too; beside other parts of it, one of them may be writing that.
        """
        wanted = set(shards)
        for name in os.listdir(self.path):  # noqa: PTH208 - names are wanted, not paths
            match = _TEMPORARY.fullmatch(name)
            if match is not None and (alone if match[2] is None else int(match[2]) in wanted):
                (self.path / name).unlink(missing_ok=True)


def check_same(folder: Path, kept: Plan, asked: Plan) -> None:
    """Raises DataError where the folder's plan is not the asked one."""
    different = differences(kept.asked(), asked.asked())
    different += differences(dict(kept.fingerprint), dict(asked.fingerprint))
    refuse_different(folder, different)


def refuse_different(folder: Path, different: list[str]) -> None:
    """Raises DataError where this run and the folder's differ in something."""
    if different:
        raise DataError(
            f"{folder} was begun by another run; {'; '.join(different)}. "
            "Use the same settings, or another output folder"
        )
