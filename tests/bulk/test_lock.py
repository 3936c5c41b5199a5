"""One run at a time on a folder, and what a dead one leaves."""

import json
import os
import subprocess
import sys
import threading

import pytest

from emonet_fast.bulk.lock import STALE, Lock, LockedError

_HOLD = "import sys; from pathlib import Path; from emonet_fast.bulk.lock import Lock\n" + (
    "lock = Lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def test_another_process_is_named_and_its_death_frees(tmp_path):
    held = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"process {held.pid} on .* works on"):
        Lock(tmp_path)
    held.kill()
    held.communicate()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == held.pid
    with Lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert (tmp_path / "lock").read_text() == ""


def test_parts_beside_each_other(tmp_path):
    with Lock(tmp_path, (0, 2)):
        with Lock(tmp_path, (1, 2)):
            pass
        for part in ((0, 2), (0, 3), (0, 1)):
            with pytest.raises(LockedError):
                Lock(tmp_path, part)
    with Lock(tmp_path), pytest.raises(LockedError, match=r"works on .* \(lock\)"):
        Lock(tmp_path, (0, 2))


def test_another_host_that_lives_is_seen_at_its_next_beat(tmp_path):
    path = tmp_path / "lock"
    path.write_text('{"pid": 7, "host": "elsewhere", "since": "then"}')
    beat = threading.Timer(0.2, path.touch)
    beat.start()
    with pytest.raises(LockedError, match="elsewhere"):
        Lock(tmp_path, patience=60)
    beat.join()


def test_another_host(tmp_path):
    """Whether it lives cannot be seen: it counts as alive until it has been silent for STALE seconds."""
    path = tmp_path / "lock"
    path.write_text('{"pid": 7, "host": "elsewhere", "since": "then"}')
    with pytest.raises(LockedError, match=r"process 7 on elsewhere .* remove that file"):
        Lock(tmp_path)
    almost = path.stat().st_mtime - STALE + 0.5
    os.utime(path, (almost, almost))
    with Lock(tmp_path, patience=30):  # a job that was queued again elsewhere waits for its dead self
        pass
    path.write_text('{"pid": 7, "host": "elsewhere", "since": "then"}')
    long_ago = path.stat().st_mtime - STALE - 1
    os.utime(path, (long_ago, long_ago))
    with Lock(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]
