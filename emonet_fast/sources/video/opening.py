"""Opens what a user names as video (files, URLs and cameras) by PyAV, and says who decodes."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...gpu import driver_present
from ...text import without_secrets
from . import nvdec
from .download import Download, ask, from_pipe
from .local import NOTHING, READ_BYTES, LocalFile, can_seek
from .names import REACHES, WAITS, foreign_protocol, is_live, kind_of, path_of, scheme_of
from .raw import RawVideo
from .streams import video_stream

_log = logging.getLogger("emonet_fast")
# Of FFmpeg's AVFMT flags.
_NO_FILE, _LOOSE_TIMES, _NO_BYTE_SEEK = 0x1, 0x80 | 0x200, 0x8000
_TIMEOUT = 10.0  # seconds that a network source or camera may stay silent


@dataclass(slots=True)
class Media:
    """An open video.

    Args:
        container: PyAV's.
        nvc: PyNvVideoCodec's module where that decodes its video, None where PyAV does.
        local: the local file that it reads, which may be downloaded; None of a URL or camera.
        unsized: its server ends it by hanging up.
    """

    container: Any
    nvc: Any = None
    local: LocalFile | None = None
    unsized: bool = False

    def close(self) -> None:
        """Close the container and its file; may be called twice."""
        self.container.close()
        if self.local is not None:
            self.local.close()


def open_media(
    av: Any,
    where: Any,
    name: str,
    stream: int | None,
    hardware: bool,
    download: Download | None,
    raw: RawVideo | None = None,
) -> Media:
    """Open a file object, or what a name means (names.py), which may open in turn only what its kind needs.

    name: for messages. stream: see video_stream. hardware: decode by NVDEC where there is a driver; a line says by
    whom, and why. download: how files are kept that must be read whole first; None of live sources. raw: what raw
    frames are, of which only files and pipes are read. Raises InputError when it cannot be opened.
    """
    local: LocalFile | None = None
    unsized = False
    try:
        kind = kind_of(where) if isinstance(where, str) else "object"
        if raw is not None:
            return _open_raw(av, where, name, kind, raw)
        if kind in ("file", "stdin", "object"):
            file = _readable(where) if kind == "file" else os.dup(0) if kind == "stdin" else where
            local = _local(file, name, download or Download())
        elif kind == "url" and scheme_of(where) in WAITS and download is not None:
            file, unsized = ask(where, download, _TIMEOUT)
            local = None if file is None else LocalFile(file)
        # For NVDEC it may be opened twice, which a pipe cannot be.
        if hardware and driver_present() and (local is None or local.file.seekable()):
            container, nvc = _open_for_nvdec(av, name, stream, local)
        else:
            container, nvc = _open(av, name, local), None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = reason_of(error, name)
        if local is not None:
            why = local.fault() or why
            local.close()
        raise InputError(f"{without_secrets(name)} cannot be opened as video: {why}") from None
    return Media(container, nvc, local, unsized)


def _open_raw(av: Any, where: Any, name: str, kind: str, raw: RawVideo) -> Media:
    """Raw frames of a file, a pipe or a file object; nothing in them says what they are."""
    if kind in ("camera", "url"):
        raise InputError(f"{without_secrets(name)} is no file or pipe; a video size is for raw frames of those alone")
    raw.check(av, name)
    local = LocalFile(_readable(where) if kind == "file" else os.dup(0) if kind == "stdin" else where, looked_at=False)
    try:
        options = {"protocol_whitelist": NOTHING} | raw.options
        container = av.open(local.file, format="rawvideo", options=options, buffer_size=READ_BYTES)
    except BaseException:
        local.close()
        raise
    return Media(container, local=local)


def _local(where: Any, name: str, download: Download) -> LocalFile:
    """A LocalFile that FFmpeg can read, also of a pipe."""
    local = LocalFile(where)
    if not local.file.seekable():
        file, local.file.begin = from_pipe(local.file.read, name, download)
        if file is not None:
            local.close()
            return LocalFile(file)
    return local


def _readable(name: str) -> Path:
    """The path of a file's name. Raises InputError where nothing can be read there."""
    path = path_of(name)
    if fault := missing(name):
        raise InputError(fault)
    if path.is_dir():
        raise InputError(f"{name} is a folder; expected a video file, URL or camera")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{name} has zero bytes; expected a video")
    return path


