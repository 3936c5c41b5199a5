"""Damaged multipart bodies, JSON, heads and WebSocket frames: each answered by a status, and the server goes on.

No answer has a traceback, a path of this machine or what a file of it holds; nothing of a request stays held.
"""

import base64
import json
import random
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from emonet_fast.options import FaceOptions, Options, ServeOptions
from emonet_fast.serve.limits import Access
from emonet_fast.serve.run import Server, listen
from emonet_fast.serve.service import Service

from ..pictures import encoded, photographs
from ..tiny import write_tiny
from . import mutated

COUNT = 2000  # half of them HTTP, half WebSocket
QUICK = 60
_STATUSES = {200, 400, 403, 404, 405, 408, 413, 415, 422}
_PATHS = ("/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "%2e%2e%2fetc%2fpasswd", "boxes:/etc/passwd")
_PARTS = ("fields", "baseline", "faces", "top", "deadline", "checkpoint", "path", "smooth", "people")


def prepare(folder: Path) -> Callable[[int], None]:
    picture = encoded(photographs()[1][:40, :50], "JPEG")
    settings = ServeOptions(port=0, patience=0.3, deadline=10.0, max_body=200_000, max_files=8)
    options = Options(cache_dir=folder / "cache")
    service = Service(str(write_tiny(folder / "tiny")), options, FaceOptions(), settings, Access(None), {})
    listener = listen(settings, None)
    server = Server(service, listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while service.batcher is None:
        assert service.failure is None, service.failure
        threading.Event().wait(0.05)
    address = listener.getsockname()[:2]
    secrets = (b"Traceback", str(folder).encode(), b"root:", b"site-packages", b'.py"')

    def ask(sent: bytes, meanwhile: Callable[[], object] | None = None) -> bytes:
        """What is answered. After `meanwhile` nothing more is sent, so that a stream that waits for more ends."""
        with socket.create_connection(address, timeout=15.0) as connection:
            answer = b""
            try:
                connection.sendall(sent)
                if meanwhile is not None:
                    meanwhile()
                    connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(1 << 16):
                    answer += chunk
            except (ConnectionError, OSError):  # closed with bytes of ours unread
                pass
        return answer

    def score() -> None:
        well = ask(_head("POST", "/v1/score", len(picture), "image/jpeg") + picture)
        assert b'"status":"ok"' in well, well[:300]

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - the same damage for the same seed
        # A picture that is scored later than the frames came: their answers are there as far as they will be.
        answer = ask(_frames(rng, picture), score) if seed % 2 else ask(_request(rng, picture))
        for secret in secrets:
            assert secret not in answer, (secret, answer)
        if seed % 2 == 0 and answer:
            assert int(answer.split(b" ", 2)[1]) in _STATUSES, answer[:300]
        if seed % 2 == 0:
            score()
        for _ in range(200):  # the server notices a moment later that a client has left
            left = service.batcher.pending, service.streams, len(server.server_state.tasks)
            if left == (0, 0, 0):
                break
            threading.Event().wait(0.05)
        else:
            raise AssertionError("{} pictures, {} streams and {} tasks are left".format(*left))
        assert service.held._left == settings.max_held

    return case


def _head(method: str, target: str, size: int, kind: str) -> bytes:
    lines = (f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {size}", f"Content-Type: {kind}")
    return ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode()


def _query(rng: random.Random) -> str:
    chosen = rng.sample(_PARTS, rng.choice((0, 0, 0, 1, 2)))
    return "?" + "&".join(f"{name}={rng.choice(_PATHS)}" for name in chosen) if chosen else ""


def _request(rng: random.Random, picture: bytes) -> bytes:
    if rng.random() < 0.3:
        text = base64.b64encode(picture).decode()
        body, kind = json.dumps({"pictures": [text, {"key": rng.choice(_PATHS), "data": text}]}).encode(), "json"
        kind = "application/json"
    else:
        names = [rng.choice((*_PATHS, "a.jpg", "", "x" * 2000, 'a"; name="b')) for _ in range(rng.randint(1, 4))]
        form = b"Content-Disposition: form-data; name=f; filename="
        parts = [b"--b\r\n" + form + json.dumps(n).encode() + b"\r\n\r\n" + picture + b"\r\n" for n in names]
        body, kind = b"".join(parts) + b"--b--\r\n", "multipart/form-data; boundary=b"
    if rng.random() < 0.8:
        body = mutated(body, rng)
    size = len(body) if rng.random() < 0.9 else rng.choice((0, 5, len(body) + 100, 10**12))
    target = rng.choice(("/v1/score",) * 8 + ("/v1/../etc/passwd", "//etc/passwd", "/%2e%2e/etc/passwd"))
    head = _head("POST", target + _query(rng), size, kind)
    return (mutated(head, rng, 2) if rng.random() < 0.2 else head) + body


def _frames(rng: random.Random, picture: bytes) -> bytes:
    key = base64.b64encode(rng.randbytes(16)).decode()
    lines = (
        f"GET /v1/stream{_query(rng) if rng.random() < 0.2 else ''} HTTP/1.1", "Host: localhost", "Upgrade: websocket",
        "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
    )  # fmt: skip
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    if rng.random() < 0.1:
        head = mutated(head, rng, 2)
    sent = b""
    for i in range(rng.randint(1, 4)):
        size = rng.choice((0, 0, 0, 5, 2**31))
        message = struct.pack("<dII", rng.choice((i, -1.0, float("nan"), 1e300)), size, size) + picture
        message = mutated(message, rng) if rng.random() < 0.7 else message
        sent += bytes((0x82, 0xFF)) + struct.pack(">Q", len(message)) + bytes(4) + message  # masked by zeros
    return head + (mutated(sent, rng, 3) if rng.random() < 0.5 else sent) + b"\x88\x80\x00\x00\x00\x00"
