"""WS /v1/stream: frames with their time in, rows with track numbers out, as `emonet-fast video` gives them.

A message is 16 bytes and a picture: the time in seconds (float64), width and height (uint32), all little-endian. With
width 0 the picture is a file (JPEG, PNG, ...), else width x height x 3 bytes of RGB. One frame waits while another is
worked on, and gives way to a newer one; the next answer says how many did.
"""

import asyncio
import math
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..decode import decode
from ..errors import OptionError
from ..options import FaceOptions, Options, VideoOptions
from ..records import Decoded, Picture, Status, UInt8Array
from ..scorer import ScoredBatch
from ..scores import Scores
from ..sources.video.choose import GivenSource
from ..sources.video.frames import Frame, Sampling
from ..timeline import NO_TRACK
from ..video.rows import FrameRows
from .answers import Wanted, dumped, number, rows_of
from .batching import FullError
from .limits import RefusedError, busy
from .service import Service

_HEAD = struct.Struct("<dII")
_EXPECTED = "expected seconds (float64), width and height (uint32), then a picture file (width 0) or RGB"
_LONGEST = 1e9  # seconds
# What a stream takes beside what every route does.
FOLLOWING = {"smooth": float, "track_memory": float, "score_every": int, "score_change": float, "people": int}
# Seconds between two looks at whether the server stops.
_POLL = 0.2
_GOING_AWAY, _UNFIT = 1001, 1003


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame as it came.

    Args:
        index: how many frames came before it.
        message: see the top of this file.
        arrived: time.perf_counter() at which it came.
    """

    index: int
    message: bytes
    arrived: float


def video_options(query: Mapping[str, str], service: Service, wanted: Wanted) -> VideoOptions:
    """How a stream's faces are followed, by the parameters of its URL. Raises RefusedError (422)."""
    try:
        given: dict[str, Any] = {name: FOLLOWING[name](value) for name, value in query.items() if name in FOLLOWING}
        faces = service.face_options if service.finder(wanted.faces) is not None else FaceOptions()
        return VideoOptions(fps=None, live=True, faces=faces, embeddings=wanted.embeddings, **given)
    except (ValueError, OptionError) as error:
        raise RefusedError(422, str(error)) from None


class _Queue:
    """Scores a stream's frames in the batches of all requests; see video.scoring.BatchScorer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def batches(self, pictures: Iterable[Picture], *, embeddings: bool = False) -> Iterator[ScoredBatch]:
        crops = list(pictures)
        if crops:  # all faces of a frame may take over earlier scores
            rows, scores = self._service.score_now(crops, embeddings)
            yield ScoredBatch(scores, tuple(rows))

    def empty(self, *, embeddings: bool = False) -> Scores:
        return self._service.scorers[0].empty(embeddings=embeddings)


class Follower:
    """Answers one stream's frames in their order. Of one thread at a time."""

    def __init__(self, service: Service, wanted: Wanted, options: VideoOptions) -> None:
        self._wanted, self._decoding, self._metrics = wanted, service.scorers[0].options, service.metrics
        self._next: list[tuple[float, UInt8Array]] = []
        source = GivenSource(iter(self._next.pop, None), Sampling(), cuts=options.cuts)
        self._frames = iter(source)
        finder = service.finder(wanted.faces)
        self._rows = FrameRows(_Queue(service), "stream", source.facts, options, finder)

    def answer(self, sent: Sent, dropped: int) -> bytes:
        """What a frame gives, as JSON. dropped: frames that gave way to it. Never raises for bad data."""
        began = time.perf_counter()
        seconds, decoded = picture_of(sent, self._decoding)
        answer: dict[str, Any] = {
            "frame": sent.index,
            "seconds": number(seconds),
            "status": decoded.status,
            "reason": decoded.reason,
            "dropped": dropped,
            "rows": [],
        }
        if decoded.rgb is not None:
            try:
                answer["rows"] = self._answer(seconds, decoded.rgb)
            except FullError as full:
                answer |= {"status": "busy", "reason": str(full)}
        done = time.perf_counter()
        answer["waited_ms"] = round(1000 * (began - sent.arrived), 2)
        answer["worked_ms"] = round(1000 * (done - began), 2)
        return dumped(answer)

    def _answer(self, seconds: float, rgb: UInt8Array) -> list[dict[str, Any]]:
        self._next.append((seconds, rgb))
        frame = next(self._frames)
        assert isinstance(frame, Frame)  # noqa: S101 - arrays have no sound
        timeline, _ = self._rows([(frame, frame.rgb())])
        scores = self._wanted.applied(timeline.scores)
        rows = rows_of(scores, self._wanted)
        for i, row in enumerate(rows):
            self._metrics.rows.labels(row["status"]).inc()
            track = int(timeline.track[i])
            row |= {"track": None if track == NO_TRACK else track, "reused": bool(timeline.reused[i])}
            if timeline.smooth is not None:
                values = map(number, timeline.smooth[i].tolist())
                row["smooth"] = dict(zip(scores.names, values, strict=True)) if row["status"] == Status.OK else None
        return rows


