"""The load of benchmarks/serving.py: a file of locust (https://locust.io), in a process of its own.

    locust -f benchmarks/serving_load.py --headless --host http://127.0.0.1:8000 -u 32 -r 32 --run-time 60s

It asks loopback addresses alone, at most LOAD_REQUESTS times, and ends by itself. Of each hundred requests LOAD_BAD
have a damaged picture, LOAD_CUT are cut off in the middle, LOAD_LARGE are too large. Every answer is held to
Scorer's, in LOAD_KNOWN. What is refused for now has its status as a name; "stopped" is what came to nothing while the
whole machine stood still; "wrong" is a fault, and `faults` says what came.

With LOAD_STOP every request asks for `100 Continue`, by which a server says that it has taken it, and the server with
this process number gets SIGTERM in the middle. What was taken then must be answered: by rows, or by 503 where its body
came too late. "lost" is a fault.
"""

import ipaddress
import itertools
import json
import os
import random
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import gevent
from locust import FastHttpUser, constant, events, task
from locust.exception import StopUser

REQUESTS = int(os.environ["LOAD_REQUESTS"])
BAD, CUT, LARGE = (float(os.environ.get(f"LOAD_{name}", "0")) for name in ("BAD", "CUT", "LARGE"))
PICTURES = [path.read_bytes() for path in sorted(Path(os.environ["LOAD_PICTURES"]).glob("*.jpg"))]
TOO_LARGE = b"\xff\xd8" + bytes(int(os.environ.get("LOAD_LIMIT", "0")))
KNOWN = json.loads(Path(os.environ["LOAD_KNOWN"]).read_text())  # of each picture its row's `raw`
STOP = int(os.environ.get("LOAD_STOP", "0"))
JPEG = {"Content-Type": "image/jpeg"}
FOR_NOW = (408, 429, 503, 504)
STILL = 5.0  # seconds without a turn of this process's loop: it, and the server with it, was stopped
numbers = itertools.count()
counts: dict[str, int] = {}
faults: dict[str, int] = {}


@events.test_start.add_listener
def only_this_machine(environment, **_):
    host = urlsplit(environment.host).hostname
    assert ipaddress.ip_address(host).is_loopback, f"{host} is not this machine"
    gevent.spawn(clock.run)


@events.test_stop.add_listener
def tell(environment, **_):
    Path(os.environ["LOAD_OUTPUT"]).write_text(json.dumps({"counts": counts, "faults": faults}))


def count(what: str, of: dict[str, int] = counts) -> None:
    of[what] = of.get(what, 0) + 1


class Clock:
    """Knows when this process stood still."""

    def __init__(self) -> None:
        self._turn = self._stood = 0.0

    def run(self) -> None:
        while True:
            self.stood_since(0)
            gevent.sleep(0.5)

    def stood_since(self, began: float) -> bool:
        """Whether it did after `began` (time.monotonic())."""
        now = time.monotonic()
        if self._turn and now - self._turn > STILL:
            self._stood = now
        self._turn = now
        return self._stood > began


clock = Clock()


class Sender(FastHttpUser):
    """Sends one request after the other."""

    wait_time = constant(0)
    network_timeout = connection_timeout = 120.0
    stopped = False  # the server has got its signal

    @task
    def send(self) -> None:
        number = next(numbers)
        if number >= REQUESTS:
            if number == REQUESTS:
                gevent.spawn_later(1, self.environment.runner.quit)
            raise StopUser
        if STOP:
            self.taken(number)
            return
        chance = random.Random(number).random() * 100  # noqa: S311 - the same load in every run
        which = number % len(PICTURES)
        if chance < BAD:
            self.ask(PICTURES[which][: 40 + number % 200], 200, "bad", ("truncated", "not_an_image"))
        elif chance < BAD + CUT:
            self.cut(PICTURES[which])
        elif chance < BAD + CUT + LARGE:
            self.ask(TOO_LARGE, 413, "large", ())
        else:
            self.ask(PICTURES[which], 200, "good", ("ok",), which)

    def ask(self, body: bytes, status: int, kind: str, states: tuple[str, ...], which: int | None = None) -> None:
        """Send a body, and hold the answer to what it must be."""
        began = time.monotonic()
        with self.client.post(
            "/v1/score?fields=raw", data=body, headers=JPEG, name=kind, catch_response=True
        ) as answer:
            fault = ""
            stood = clock.stood_since(began)
            if answer.status_code != status and stood:
                count(f"{kind} stopped")
            elif answer.status_code in FOR_NOW:
                count(f"{kind} {answer.status_code}")
            elif answer.status_code != status:
                fault = f"{answer.status_code}: {answer.error}"
            elif states:
                (row,) = answer.json()["rows"]
                if row["status"] not in states:
                    fault = f"{row['status']} came"
                elif which is not None and row["raw"] != KNOWN[which]:
                    fault = "other scores than Scorer's"
                else:
                    count(kind)
            else:
                count(kind)
            if fault:
                count(f"{kind} wrong")
                count(f"{kind}: {fault}"[:200], faults)
                answer.failure(fault)
            else:
                answer.success()

    def cut(self, body: bytes) -> None:
        """Send half of a request, or a whole one, and leave."""
        with self.connected() as connection:
            connection.sendall(head(body) + (body if len(body) % 2 else body[: len(body) // 2]))
        count("cut")

    def connected(self) -> socket.socket:
        where = urlsplit(self.host)
        return socket.create_connection((where.hostname, where.port), timeout=60)

    def taken(self, number: int) -> None:
        """Send a picture as soon as the server has taken the request; the server gets a signal in the middle."""
        if number == REQUESTS // 2:
            os.kill(STOP, signal.SIGTERM)
            Sender.stopped = True
        which = number % len(PICTURES)
        body, answer = PICTURES[which], b""
        try:
            with self.connected() as connection:
                connection.sendall(head(body, "Expect: 100-continue\r\nConnection: close\r\n"))
                answer = connection.recv(1 << 16)
                if not answer.startswith(b"HTTP/1.1 100 "):
                    count("not taken" if self.stopped else "lost")
                    return
                connection.sendall(body)
                while chunk := connection.recv(1 << 16):
                    answer += chunk
        except OSError:
            count("lost" if answer or not self.stopped else "not taken")
            return
        first, _, content = answer.partition(b"\r\n\r\n")[2].partition(b"\r\n\r\n")
        status = first[9:12].decode()
        right = status == "503" or (status == "200" and json.loads(content)["rows"][0]["raw"] == KNOWN[which])
        count(f"taken and answered {status}" if right else "lost")


def head(body: bytes, more: str = "") -> bytes:
    """Of a request with this body."""
    lines = "POST /v1/score?fields=raw HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    return f"{lines}Content-Length: {len(body)}\r\n{more}\r\n".encode()
