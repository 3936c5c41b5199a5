"""MP4s whose index comes last, from servers that send files only whole; and what else a server without ranges sends."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.errors import InputError
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.sources.video import opening
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import open_video
from emonet_fast.sources.video.download import Download, ask
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.sources.video.structure import media_before_index
from emonet_fast.video.job import VideoOutputs, VideoRun

from .making import number_of, write_clip

N = 20
TICKS = [i * 40 for i in range(N)]
SECONDS = [tick / 1000 for tick in TICKS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("served")
    write_clip(made / "last.mp4", TICKS)
    write_clip(made / "first.mp4", TICKS, container={"movflags": "faststart"})
    write_clip(made / "fragments.mp4", TICKS, container={"movflags": "frag_keyframe+empty_moov"})
    write_clip(made / "a.mkv", TICKS)
    write_clip(made / "a.ts", TICKS)
    return made


class Request(BaseHTTPRequestHandler):
    """One request; `asked` has the paths of all."""

    def __init__(self, asked: list[str], answer: Callable[["Request"], None], *arguments: object) -> None:
        self.asked, self.answer = asked, answer
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.answer(self)

    def log_message(self, *arguments: object) -> None:
        pass

    def say(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


@contextmanager
def server(answer: Callable[[Request], None]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the paths that it was asked for. It speaks HTTP/1.0: an answer ends where it hangs up."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Request, asked, answer)) as made:
        made.handle_error = lambda *about: None  # who asks may hang up
        Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{made.server_port}", asked
        finally:
            made.shutdown()


def whole(data: bytes, sized: bool = True) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        request.say(200, **({"Content_Length": len(data)} if sized else {}))
        request.wfile.write(data)

    return answer


def chunked(data: bytes) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        request.protocol_version = "HTTP/1.1"
        request.say(200, Transfer_Encoding="chunked", Connection="close")
        request.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    return answer


def by_ranges(data: bytes) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        begin = int(re.match(r"bytes=(\d+)-", request.headers.get("Range", "bytes=0-"))[1])
        request.say(206, Content_Length=len(data) - begin, Content_Range=f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.wfile.write(data[begin:])

    return answer


def read(url: str, download: Download | None = None) -> tuple[list[int], str, bool]:
    """The numbers of the frames, why they ended, and whether they came from a downloaded file."""
    with closing(AvSource(url, Sampling(None), download=download)) as source:
        downloaded = source.patient
        frames = [number_of(item.rgb()) for item in source if isinstance(item, Frame)]
        return frames, source.faults.ended, downloaded


@pytest.mark.parametrize("way", [whole, partial(whole, sized=False), chunked])
def test_an_index_at_the_end_is_downloaded_first(folder, way):
    data = (folder / "last.mp4").read_bytes()
    told: list[tuple[int, int | None]] = []
    with server(way(data)) as (url, asked):
        found = read(f"{url}/a.mp4", Download(told=lambda done, size: told.append((done, size))))
    assert found == (list(range(N)), "", True)
    assert asked == ["/a.mp4"]
    assert told[-1] == (len(data), len(data))
    assert {size for _, size in told[:-1]} <= ({len(data)} if way is whole else {None})


@pytest.mark.parametrize("name", ["first.mp4", "fragments.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("way", [whole, partial(whole, sized=False), chunked])
def test_what_can_be_read_as_it_comes_is_not_downloaded(folder, name, way):
    """The end of what has no stated size is no fault, also in Matroska, where FFmpeg takes it for one."""
    with server(way((folder / name).read_bytes())) as (url, asked):
        assert read(f"{url}/{name}") == (list(range(N)), "", False)
    assert asked == [f"/{name}"] * 2


def test_a_server_that_sends_parts_is_left_to_ffmpeg(folder):
    with server(by_ranges((folder / "last.mp4").read_bytes())) as (url, asked):
        assert read(f"{url}/a.mp4", Download(0)) == (list(range(N)), "", False)
    assert asked == ["/a.mp4"] * 2


def test_a_playlist_and_a_live_source_are_not_asked_before(folder):
    with server(lambda request: request.say(404)) as (url, asked):
        assert ask(f"{url}/a.m3u8?x=1", Download(), 1.0) == (None, False)
        assert asked == []
        with pytest.raises(InputError, match="404"):
            AvSource(f"{url}/last.mp4", Sampling(None), live=True)
    assert asked == ["/last.mp4"]


def padded(data: bytes, count: int) -> bytes:
    """The same MP4 with a box of so many bytes behind it."""
    return data + count.to_bytes(4, "big") + b"free" + bytes(count - 8)


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("over", ["media", "rest"])
def test_what_is_above_the_limit_is_one_line_that_names_the_option(folder, sized, over):
    data = (folder / "last.mp4").read_bytes()
    limit = 1000 if over == "media" else len(data) + 1
    with server(whole(padded(data, 5_000_000), sized)) as (url, _), pytest.raises(InputError) as refused:
        open_video(f"{url}/a.mp4?token=hunter2", VideoOptions(max_download=limit))
    assert str(refused.value) == (
        f"{url}/a.mp4?token=*** cannot be opened as video: its index (moov) is at its end, and can only be reached by "
        f"reading it whole first; it has more than {limit:,} bytes (--max-download, max_download in Python)"
    )
    with server(whole(data, sized)) as (url, _):
        assert read(f"{url}/a.mp4", Download(len(data)))[0] == list(range(N))


def test_an_index_that_cannot_come_is_not_waited_for(folder):
    data = (folder / "last.mp4").read_bytes()
    media = data[: data.index(b"moov") - 4]
    endless = media[: media.index(b"mdat") - 4] + b"\0\0\0\0" + media[media.index(b"mdat") :]
    for cut, sized in ((media, True), (media[:-9], True), (endless, False)):
        with server(whole(cut, sized)) as (url, asked), pytest.raises(InputError, match=r"it has no index \(moov\)"):
            AvSource(f"{url}/a.mp4", Sampling(None))
        assert len(asked) == 1


def test_a_server_that_hangs_up_or_falls_silent(folder, monkeypatch):
    data = (folder / "last.mp4").read_bytes()
    done = Event()

    def half(request: Request, wait: bool) -> None:
        request.say(200, Content_Length=len(data))
        request.wfile.write(data[:2000])
        if wait:
            done.wait(10)

    hung = f"it ended after 2,000 of {len(data):,} bytes"
    with server(partial(half, wait=False)) as (url, _), pytest.raises(InputError, match=hung):
        AvSource(f"{url}/a.mp4", Sampling(None))
    monkeypatch.setattr(opening, "_TIMEOUT", 0.2)
    with server(partial(half, wait=True)) as (url, _):
        with pytest.raises(InputError, match=r"nothing came for 0\.2 seconds"):
            AvSource(f"{url}/a.mp4", Sampling(None))
        done.set()


def test_a_cut_matroska_file_of_a_server_says_so(tmp_path):
    """By the length that it states of its video."""
    data = write_clip(tmp_path / "a.mkv", [i * 200 for i in range(N)], rate=5).read_bytes()
    with server(whole(data[: len(data) * 8 // 10])) as (url, _):
        frames, ended, _ = read(f"{url}/a.mkv")
    assert 2 < len(frames) < N
    assert re.fullmatch(r"it ends at \d\.\d\d s and should go on to 4\.00 s \(cut short\?\)", ended)


def test_passwords_are_sent_to_the_server_that_asks_and_to_no_other(folder):
    seen: list[str | None] = []

    def elsewhere(request: Request) -> None:
        seen.append(request.headers.get("Authorization"))
        whole((folder / "last.mp4").read_bytes())(request)

    with server(elsewhere) as (other, _):

        def answer(request: Request) -> None:
            if request.headers.get("Authorization") == "Basic bWU6aHVudGVyMg==":  # me:hunter2
                request.say(302, Location=f"{other}/b.mp4")
            else:
                request.say(401, WWW_Authenticate='Basic realm="door"')

        with server(answer) as (url, asked):
            found = read(url.replace("//", "//me:hunter2@") + "/a.mp4")
            assert found == (list(range(N)), "", True)
    assert asked == ["/a.mp4"] * 2
    assert seen == [None]


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_redirections_lead_to_no_other_protocol(folder, scheme):
    to = f"{scheme}://127.0.0.1{folder / 'last.mp4'}" if scheme == "ftp" else (folder / "last.mp4").as_uri()
    with server(lambda request: request.say(302, Location=to)) as (url, _), pytest.raises(InputError):
        AvSource(f"{url}/a.mp4", Sampling(None))


def test_by_the_command(tmp_path, folder, video):
    out = tmp_path / "a.parquet"
    with server(whole((folder / "last.mp4").read_bytes())) as (url, asked):
        status, said, errors = video(f"{url}/a.mp4?token=hunter2", "--fps", "all", "-o", out)
        assert (status, asked) == (0, ["/a.mp4?token=hunter2"]), errors
        assert "hunter2" not in said + errors
        status, _, errors = video(f"{url}/a.mp4", "-o", tmp_path / "b.csv", "--max-download", 1000)
    assert status == 2
    assert "more than 1,000 bytes (--max-download" in errors
    assert pq.read_table(out)["seconds"].to_pylist() == SECONDS


@pytest.mark.parametrize("before", [[], ["first.mp4"]])
def test_a_stopped_run_ends_its_download(folder, scorer, before):
    data = padded((folder / "last.mp4").read_bytes(), 30_000_000)
    told: list[int] = []
    options = VideoOptions(faces=FaceOptions(faces="none"), track=False)
    with server(whole(data)) as (url, _):

        def tell(done: int, size: int | None) -> None:
            told.append(done)
            run.stop()

        inputs = [*(str(folder / name) for name in before), f"{url}/a.mp4?token=hunter2"]
        run = VideoRun(scorer, inputs, options, VideoOutputs(), tell)
        if run.check():
            run.run(lambda summary: None)
        run.close()
    assert run.summary.messages == [f"{url}/a.mp4?token=***: its download was interrupted"]
    assert run.summary.scored == 2 * len(before)
    assert told[-1] < len(data)


@given(st.lists(st.tuples(st.sampled_from([b"ftyp", b"free", b"mdat", b"moov", b"moof", b"xyzw"]), st.integers(0, 40))))
def test_where_media_lie_before_their_index(boxes):
    data = b"".join((8 + count).to_bytes(4, "big") + kind + bytes(count) for kind, count in boxes)
    kinds = [kind for kind, _ in boxes]
    media = kinds.index(b"mdat") if b"mdat" in kinds else None
    known = bool(kinds) and kinds[0] != b"xyzw"
    before = media is not None and not {b"moov", b"moof"} & set(kinds[:media])
    end = sum(8 + count for _, count in boxes[: media + 1]) if known and before else 0
    at = lambda offset, count: BytesIO(data[offset:]).read(count)  # noqa: E731
    assert media_before_index(at, len(data)) == end
