"""One run at a time on an output folder.

A run holds an flock on `lock` (or `lock-i-of-n` for its part), which the kernel frees however the run dies. On a
network file system flock may reach this machine alone, and we cannot tell. So a lock of another host is refused until
its holder, who touches it every BEAT seconds, has been silent for STALE seconds by the file system's own clock.
If two runs meet all the same, no row is lost or doubled: they write the same content to the same names, each whole.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import EmonetError, OptionError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEAT = 15.0
STALE = 120.0
_NAME = re.compile(r"lock(-(\d+)-of-(\d+))?")


class LockedError(EmonetError):
    """Another run works on the folder. The text names its pid and host."""


class Lock:
    """The lock of one run, for a `with` block. Other parts (i, n) of the same n may work beside it.

    `patience` is the seconds to wait until a holder on another host counts as dead; a living one shows within BEAT.
    Raises LockedError when another run works on the same shards, and OptionError where there is no flock.
    """

    def __init__(self, folder: Path, part: tuple[int, int] = (0, 1), *, patience: float = 0.0) -> None:
        if fcntl is None:
            raise OptionError("bulk scoring needs flock, which this system does not have; use Linux or macOS")
        self._folder, self._part, self._patience = folder, part, patience
        name = "lock" if part[1] == 1 else f"lock-{part[0]}-of-{part[1]}"
        self.path = folder / name
        self._handle = self._take(self.path)
        try:
            self._refuse_others()
            facts = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(facts).encode() + b"\n", 0)
        except OSError as error:
            os.close(self._handle)
            raise EmonetError(
                f"cannot write {self.path}: {error.strerror}; free some space, or mend the disk"
            ) from error
        except BaseException:
            os.close(self._handle)
            raise
        self._end = threading.Event()
        self._beat = threading.Thread(target=self._touch, name="lock", daemon=True)
        self._beat.start()

    def _touch(self) -> None:
        while not self._end.wait(BEAT):
            with contextlib.suppress(OSError):  # a file system that is unreachable for a while must not end the run
                os.utime(self._handle)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back: an empty file is a free lock. The file stays, because others may be opening it."""
        self._end.set()
        self._beat.join()
        os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def _take(self, path: Path) -> int:
        try:
            # Without O_NONBLOCK a pipe of that name could be waited for.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            handle = os.open(path, flags, 0o666)
        except OSError as error:
            raise OptionError(f"cannot write {path}: {error.strerror}; choose a folder that can be written") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OptionError(
                    f"{path} is a pipe, socket or device, not a file; remove it, or choose another folder"
                )
            _flock(handle, path)
            holder = _holder(handle)
            if holder.get("host", socket.gethostname()) != socket.gethostname():
                _wait_for_silence(handle, path, holder, self._patience)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _refuse_others(self) -> None:
        """A run on the whole folder, or on parts of another count, would score the same shards."""
        for path in sorted(self._folder.glob("lock*")):
            match = _NAME.fullmatch(path.name)
            if match is None or path == self.path or (match[3] is not None and int(match[3]) == self._part[1]):
                continue
            os.close(self._take(path))


def _flock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{_who(_holder(handle))} works on {path.parent} ({path.name}); wait for it or stop it, "
            "or choose another output folder"
        ) from None
    except OSError as error:
        raise OptionError(
            f"{path.parent} is on a file system without flock ({error.strerror}), so two runs could not be kept apart; "
            "choose a folder on another one"
        ) from error


def _wait_for_silence(handle: int, path: Path, holder: dict[str, Any], patience: float) -> None:
    """Returns once the lock of another host has been silent for STALE seconds.

    Raises LockedError when it was touched meanwhile, so its holder lives, or this would take longer than `patience`.
    """
    touched, end, pause = os.fstat(handle).st_mtime_ns, time.monotonic() + patience, threading.Event()
    while _age(handle, path) < STALE:
        if os.fstat(handle).st_mtime_ns != touched or time.monotonic() >= end:
            raise LockedError(
                f"{_who(holder)} works on {path.parent} ({path.name}); if it is dead, run again in "
                f"{STALE / 60:.0f} minutes, or remove that file"
            )
        pause.wait(1.0)


def _age(handle: int, path: Path) -> float:
    """Seconds since the lock was touched, by the clock of the file system that it lies on."""
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        probe.touch()
        return probe.stat().st_mtime - os.fstat(handle).st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _holder(handle: int) -> dict[str, Any]:
    try:
        facts = json.loads(os.pread(handle, 4096, 0) or b"{}")
    except (ValueError, RecursionError):  # cut off by a full disk or a crash, or none of ours
        return {}
    return facts if isinstance(facts, dict) else {}


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return "another run"
    pid, host, since = (str(holder.get(name))[:80] for name in ("pid", "host", "since"))
    return f"process {pid} on {host} (since {since})"