def to_beginning(av: Any, container: Any, stream: Any, name: str) -> None:
    """Go back to the beginning of a container of which somebody may have decoded frames of `stream`.

    To the first byte where times do not tell the place: MPEG-TS would begin behind the first key frame, and a raw
    stream has none. Elsewhere only a seek by time finds the first packet, behind the headers. A camera goes on.
    Raises InputError when frames are gone: FFmpeg itself does not notice that a pipe did not go back.
    """
    flags, file = container.format.flags, container.file
    if flags & _NO_FILE:
        return
    why = "it is read from a pipe or a server"
    if can_seek(file.file) if file is not None else os.path.isfile(container.name):  # noqa: PTH113 (long URLs)
        by_byte = bool(flags & _LOOSE_TIMES) and not flags & _NO_BYTE_SEEK
        try:
            container.seek(0 if by_byte else container.start_time or 0, unsupported_byte_offset=by_byte)
            return
        except (av.error.FFmpegError, OSError) as error:
            why = reason_of(error, name)
    if stream.codec_context.is_open:
        raise InputError(f"{name} was decoded before, and cannot go back to its beginning ({why}); open it anew")


def missing(name: str) -> str:
    """Why a name of a local file means none, "" where there is one, or the name means something else."""
    if kind_of(name) != "file" or os.path.lexists(path_of(name)):
        return ""
    if protocol := foreign_protocol(name):
        expected = f"expected a file, a camera, - or a URL of {', '.join(REACHES)}"
        return f"{without_secrets(name)}: no such file, and no protocol {protocol!r}; {expected}"
    return f"{without_secrets(name)} cannot be opened as video: there is no such file"


def _open(av: Any, name: str, local: LocalFile | None, hwaccel: Any = None) -> Any:
    """PyAV's container of a name; `local` is the open file, None of a URL or camera."""
    if local is not None:
        local.rewind()
        shut = {"protocol_whitelist": NOTHING}
        return av.open(local.file, options=shut, io_open=local.part, buffer_size=READ_BYTES, hwaccel=hwaccel)
    scheme = scheme_of(name)
    if scheme not in REACHES:
        camera = f"/dev/video{name}" if name.isdigit() else name
        return av.open(camera, format="v4l2", timeout=_TIMEOUT, hwaccel=hwaccel)
    options = {"protocol_whitelist": REACHES[scheme]}
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"
    elif scheme == "udp":  # else it ends for good where it was not read for some seconds
        options["overrun_nonfatal"] = "1"
    scheme, _, rest = name.partition(":")
    return av.open(f"{scheme.lower()}:{rest}", options=options, timeout=_TIMEOUT, hwaccel=hwaccel)


def _open_for_nvdec(av: Any, name: str, stream: int | None, local: LocalFile | None) -> tuple[Any, Any]:
    """See open_media: for PyNvVideoCodec, else for FFmpeg's NVDEC, else for the CPU."""
    try:
        nvc = nvdec.library()
        container = _open(av, name, local)
        why = nvdec.unsuited(video_stream(container, name, stream)[0])
        if not why:
            _log.info("video is decoded on the GPU by PyNvVideoCodec")
            return container, nvc
        if is_live(name):  # which is opened once
            _log.info("video is decoded by PyAV on the CPU: %s", why)
            return container, None
        container.close()
    except nvdec.NoNvdecError as error:
        why = str(error)
    hwaccel = av.codec.hwaccel
    try:
        if "cuda" not in hwaccel.hwdevices_available():
            raise RuntimeError("this PyAV was built without NVDEC")
        container = _open(av, name, local, hwaccel.HWAccel("cuda", allow_software_fallback=True))
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        _log.info("video is decoded by PyAV on the CPU: NVDEC cannot be used (%s; %s)", why, error)
        return _open(av, name, local), None
    _log.info("video is decoded by PyAV, by its own NVDEC where it can: %s", why)
    return container, None


def who_decodes(driver: bool, built_in: bool) -> str:
    """Who decodes video on a machine with or without NVIDIA's driver, and NVDEC built into PyAV; and why."""
    if not driver:
        return "PyAV on the CPU (no NVIDIA driver was found)"
    try:
        nvdec.library()
    except nvdec.NoNvdecError as why:
        return f"PyAV, {'by its own NVDEC where it can' if built_in else 'on the CPU'} ({why})"
    return f"{nvdec.PACKAGE} for {' and '.join(nvdec.CODECS)}, PyAV for others"


def reason_of(error: Exception, name: str) -> str:
    """What an error of PyAV means, for people; `name` is what was opened."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    kind = kind_of(name)
    if type(error).__name__ == "ExitError":  # PyAV's time limit
        text = f"nothing came for {_TIMEOUT:g} seconds"
    elif type(error).__name__ == "InvalidDataError" and is_live(name):
        text += f" (no video, or no answer within {_TIMEOUT:g} seconds)"
    elif type(error).__name__ == "InvalidDataError":
        text += " (damaged, or no video)"
    elif type(error).__name__ == "ArgumentError" and kind == "file":
        text += " (no video, or a script that names other files, which is not followed)"
    if kind == "camera":
        text += " (is the camera plugged in, and may this user read it?)"
    elif kind == "url":
        text += " (is the address right and the server running?)"
    return without_secrets(text)
