"""What a server refuses, and that it goes on: sizes, slow and many connections, full queues, deadlines, foreigners."""

import asyncio
import base64
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from emonet_fast.errors import BackendError, OptionError
from emonet_fast.options import FaceOptions, Options, ServeOptions, token_of
from emonet_fast.serve.app import make_app
from emonet_fast.serve.limits import Access
from emonet_fast.serve.run import listen
from emonet_fast.serve.service import Service

from .conftest import TOKEN, running, until

JPEG = {"Content-Type": "image/jpeg"}


def connect(server):
    address = server.url.removeprefix("http://").split(":")
    return socket.create_connection((address[0], int(address[1])), timeout=30)


def ask(server, picture, **more):
    return server.client.post("/v1/score", content=picture, headers=JPEG, **more)


@pytest.mark.parametrize(
    ("status", "word", "request_"),
    [
        (415, "text/plain", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        (415, "none", {"content": b"x"}),
        (415, "encoding", {"content": b"x", "headers": {**JPEG, "Content-Encoding": "gzip"}}),
        (422, "no JSON", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (422, "list of pictures", {"json": {"pictures": "x"}}),
        (422, "picture 1", {"json": {"pictures": ["", "?"]}}),
        (422, "no picture", {"json": {"pictures": []}}),
        (422, "boundary", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        (422, "no files", {"data": {"a": "b"}, "files": [("f", b"x")]}),
        (422, "signs", {"files": [("f", ("k" * 1001, b"x"))]}),
        (413, "64 files", {"files": [("f", ("a", b"x"))] * 65}),
        (413, "64 files", {"json": {"pictures": [""] * 65}}),
        (422, "top", {"params": {"top": "41"}, "content": b"x", "headers": JPEG}),
        (422, "fields", {"params": {"fields": "raw,mood"}, "content": b"x", "headers": JPEG}),
        (422, "baseline", {"params": {"fields": "z"}, "content": b"x", "headers": JPEG}),
        (422, "faces", {"params": {"faces": "boxes:/etc/passwd"}, "content": b"x", "headers": JPEG}),
        (422, "deadline", {"params": {"deadline": "nan"}, "content": b"x", "headers": JPEG}),
        (422, "checkpoint", {"params": {"checkpoint": "/etc/passwd"}, "content": b"x", "headers": JPEG}),
        (403, "localhost", {"content": b"x", "headers": {**JPEG, "Host": "rebound.example"}}),
        (403, "origin", {"content": b"x", "headers": {**JPEG, "Origin": "https://foreign.example"}}),
        (403, "localhost", {"content": b"x", "headers": {**JPEG, "Host": "[::1"}}),
        (403, "origin", {"content": b"x", "headers": {**JPEG, "Origin": "http://[::1"}}),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_has_a_status_and_a_text(served, status, word, request_):
    answer = served.client.post("/v1/score", **request_)
    assert answer.status_code == status
    assert word in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_bodies_and_what_is_held_are_bounded(tiny_folder, pictures):
    with running(tiny_folder, ServeOptions(port=0, max_body=20_000, max_held=30_000)) as server:
        assert ask(server, b"x" * 20_001).status_code == 413

        def chunks():
            for _ in range(30):
                yield b"x" * 1000

        assert ask(server, chunks()).status_code == 413
        first = connect(server)  # holds 19 kB of the 30
        first.sendall(
            b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 20000\r\n\r\n"
        )
        first.sendall(b"x" * 19_000)
        until(lambda: server.service.held._left < 12_000)
        full = ask(server, b"x" * 15_000)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        first.close()
        until(lambda: server.service.held._left == 30_000)
        assert ask(server, pictures[0]).json()["rows"][0]["status"] == "ok"


def test_a_full_queue_and_a_deadline_leave_nothing_behind(tiny_folder, pictures):
    gate = threading.Event()
    with running(tiny_folder, ServeOptions(port=0, max_queue=3, deadline=20.0)) as server, ThreadPoolExecutor() as pool:
        backend, batcher = server.service.scorers[0].backend, server.service.batcher
        run = backend.run
        backend.run = lambda pixels: gate.wait(60) and run(pixels)
        late = ask(server, pictures[0], params={"deadline": "0.05"})
        assert (late.status_code, "0.05 s" in late.json()["error"]) == (504, True)
        waiting = [pool.submit(ask, server, one) for one in pictures[:3]]
        until(lambda: batcher.pending == 3)
        full = ask(server, pictures[3])
        assert full.status_code == 429
        assert 1 <= int(full.headers["retry-after"]) <= 60
        assert server.client.post("/v1/score", files=[("f", b"x")] * 4).status_code == 413
        gate.set()
        assert [one.result().json()["rows"][0]["status"] for one in waiting] == ["ok"] * 3
        assert batcher.pending == 0


def test_a_client_that_leaves_takes_its_pictures_along(tiny_folder, pictures):
    gate = threading.Event()
    with running(tiny_folder) as server:
        backend, batcher = server.service.scorers[0].backend, server.service.batcher
        run, came = backend.run, []
        backend.run = lambda pixels: gate.wait(60) and came.append(len(pixels)) is None and run(pixels)
        leaving = connect(server)
        body = b"".join(
            b"--b\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n%b\r\n" % one for one in pictures
        )
        head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        leaving.sendall(f"{head}Content-Length: {len(body) + 5}\r\n\r\n".encode() + body + b"--b--")
        until(lambda: batcher.pending == 12)
        leaving.close()
        until(lambda: batcher.pending == 0)
        gate.set()
        assert ask(server, pictures[0]).status_code == 200
        assert sum(came) <= 2, "rows of the one who left were scored"


def test_an_engine_that_fails_is_a_status(tiny_folder, pictures, monkeypatch):
    with running(tiny_folder) as server:
        backend = server.service.scorers[0].backend

        def fail(pixels):
            raise BackendError("the device is lost")

        monkeypatch.setattr(backend, "run", fail)
        assert ask(server, pictures[0]).json()["rows"][0]["status"] == "failed"
        monkeypatch.undo()
        assert ask(server, pictures[0]).json()["rows"][0]["status"] == "ok"


def test_slow_clients_lose_their_connection_and_harm_nobody(tiny_folder, pictures):
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    with running(tiny_folder, ServeOptions(port=0, patience=0.5)) as server:
        silent, heads, bodies = ([connect(server) for _ in range(5)] for _ in range(3))
        for one in heads:
            one.sendall(head)
        for one in bodies:
            one.sendall(head + b"Content-Length: 100\r\n\r\nx")
        assert ask(server, pictures[0]).status_code == 200
        assert {one.recv(100) for one in silent + heads} == {b""}
        assert all(one.recv(100).startswith(b"HTTP/1.1 408 ") for one in bodies)
        for one in silent + heads + bodies:
            one.close()
        until(lambda: not server.service.held._left - ServeOptions().max_held)
        assert ask(server, pictures[0]).status_code == 200


def test_clients_that_do_not_read_their_answers_lose_their_connection(tiny_folder):
    """Answers that nobody reads fill the buffers on the way, here small ones; then the server would wait for ever."""
    get = "GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n"
    ping = b"\x89\xfd" + bytes(4 + 125)  # each is answered by a pong of its size
    with running(tiny_folder, ServeOptions(port=0, patience=0.5)) as server:
        server.server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as http, socket.socket() as stream:
            for one in (http, stream):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect(server.server._listener.getsockname())
            http.sendall(get.format("/v1/codebook", "").encode() * 5)
            stream.sendall(get.format("/v1/stream", upgrade.format("A" * 22 + "==")).encode())
            until(lambda: server.service.streams == 1)
            stream.sendall(ping * 2000)
            until(lambda: server.server.server_state.connections == set())
            until(lambda: server.service.streams == 0)


def test_a_picture_that_would_unpack_to_gigabytes_is_a_status(served):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", zlib.compress(bytes(300_001)))
        + chunk(b"IEND", b"")
    )
    (row,) = ask(served, bomb).json()["rows"]
    assert (row["status"], "10,000,000,000 pixels" in row["reason"]) == ("too_large", True)


def test_more_connections_than_allowed_are_closed(tiny_folder):
    with running(tiny_folder, ServeOptions(port=0, max_connections=3)) as server:
        server.client.get("/healthz")
        kept = [connect(server) for _ in range(2)]
        until(lambda: len(server.server.server_state.connections) == 3)
        with connect(server) as refused:
            assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        for one in kept:
            one.close()
        until(lambda: len(server.server.server_state.connections) == 1)
        assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_token_is_asked_of_everybody_but_probes(tiny_folder, pictures):
    with running(tiny_folder, token=TOKEN, origins=("https://own.example",)) as server:
        assert ask(server, pictures[0]).status_code == 200
        with httpx.Client(base_url=server.url) as stranger:
            assert stranger.get("/healthz").status_code == stranger.get("/readyz").status_code == 200
            for path in ("/v1/taxonomy", "/metrics", "/none"):
                answer = stranger.get(path)
                assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True)
            for wrong in ("Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é"):
                assert stranger.get("/metrics", headers={"Authorization": wrong.encode()}).status_code == 401
            basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
            assert stranger.get("/metrics", headers={"Authorization": f"Basic {basic}"}).status_code == 200
        answer = server.client.get("/v1/taxonomy", headers={"Origin": "https://own.example"})
        assert answer.headers["access-control-allow-origin"] == "https://own.example"
        assert server.client.get("/v1/taxonomy", headers={"Origin": "https://foreign.example"}).status_code == 403


def test_other_machines_need_a_token():
    for host in ("0.0.0.0", "::", "192.0.2.1"):  # noqa: S104 - refused before anything is bound
        with pytest.raises(OptionError, match="token"):
            listen(ServeOptions(host=host, port=0), None)


def test_answers_do_not_wait_for_more_bytes(served):
    """asyncio switches Nagle's algorithm off where a socket names TCP; else small answers take 40 ms more."""
    assert served.server._listener.proto == socket.IPPROTO_TCP


def test_tokens_are_long_and_plain(tmp_path, monkeypatch):
    monkeypatch.delenv("EMONET_FAST_TOKEN", raising=False)
    assert token_of(None) is None
    monkeypatch.setenv("EMONET_FAST_TOKEN", TOKEN)
    assert token_of(None) == TOKEN
    (tmp_path / "t").write_text("a" * 20 + "\n")
    assert token_of(tmp_path / "t") == "a" * 20
    for text in ("", "short", "a b" * 10, "é" * 20):
        (tmp_path / "t").write_text(text)
        with pytest.raises(OptionError, match="openssl rand"):
            token_of(tmp_path / "t")
    with pytest.raises(OptionError, match="cannot be read"):
        token_of(tmp_path / "none")


def test_a_server_that_starts_or_stops_says_so(tiny_folder, pictures):
    service = Service(str(tiny_folder), Options(), FaceOptions(), ServeOptions(), Access(None), {})

    async def ask_it():
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            alive, ready = await client.get("/healthz"), await client.get("/readyz")
            early = await client.post("/v1/score", content=pictures[0], headers=JPEG)
            service.stopping = True
            return alive, ready, early, await client.post("/v1/score", content=pictures[0], headers=JPEG)

    alive, ready, early, late = asyncio.run(ask_it())
    assert [one.status_code for one in (alive, ready, early, late)] == [200, 503, 503, 503]
    assert early.headers["retry-after"] == "2"
    assert ("starting" in early.text, "stopping" in late.text) == (True, True)
