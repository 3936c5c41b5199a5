"""A small RTSP server for tests (RFC 2326, RTP within its TCP connection): one H.264 clip for one client at a time.

It sends the clip as fast as it is taken, then hangs up, as a camera does that is switched off. With a user it asks for
a password (Basic). A NAL unit goes as one RTP packet (RFC 6184), which the connection's frames of 64 KiB have room for.
"""

import base64
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from .making import av

_CLOCK = 90_000
_BEGIN = 123_456_789  # RTP time stamps begin anywhere


def _units(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B packet."""
    return [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:]]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def __init__(self, clip: Path, user: str | None, silent: Event | None) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.user, self.silent, self.asked = user, silent, []
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            to_units = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
            found = [p for packet in container.demux(stream) if packet.size for p in to_units.filter(packet)]
            self.frames = [(round(p.pts * stream.time_base * _CLOCK), _units(bytes(p))) for p in found]

    def description(self) -> str:
        sets = [unit for unit in self.frames[0][1] if unit[0] & 31 in (7, 8)]
        given = ",".join(base64.b64encode(unit).decode() for unit in sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/{_CLOCK}\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={given}\r\n"
            "a=control:track0\r\n"
        )


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while request := self.rfile.readline().decode():
            fields = {}
            while line := self.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            method = request.split()[0]
            self.server.asked.append(method)
            if not self._allowed(fields) and method != "OPTIONS":
                self._answer(fields, "401 Unauthorized", 'WWW-Authenticate: Basic realm="door"\r\n')
            elif method == "DESCRIBE":
                self._answer(fields, body=self.server.description())
            elif method == "SETUP":
                self._answer(fields, more="Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n")
            else:
                self._answer(fields, more="Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\nSession: 1\r\n")
            if method == "PLAY":
                self._send()
                if self.server.silent is not None:
                    self.server.silent.wait(20)
                return

    def _allowed(self, fields: dict[str, str]) -> bool:
        if self.server.user is None:
            return True
        return fields.get("authorization") == "Basic " + base64.b64encode(self.server.user.encode()).decode()

    def _answer(self, fields: dict[str, str], status: str = "200 OK", more: str = "", body: str = "") -> None:
        kind = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else ""
        self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {fields.get('cseq', 0)}\r\n{more}{kind}\r\n{body}".encode())

    def _send(self) -> None:
        number = 0
        for time, units in self.server.frames:
            for unit in units:
                last = unit is units[-1]
                packet = struct.pack(">BBHII", 0x80, 96 | last << 7, number & 0xFFFF, _BEGIN + time, 1) + unit
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                number += 1


@contextmanager
def rtsp_server(clip: Path, user: str | None = None, silent: Event | None = None) -> Iterator[tuple[str, list[str]]]:
    """The server's address without a user, and the methods that it was asked for. user: name:password.

    silent: hang up only when this is set, and send nothing more until then.
    """
    with _Server(clip, user, silent) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/door", server.asked
        finally:
            server.shutdown()