def picture_of(sent: Sent, options: Options) -> tuple[float, Decoded]:
    """The time and the pixels of a frame, or why it has none."""
    key = f"frame{sent.index}"

    def bad(reason: str) -> tuple[float, Decoded]:
        return math.nan, Decoded(key, None, Status.BAD_INPUT, f"{reason}; {_EXPECTED}")

    if len(sent.message) < _HEAD.size:
        return bad(f"a message of {len(sent.message)} bytes came")
    seconds, width, height = _HEAD.unpack_from(sent.message)
    rest = memoryview(sent.message)[_HEAD.size :]
    if not abs(seconds) <= _LONGEST:
        return bad("the time is not finite, or beyond a billion seconds")
    if width == 0:
        return seconds, decode(Picture(key, bytes(rest)), options)
    if height == 0 or len(rest) != width * height * 3:
        return bad(f"{len(rest)} bytes came for RGB of {width} x {height}")
    return seconds, decode(Picture(key, np.frombuffer(rest, np.uint8).reshape(height, width, 3)), options)


async def stream(socket: WebSocket, service: Service) -> None:
    """Answer a client's frames until it leaves, or the server stops. Raises RefusedError before it is let in."""
    service.working()
    query = socket.query_params
    wanted = Wanted.of(query, service.baselines, tuple(FOLLOWING))
    options = video_options(query, service, wanted)
    if service.streams >= service.settings.max_streams:
        raise busy(503, f"{service.streams} streams are open; no more are taken now", 5)
    follower = await asyncio.to_thread(Follower, service, wanted, options)
    service.streams += 1
    newest = _Newest(service)
    reading = asyncio.ensure_future(newest.read(socket))
    try:
        await socket.accept()
        none = service.scorers[0].empty()
        metadata = service.metadata(none, service.finder(wanted.faces))
        await socket.send_json({"metadata": metadata, "notes": none.notes})
        await _answers(socket, service, follower, newest, reading)
    except WebSocketDisconnect:
        pass
    finally:
        reading.cancel()
        newest.close()
        service.streams -= 1


class _Newest:
    """The frame that waits. Its bytes count in what the server holds; of the event loop's thread alone."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: Sent | None = None
        self._dropped = 0
        self.came = asyncio.Event()
        self.fault = ""

    async def read(self, socket: WebSocket) -> None:
        """Take frames until the client leaves, or sends a text."""
        index = 0
        try:
            while (message := await socket.receive())["type"] == "websocket.receive":
                if message.get("bytes") is None:
                    self.fault = f"a text came; {_EXPECTED}"
                    return
                self._put(Sent(index, message["bytes"], time.perf_counter()))
                index += 1
        finally:
            self.came.set()

    def _put(self, sent: Sent) -> None:
        self._drop()
        try:
            self._service.held.take(len(sent.message))
        except RefusedError:
            self._count()
            return
        self._waiting = sent
        self.came.set()

    def _drop(self) -> None:
        if self._waiting is not None:
            self._service.held.give_back(len(self._waiting.message))
            self._waiting = None
            self._count()

    def _count(self) -> None:
        self._dropped += 1
        self._service.metrics.dropped.inc()

    def take(self) -> tuple[Sent | None, int]:
        """The frame that waits, and how many gave way since the last one that was taken."""
        self.came.clear()
        sent, self._waiting = self._waiting, None
        dropped = self._dropped
        if sent is not None:
            self._service.held.give_back(len(sent.message))
            self._dropped = 0
        return sent, dropped

    close = _drop


async def _answers(
    socket: WebSocket, service: Service, follower: Follower, newest: _Newest, reading: "asyncio.Task[None]"
) -> None:
    """Answer each frame that is taken. The last one before the server stops is answered, too."""
    loop = asyncio.get_running_loop()
    while True:
        sent, dropped = newest.take()
        if sent is not None:
            answer = await loop.run_in_executor(service.stream_threads, follower.answer, sent, dropped)
            await socket.send_text(answer.decode())
        elif reading.done():
            break
        elif service.stopping:
            await socket.close(_GOING_AWAY, "the server is stopping")
            return
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(newest.came.wait(), _POLL)
    if newest.fault:
        await socket.close(_UNFIT, newest.fault)
