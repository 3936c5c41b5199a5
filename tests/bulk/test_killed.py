"""A real run killed again and again at random moments ends with the very bytes of one that nobody disturbed."""

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

from .made import contents, data_set, rows, run, shards

KILLS = 21
_LINE = re.compile(rb"shard \d+ done")


def _command(data: Path, checkpoint: Path, output: Path) -> list[str]:
    options = ["--shard-size", "10", "--batch-size", "4", "--devices", "cpu", "--threads", "1", "--embeddings", "fp16"]
    inputs = [str(data), "--checkpoint", str(checkpoint), "--output", str(output)]
    return [sys.executable, "-m", "emonet_fast", "bulk", *inputs, *options]


def _until_a_shard_is_done(process: subprocess.Popen[bytes]) -> None:
    """Returns when the process has said so, or has ended."""
    assert process.stderr is not None
    for line in process.stderr:
        if _LINE.match(line):
            return


def _end(process: subprocess.Popen[bytes], after: float) -> bool:
    """SIGKILL to the process alone `after` seconds; its worker must end by itself. Whether it was still running."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    assert process.stderr is not None
    process.stderr.close()
    return process.wait() == -signal.SIGKILL


def test_killed_at_random_moments(in_memory, tiny):
    """Some kills fall into the start, most among shards: while one is written, renamed, or gets its marker."""
    data = data_set(in_memory / "data", 4, 200)
    run(data, tiny, in_memory / "whole", shard_size=10, embeddings="fp16")
    output = in_memory / "out"
    kills = amid = 0
    for seed in range(3 * KILLS):
        if kills >= KILLS:
            break
        rng = random.Random(seed)  # noqa: S311 - no secret
        command = _command(data, tiny, output)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        early = rng.random() < 1 / 3
        if not early:
            _until_a_shard_is_done(process)
        delay = rng.uniform(0, 0.9 if early else 0.03)
        killed = _end(process, delay)
        kills += killed
        amid += killed and not early
        print(f"seed {seed}: {'start' if early else 'amid'} + {delay:.3f} s, {len(shards(output))} shards")
    assert kills >= KILLS
    assert amid >= KILLS // 2
    assert 0 < len(shards(output)) < 80, "the kills fell all before or all after the work"
    summary, _ = run(data, tiny, output, shard_size=10, embeddings="fp16")
    assert summary.done == summary.shards
    assert contents(output) == contents(in_memory / "whole")
    keys = rows(output).column("key").to_pylist()
    assert len(keys) == len(set(keys)) == 800
    assert not list(output.glob(".*.tmp"))


def test_ctrl_c_says_how_to_go_on(in_memory, tiny, faces_set, whole):
    """SIGINT to the whole group, as a terminal sends it: exit status 130, nothing unfinished, and it goes on."""
    output = in_memory / "out"
    command = _command(faces_set, tiny, output)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # As on a terminal: a program that runs in the background has it ignored, and so its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    _until_a_shard_is_done(process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on" in errors
    assert not list(output.glob(".*.tmp"))
    done = len(list(output.glob("[0-9]*.json")))
    assert 0 < done < 24
    finished = subprocess.run(command, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"{done} of 24 shards are done".encode() in finished.stderr
    assert b"24 of 24 shards done: 240 pictures as wholes" in finished.stdout
    ours, theirs = rows(output).drop_columns(["embedding"]), rows(whole)
    assert ours.equals(theirs.select(ours.column_names))


_KILLED_BEFORE_THE_MARKER = """
import os, signal, sys
from emonet_fast.bulk import folder
from emonet_fast.commands.main import main
write_whole = folder.write_whole
def write(path, data, **more):
    if path.name == "00001.json" and path.with_name("baseline.json").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return write_whole(path, data, **more)
folder.write_whole = write
sys.exit(main())
"""


def test_killed_between_a_shard_with_z_columns_and_its_marker(in_memory, tiny):
    """The second pass of --baseline self has put the file, and its marker is of the one before: scored again."""
    data, own = data_set(in_memory / "data", 1, 30), {"shard_size": 10, "embeddings": "fp16", "baseline": "self"}
    run(data, tiny, in_memory / "whole", **own)
    output = in_memory / "out"
    command = [*_command(data, tiny, output)[3:], "--baseline", "self"]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_BEFORE_THE_MARKER, *command], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    stopped, whole = contents(output), contents(in_memory / "whole")
    assert [stopped[name] == whole[name] for name in sorted(whole)] == [True, True, False]  # the second has no marker
    summary, _ = run(data, tiny, output, **own)
    assert (summary.done, summary.scored_now) == (3, 10)
    assert contents(output) == whole
    assert (output / "baseline.json").read_bytes() == (in_memory / "whole" / "baseline.json").read_bytes()
