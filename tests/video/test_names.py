"""Names are what they are, nothing reaches what its kind does not need, and no output shows a password."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from emonet_fast.errors import InputError
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.sources.video.names import kind_of
from emonet_fast.text import without_secrets

from .making import number_of, write_clip
from .test_live import web_server

N = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a clip `a.mp4` and a piece of a stream `a.ts`."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("a.mp4", "a.ts"):
        write_clip(folder / name, [i * 40 for i in range(N)])
    return folder


def numbers(where: object) -> list[int]:
    source = AvSource(str(where), Sampling())
    try:
        return [number_of(frame.rgb()) for frame in source if isinstance(frame, Frame)]
    finally:
        source.close()


NAMES = [
    "12:30:05.mp4",
    "rec:1.mp4",
    "di:r/in.mp4",
    "2024",
    "concat:a.mp4|b.mp4",
    "file:a",
    "a%03d.mp4",
    "a*.png",
    "-x",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_a_file_whatever_its_name(tmp_path, monkeypatch, made, name):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((made / "a.mp4").read_bytes())
    assert kind_of(name) == "file"
    assert numbers(name) == list(range(N))
    assert numbers(path.absolute().as_uri()) == list(range(N))


def test_a_name_of_bytes_that_are_no_text(tmp_path, made):
    path = os.fsencode(tmp_path) + b"/\xff.mp4"
    os.link(made / "a.mp4", path)
    assert numbers(os.fsdecode(path)) == list(range(N))


@pytest.mark.parametrize("piped", [True, False])
def test_standard_input(made, piped):
    """A pipe is read as it comes, a file that is standard input as a file."""
    ends = os.pipe() if piped else (os.open(made / "a.mp4", os.O_RDONLY), None)
    data = (made / "a.ts").read_bytes()
    kept = os.dup(0)
    os.dup2(ends[0], 0)
    try:
        if piped:
            threading.Thread(target=lambda: (os.write(ends[1], data), os.close(ends[1])), daemon=True).start()
        assert numbers("-") == list(range(N))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(ends[0])


PROTOCOLS = [
    "concat:{}|{}",
    "subfile,,start,0,end,0,,:{}",
    "async:{}",
    "cache:{}",
    "crypto:{}",
    "data:video/mp4;base64,AA",
]


@pytest.mark.parametrize("name", [*PROTOCOLS, "ftp://127.0.0.1/a.mp4", "gopher://127.0.0.1/a.mp4", "pipe:0"])
def test_protocols_are_no_names(made, name):
    with pytest.raises(
        InputError, match=r"no such file, and no protocol .*expected a file, a camera, - or a URL of htt"
    ):
        numbers(name.format(made / "a.mp4", made / "a.mp4"))


def hls(*parts: object) -> str:
    lines = "".join(f"#EXTINF:1.0,\n{part}\n" for part in parts)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n{lines}#EXT-X-ENDLIST\n"


SCRIPTS: dict[str, tuple[str, Callable[[Path, str], str]]] = {
    "another folder's file": ("list.m3u8", lambda secret, url: hls(secret)),
    "the same by a URL": ("list.m3u8", lambda secret, url: hls(secret.as_uri())),
    "the same upwards": ("list.m3u8", lambda secret, url: hls(f"../{secret.parent.name}/{secret.name}")),
    "the same by a link": ("list.m3u8", lambda secret, url: hls("linked.ts")),
    "an address": ("list.m3u8", lambda secret, url: hls(f"{url}/a.ts")),
    "ffconcat called .mp4": ("list.mp4", lambda secret, url: "ffconcat version 1.0\nfile 'beside.ts'\n"),
    "ffconcat called .m3u8": ("list.m3u8", lambda secret, url: "ffconcat version 1.0\nfile 'beside.ts'\n"),
    "HLS called .mp4": ("list.mp4", lambda secret, url: hls("beside.ts")),
    "an encrypted part": (
        "list.m3u8",
        lambda secret, url: hls("beside.ts").replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="list.m3u8"\n#EXTINF'),
    ),
    "a session description": (
        "list.sdp", lambda secret, url: "v=0\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_local_file_reaches_nothing_else(tmp_path, made, case):
    name, script = SCRIPTS[case]
    (tmp_path / "linked.ts").symlink_to(made / "a.ts")
    (tmp_path / "beside.ts").write_bytes((made / "a.ts").read_bytes())
    with web_server(made) as url:
        (tmp_path / name).write_text(script(made / "a.ts", url))
        with pytest.raises(InputError, match="cannot be opened as video") as refused:
            numbers(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_local_playlist_reaches_its_own_folder(tmp_path, made):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.ts").write_bytes((made / "a.ts").read_bytes())
    for part in ("sub/b.ts", tmp_path / "sub/b.ts"):
        (tmp_path / "list.m3u8").write_text(hls(part))
        assert numbers(tmp_path / "list.m3u8") == list(range(N))


@pytest.mark.parametrize("where", ["{}", "concat:{}", "subfile,,start,0,end,9999,,:{}", "cache:{}", "file:{}"])
def test_a_remote_playlist_reaches_no_file(tmp_path, made, where):
    (tmp_path / "a.m3u8").write_text(hls(where.format((made / "a.ts").as_uri())))
    with web_server(tmp_path) as url, pytest.raises(InputError):
        numbers(f"{url}/a.m3u8")


def test_a_remote_playlist_reaches_its_parts(tmp_path, made):
    (tmp_path / "b.ts").write_bytes((made / "a.ts").read_bytes())
    (tmp_path / "a.m3u8").write_text(hls("b.ts"))
    with web_server(tmp_path) as url:
        assert numbers(f"{url}/a.m3u8") == list(range(N))
        assert numbers(f"{url}/b.ts".replace("http", "HTTP")) == list(range(N)), "a scheme's letters do not count"


SHOWN = {
    "rtsp://me:hunter2@h/door?x=a@b": "rtsp://h/door?x=a@b",
    "RTSP://me:hunter2@h:554/a": "RTSP://h:554/a",
    "http://hunter2@h/a": "http://h/a",
    "http://me:hun@ter2@h/a": "http://h/a",
    "http://me:hun/ter2@h/a": "http://h/a",
    "http://me:hun?ter2#@h/a": "http://h/a",
    "http://h/a.m3u8?id=7&token=hunter2&t=5": "http://h/a.m3u8?id=7&token=***&t=5",
    "http://h/a?access_token=hunter2#t=3": "http://h/a?access_token=***#t=3",
    "http://h/a?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2/x": "http://h/a?X-Amz-Signature=***&X-Amz-Credential=***/x",
    "http://h/a?" + "hunter2x" * 4: "http://h/a?***",
    "http://h/a#code=hunter2": "http://h/a#code=***",
    "http://h/hdnts=exp=1~acl=*~hmac=hunter2/a": "http://h/hdnts=exp=1~acl=*~hmac=***/a",
    "http://h/token/hunter2/a": "http://h/token/***/a",
    "srt://h:9?mode=caller&passphrase=hunter2&streamid=hunter2": "srt://h:9?mode=caller&passphrase=***&streamid=***",
    "rtmp://h/live/a pubUser=x pass=hunter2": "rtmp://h/live/a pubUser=*** pass=***",
    "async:http://me:hunter2@h/a": "async:http://h/a",
    "no answer from 'http://me:hunter2@h/a'": "no answer from 'http://h/a'",
    "http://h:8080/@me/a": "http://h:8080/@me/a",
    "rtsp://[::1]:554/a@b": "rtsp://[::1]:554/a@b",
    "http://127.0.0.1:9": "http://127.0.0.1:9",
    "a@b.mp4": "a@b.mp4",
    "password=hunter.mp4": "password=hunter.mp4",
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_secrets_are_not_shown(name):
    assert without_secrets(name) == SHOWN[name]
    assert without_secrets(SHOWN[name]) == SHOWN[name]
    assert "hunter2" not in SHOWN[name]
