"""What surrounds a run: streams that are closed, full or narrow, no home, no working folder, errors nobody foresaw."""

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import emonet_fast.sinks.timeline
from emonet_fast import doctor, taxonomy
from emonet_fast.commands import main
from emonet_fast.commands.engines import engine_options
from emonet_fast.commands.surroundings import end_by_signals
from emonet_fast.errors import OptionError
from emonet_fast.options import Options
from emonet_fast.scorer import Scorer
from emonet_fast.text import one_line

ROOT = Path(emonet_fast.__file__).parents[1]
CUES = "WEBVTT\n\n"


def test_no_stream_and_no_folder_can_spoil_a_run(tmp_path):
    """Each runs `recover` of a name that not every encoding has; what it makes is whole whatever it cannot say."""
    name = "한국어.vtt"
    command = f"{shlex.quote(sys.executable)} -m emonet_fast recover {name}"
    cases = {
        "full": f"{command} >/dev/full",
        "pipe": f"trap '' PIPE; ({command}; echo $? >status) | true; exit $(cat status)",
        "closed": f"{command} <&- >&- 2>&-",
        "latin": f"PYTHONIOENCODING=latin-1 {command}",
        "unbuffered": f"PYTHONUNBUFFERED=1 PYTHONIOENCODING=ascii:strict {command} >/dev/full 2>&1",
        "gone": f'mkdir in && cd in && rmdir "$PWD" && exec {command.partition(" recover")[0]} bulk a -c c -o o',
    }
    running = {}
    for case, script in cases.items():
        (tmp_path / case).mkdir()
        (tmp_path / case / f"{name}.partial").write_text(CUES)
        running[case] = subprocess.Popen(
            ["/bin/bash", "-c", script], cwd=tmp_path / case, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
    done = {case: (*process.communicate(timeout=60), process.returncode) for case, process in running.items()}
    assert done["full"] == ("", "error: standard output: No space left on device\n", 1)
    assert done["closed"] == ("", "", 0)
    assert done["latin"] == ("wrote \\ud55c\\uad6d\\uc5b4.vtt\n", "", 0)
    assert done["unbuffered"] == ("", "", 1)
    assert done["gone"] == ("", "error: the working folder was removed; change to another one\n", 2)
    # The reader may go before or after the one line is written.
    assert done["pipe"] in (("", "", 141), ("", "", 0))
    for case in cases.keys() - {"gone"}:
        assert (tmp_path / case / name).read_text() == CUES, case


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_is_there_once_it_is_written(unbuffered):
    """Also where Python was told not to buffer: whoever watches a run of days must see each line."""
    code = "import os, sys; from emonet_fast.commands.surroundings import open_streams; open_streams()"
    code += "; sys.stderr.write('a line\\n'); os._exit(0)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == "a line\n"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line in this process. Returns its exit status and what it said on standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["emonet-fast", *map(str, arguments)])
        return main._run(), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ZeroDivisionError("by \x1b[31m\n0"),
            "ZeroDivisionError: by \\x1b[31m\\n0; this is a fault of emonet-fast. Please",
        ),
        (PermissionError(13, "Permission denied", "a\tb"), "a\\tb: Permission denied\n"),
        (MemoryError(), "memory ran out; a smaller --batch-size needs less\n"),
        (RecursionError("deep"), "RecursionError: deep; this is a fault"),
    ],
)
def test_whatever_is_left_is_one_line(error, words, run, monkeypatch):
    """With --verbose a traceback comes first."""

    def fail(path, *arguments):
        raise error

    monkeypatch.setattr(emonet_fast.sinks.timeline, "recover", fail)
    status, said = run("recover", "x.csv")
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"error: {words}")
    status, said = run("--verbose", "recover", "x.csv")
    assert status == 2
    assert said.startswith("Traceback")


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "no\x1b[2J\nwhere.jpg", "-c", "c"],
        ["pack", "-c", "./mo\x1b\ndle", "-o", "x.safetensors"],
        ["bulk", "a.jpg", "-c", "c", "-o", "o", "--devices", "\x1b]0;x\x07"],
        ["\x1b[2J"],
        ["score", "a", "-c", "c", "--device", "x" * 1_000_000],
    ],
)
def test_messages_are_short_and_cannot_steer_the_terminal(arguments, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # bulk makes its output folder before it looks at the devices
    status, said = run(*arguments)
    assert status == 2
    assert said.rstrip("\n").replace("\n", " ").isprintable()
    assert len(said) < 1200


def test_a_message_is_one_line():
    assert one_line("a\nb\x1b\u202e\udcff\n") == "a\\nb\\x1b\\u202e\\xff"
    assert one_line("no C:/me@b, nor a@b: /c@d") == "no C:/me@b, nor a@b: /c@d"
    long = one_line("a" * 500 + "b" * 30_000_000 + "c" * 500)
    assert long == "a" * 500 + " … " + "c" * 500


def test_a_checkpoint_that_is_not_there_is_not_looked_for_on_the_hub(run):
    assert run("pack", "-c", "./modle", "-o", "x.safetensors") == (
        2,
        "error: modle does not exist; expected 'large' or 'small', a packed file (.safetensors), or a folder with "
        "encoder/ and heads/.\n",
    )


def test_a_user_without_a_home_is_told_what_to_do(monkeypatch, tmp_path):
    """Where a folder is named, nothing else is needed."""

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "EMONET_FAST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match=r"no home folder .* --cache-dir"):
        Options()
    engine_options()(lambda: None)  # as the commands do when they are imported
    assert Scorer("c", options=Options(cache_dir=tmp_path)).options.cache_dir == tmp_path
    assert "no home folder" in doctor._cache()


def test_sigterm_and_sighup_end_a_run_as_ctrl_c_does():
    """But where they are ignored, they stay so, as nohup wants it."""
    both = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in both}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end_by_signals()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_doctor_says_what_triton_needs_to_compile(monkeypatch, tmp_path):
    """When it runs, each kernel's launcher: a slim container has neither a compiler nor Python's headers."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/clang" if name == "clang" else None)
    monkeypatch.setattr(doctor.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert doctor._triton_compiler().startswith(f"missing: Python's header files ({tmp_path}/Python.h")
    (tmp_path / "Python.h").touch()
    assert doctor._triton_compiler() == f"/bin/clang, {tmp_path}/Python.h"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._triton_compiler() == "missing: a C compiler (gcc or clang, or name one by CC)"
    monkeypatch.setenv("CC", "cc")
    assert doctor._triton_compiler() == f"cc, {tmp_path}/Python.h"


@pytest.mark.parametrize(
    "command", ["score a.jpg -c c --report {}", "bulk {} -c c -o o", "score a.jpg -c {}",
                "pack -c {} -o o.safetensors", "report {}", "recover {}",
                "evaluate any-hit --predictions {} --labels l --mapping ferd"]
)  # fmt: skip
def test_no_message_shows_the_secrets_of_a_url(command, run, tmp_path, monkeypatch):
    """Also where none is read: such a line ends up in logs and reports of faults as well."""
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(b"")
    status, error = run(*command.format("https://me:hunter2@127.0.0.1:9/a?token=hunter2").split())
    assert status == 2
    assert "127.0.0.1:9/a?token=***" in error
    assert "hunter2" not in error


def test_json_that_is_deep_or_of_wrong_types_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"key": "1_a.jpg", "status": "ok"} | {f"score_{e.slug}": 1.0 for e in taxonomy.EMOTIONS}
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    (tmp_path / "m.json").write_text('{"classes": {"a": ["Awe"]}}')
    for text in ("[" * 100_000, '{"a":' * 100_000, "null", '{"classes": {"a": null}}', '{"a": [1]}', "1" * 5000, "\0"):
        (tmp_path / "bad.json").write_text(text)
        for mapping, labels in (("bad.json", "from-name"), ("m.json", "bad.json")):
            status, said = run("evaluate", "any-hit", "-p", "p.jsonl", "--mapping", mapping, "--labels", labels)
            assert (status, said.count("\n")) == (2, 1)
            assert said.startswith("error: bad.json")
