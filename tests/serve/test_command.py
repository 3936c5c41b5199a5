"""`emonet-fast serve` in a process of its own: SIGTERM loses no row, faults end it with a line."""

import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from emonet_fast.commands import main as commands
from emonet_fast.options import default_cache_dir


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "emonet_fast", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_sigterm_under_load_loses_no_row_that_was_taken(tiny_folder, pictures):
    process = start("-c", tiny_folder, "--port", "0", "--cache-dir", default_cache_dir())
    url = process.stdout.readline().split()[-1]
    enough, answers, refused = threading.Event(), [], []

    def ask(i):
        with httpx.Client(base_url=url, timeout=60) as client:
            while True:
                try:
                    answer = client.post("/v1/score", files=[("f", (f"{i}", one)) for one in pictures[:3]])
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
                    refused.append(error)
                    return
                answers.append(answer)
                if answer.status_code == 200 and len(answers) > 20:
                    enough.set()
                if answer.status_code == 503 and "stopping" in answer.text:
                    return

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for one in threads:
        one.start()
    try:
        assert enough.wait(60)
        process.send_signal(signal.SIGTERM)
        for one in threads:
            one.join(60)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, "everything that was taken is answered" in out, "Traceback" in err) == (0, True, False)
    whole = [one for one in answers if one.status_code == 200]
    assert {one.status_code for one in answers} <= {200, 503}
    assert all([row["status"] for row in one.json()["rows"]] == ["ok"] * 3 for one in whole)
    # A connection that was idle when the server closed it had no request that was taken: each thread has one at most.
    assert len(refused) <= 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-c", "/none", "--port", "0"], "/none"),
        (["-c", "small", "--host", "0.0.0.0"], "--token-file"),  # noqa: S104
        (["-c", "small", "--baseline", "a.json"], "NAME=F.json"),
        (["-c", "small", "--max-queue", "0"], "--max-queue is 0"),
    ],
)
def test_what_cannot_work_ends_with_one_line(arguments, text, run):
    status, err = run("serve", *arguments)
    assert (status, text in err, err.count("\n")) == (2, True, 1)


def test_faces_of_a_file_are_not_offered(run):
    status, err = run("serve", "-c", "small", "--faces", "boxes:a.csv")
    assert (status, "'boxes:a.csv' is not one of 'none', 'detect'" in err) == (2, True)


def test_a_port_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, err = run("serve", "-c", "small", "--port", taken.getsockname()[1])
    assert (status, "cannot be used" in err) == (2, True)


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["emonet-fast", *map(str, arguments)])
        status = commands._run()
        return status, capsys.readouterr().err

    return command
