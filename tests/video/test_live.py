"""Sources that are not files: HTTP, RTSP and cameras, each served or stood in for on this machine."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow.parquet as pq
import pytest

from emonet_fast import stream
from emonet_fast.errors import InputError
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.sources.video import nvdec, opening
from emonet_fast.sources.video.ahead import Ahead
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.video import job

from .making import av, number_of, write_clip
from .nvdec_stand_in import StandIn, by_nvdec, open_by
from .rtsp_server import rtsp_server

N = 30
TICKS = [i * 40 for i in range(N)]
SECONDS = [tick / 1000 for tick in TICKS]
WHOLE = VideoOptions(fps=None, faces=FaceOptions(faces="none"), track=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("web") / "clip.mp4",
        TICKS,
        options={"bf": "0", "g": "10", "crf": "12"},
        container={"movflags": "faststart"},
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_http_by_the_command(tmp_path, clip, video):
    out = tmp_path / "a.parquet"
    with web_server(clip.parent) as url:
        status, said, errors = video(f"{url}/clip.mp4?token=hunter2", "--fps", "all", "-o", out)
    assert status == 0, errors
    assert b"hunter2" not in out.read_bytes() + said.encode() + errors.encode()
    rows = pq.read_table(out)
    assert rows["seconds"].to_pylist() == SECONDS
    assert set(rows["status"].to_pylist()) == {"ok"}
    assert set(rows["source"].to_pylist()) == {f"{url}/clip.mp4?token=***"}


def test_http_in_python(clip, scorer):
    with web_server(clip.parent) as url:
        rows = [second for part in stream(scorer, f"{url}/clip.mp4", WHOLE) for second in part.seconds.tolist()]
        with pytest.raises(InputError, match="404"):
            next(iter(stream(scorer, f"{url}/none.mp4", WHOLE)))
    assert rows == SECONDS


def test_rtsp_is_read_whole(clip):
    """Every frame once, at its time after the first, until the server hangs up."""
    with rtsp_server(clip) as (where, asked):
        source = AvSource(f"rtsp://{where}", Sampling())
        frames = [frame for frame in source if isinstance(frame, Frame)]
        source.close()
    assert asked[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert source.live
    assert not source.faults.ended
    assert [frame.seconds for frame in frames] == SECONDS
    assert [number_of(frame.rgb()) for frame in frames] == list(range(N))


def test_rtsp_by_nvdec(clip):
    """The first packet of such a stream has no time, and its frame none; see nvdec_stand_in.py."""
    with rtsp_server(clip) as (where, _):
        source = open_by(f"rtsp://{where}", StandIn())
        frames = [frame for frame in source if isinstance(frame, Frame)]
        source.close()
    assert by_nvdec(source)
    assert [frame.seconds for frame in frames] == SECONDS
    assert [number_of(frame.rgb()) for frame in frames] == list(range(N))


def test_rtsp_that_nvdec_cannot_take_is_opened_once(clip, monkeypatch):
    monkeypatch.setattr(nvdec, "unsuited", lambda stream: "it is interlaced")
    with rtsp_server(clip) as (where, asked):
        source = open_by(f"rtsp://{where}", StandIn())
        assert len([frame for frame in source if isinstance(frame, Frame)]) == N
        source.close()
    assert not by_nvdec(source)
    assert asked.count("DESCRIBE") == 1


def test_rtsp_newest_frame_wins(clip):
    """All frames come before the first is asked for: the newest is left, and the others are counted."""
    with rtsp_server(clip) as (where, _):
        ahead = Ahead(source := AvSource(f"rtsp://{where}", Sampling()))
        ahead._thread.join(timeout=20)
        left = list(ahead)
        ahead.close()
    assert [frame.index for frame in left if isinstance(frame, Frame)] == [N - 1]
    assert source.faults.dropped == N - 1


@pytest.mark.parametrize(("patience", "opened"), [(1e9, 1), (0.0, 2)])
def test_rtsp_by_the_command(tmp_path, clip, video, monkeypatch, patience, opened):
    """What is not scored was dropped, as the last line says; the password is used, and neither shown nor written."""
    monkeypatch.setattr(job, "_PATIENCE", patience)
    out, report = tmp_path / "a.parquet", tmp_path / "a.html"
    with rtsp_server(clip, user="me:secret") as (where, asked):
        status, said, errors = video(f"rtsp://me:secret@{where}", "--fps", "all", "-o", out, "--report", report)
    assert status == 0, errors
    # Each time once without the password, as nobody asked for it.
    assert asked.count("DESCRIBE") == 2 * opened
    rows = pq.read_table(out)
    assert 1 <= len(rows) < N
    assert f"dropped {N - len(rows)} frames, as newer ones came" in said.splitlines()[-1]
    assert set(rows["source"].to_pylist()) == {f"rtsp://{where}"}
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir()) + str(rows.to_pylist()).encode()
    assert b"secret" not in written + said.encode() + errors.encode()


def test_rtsp_that_falls_silent(clip, monkeypatch):
    """A connection that stays open without a word ends like one that is cut, with a reason."""
    monkeypatch.setattr(opening, "_TIMEOUT", 0.3)
    with rtsp_server(clip, silent=(done := Event())) as (where, _):
        source = AvSource(f"rtsp://{where}", Sampling())
        frames = [frame for frame in source if isinstance(frame, Frame)]
        source.close()
        done.set()
    assert [frame.seconds for frame in frames][:10] == SECONDS[:10]
    assert len(frames) >= N - 1
    assert source.faults.ended.startswith("nothing came for 0.3 seconds")


@pytest.mark.parametrize(("kind", "said"), [("rtsp", "no answer within 0.2"), ("http", "nothing came for 0.2 seconds")])
def test_server_that_never_answers(monkeypatch, kind, said):
    monkeypatch.setattr(opening, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(InputError, match=said):
        AvSource(f"{kind}://127.0.0.1:{deaf.getsockname()[1]}/a", Sampling())


def test_rtsp_with_a_wrong_password(clip):
    with rtsp_server(clip, user="me:secret") as (where, _), pytest.raises(InputError, match="401") as refused:
        AvSource(f"rtsp://me:guess@{where}", Sampling())
    assert "guess" not in str(refused.value)


def test_rtsp_server_that_is_gone(clip, tmp_path, video):
    with rtsp_server(clip) as (where, _):
        pass
    status, _, errors = video(f"rtsp://{where}", "-o", tmp_path / "a.csv")
    assert status == 2
    assert f"rtsp://{where} cannot be opened as video" in errors
    assert "server running" in errors
    assert list(tmp_path.iterdir()) == []


class Camera:
    """A container as FFmpeg's v4l2 gives it, whose packets come with the errors of a camera among them.

    after: the number of packets before an error, and FFmpeg's error number, which is raised by PyAV itself.
    """

    name = "/dev/video0"
    duration = start_time = file = None
    flags = 0

    def __init__(self, clip: Path, *after: tuple[int, int]) -> None:
        self._container = av.open(str(clip))
        self.streams, self._after, self._read = self._container.streams, dict(after), 0
        self.format = self._container.format
        self._packets = self._container.demux(video=0)

    def demux(self, *streams: Any) -> Iterator[Any]:
        while True:
            if error := self._after.pop(self._read, 0):
                av.error.err_check(-error, self.name)
            packet = next(self._packets, None)
            if packet is None:
                return
            self._read += 1
            yield packet


def test_camera_that_is_unplugged(clip, scorer, caplog):
    """What it gave before is there, and the reason is said."""
    source = AvSource(Camera(clip, (12, errno.ENODEV)), Sampling(), live=True)
    frames = [frame for frame in source if isinstance(frame, Frame)]
    assert [frame.seconds for frame in frames] == SECONDS[:12]
    assert source.faults.ended == "No such device (is the camera plugged in, and may this user read it?)"
    options = VideoOptions(fps=None, faces=FaceOptions(faces="none"), track=False, live=False)
    rows = [s for part in stream(scorer, Camera(clip, (12, errno.ENODEV)), options) for s in part.seconds.tolist()]
    assert rows == SECONDS[:12]


def test_camera_without_a_new_frame_yet(clip):
    source = AvSource(Camera(clip, (0, errno.EAGAIN), (7, errno.EAGAIN)), Sampling(), live=True)
    assert [frame.seconds for frame in source if isinstance(frame, Frame)] == SECONDS
    assert not source.faults.ended
