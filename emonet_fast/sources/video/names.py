"""What a name given as video means: a file, a camera, standard input or a URL."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["file", "stdin", "camera", "url"]
_WEB = "http,https,tls,tcp,httpproxy"
_RTSP = "rtsp,rtsps,rtp,srtp,udp,tcp,tls"
# What the source of a URL may open in turn (a playlist its parts, a redirection its target): FFmpeg's protocol names.
# `httpproxy` reaches no host but the proxy that the machine is told to use.
REACHES = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": _RTSP,
    "rtsps": _RTSP,
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "srt": "srt",
    "udp": "udp",
    "rtp": "rtp,udp",
}
WAITS = ("http", "https")  # these servers wait for their reader, all others are live
_CAMERA = re.compile(r"\d+|/dev/video\d+")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)
_PROTOCOL = re.compile(r"([a-z][a-z0-9+.-]*)[:,]", re.I)


def kind_of(name: str) -> Kind:
    """What a name means. What lies on the disk is a file whatever it is called, but for URLs of REACHES."""
    if name == "-":
        return "stdin"
    if scheme_of(name) in REACHES:
        return "url"
    if _CAMERA.fullmatch(name) and not (Path(name).is_file() or (name.isdigit() and Path(name).exists())):
        return "camera"
    return "file"


def foreign_protocol(name: str) -> str:
    """What FFmpeg would take for a protocol in a name that is no file, "" where there is none."""
    found = _PROTOCOL.match(name)
    return found[1] if found else ""


def scheme_of(name: str) -> str:
    """The scheme of a URL in small letters, "" of anything else."""
    found = _SCHEME.match(name)
    return found[1].lower() if found else ""


def path_of(name: str) -> Path:
    """The path of a file's name or file URL."""
    return Path(unquote(urlsplit(name).path)) if scheme_of(name) == "file" else Path(name)


def is_live(name: str) -> bool:
    """Whether a source of that name does not wait for its reader, as a camera or a streaming protocol."""
    kind = kind_of(name)
    return kind == "camera" or (kind == "url" and scheme_of(name) not in WAITS)
