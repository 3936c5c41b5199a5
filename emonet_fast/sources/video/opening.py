"""Opens what a user names as video (files, URLs and cameras) by PyAV, and says who decodes."""

import logging
import re
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...gpu import driver_present
from . import nvdec

_log = logging.getLogger("emonet_fast")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
_LIVE_URL = re.compile(r"(rtsps?|rtmps?|udp|rtp|srt|mms[ht]?)://", re.I)
_CAMERA = re.compile(r"\d+|/dev/video\d+")
_TIMEOUT = 10.0  # seconds that a network source or camera may stay silent


def is_live(where: str) -> bool:
    """Whether a source of that name does not wait for its reader, as a camera or a streaming protocol."""
    return bool(_CAMERA.fullmatch(where) or _LIVE_URL.match(where))


def without_password(where: str) -> str:
    """A URL without its user name and password, as it may be shown and written."""
    return re.sub(r"^([a-z][a-z0-9+.-]+://)[^/?#]*@", r"\1", where, flags=re.I)


def open_media(av: Any, name: str, hardware: bool) -> tuple[Any, Any]:
    """An open container, and PyNvVideoCodec's module where that decodes its video, None where PyAV does.

    hardware: decode by NVDEC where there is a driver; a line says by whom, and why. Raises InputError when the name
    cannot be opened.
    """
    options: dict[str, Any] = {"timeout": _TIMEOUT} if _URL.match(name) else {}
    target = name
    if _CAMERA.fullmatch(name):
        target = f"/dev/video{name}" if name.isdigit() else name
        options |= {"format": "v4l2", "timeout": _TIMEOUT}
    elif not _URL.match(name):
        path = Path(name)
        if path.is_dir():
            raise InputError(f"{name} is a folder; expected a video file, URL or camera")
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{name} has zero bytes; expected a video")
    if name.startswith(("rtsp://", "rtsps://")):
        options["options"] = {"rtsp_transport": "tcp"}
    try:
        if hardware and driver_present():
            return _open_for_nvdec(av, target, options)
        return av.open(target, **options), None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{without_password(name)} cannot be opened as video: {reason_of(error, name)}") from None


def _open_for_nvdec(av: Any, target: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """See open_media: for PyNvVideoCodec, else for FFmpeg's NVDEC, else for the CPU."""
    try:
        nvc = nvdec.library()
        container = av.open(target, **options)
        why = nvdec.unsuited(container.streams.video[0]) if container.streams.video else ""
        if not why:
            _log.info("video is decoded on the GPU by PyNvVideoCodec")
            return container, nvc
        container.close()
    except nvdec.NoNvdecError as error:
        why = str(error)
    hwaccel = av.codec.hwaccel
    try:
        if "cuda" not in hwaccel.hwdevices_available():
            raise RuntimeError("this PyAV was built without NVDEC")
        container = av.open(target, hwaccel=hwaccel.HWAccel("cuda", allow_software_fallback=True), **options)
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        _log.info("video is decoded by PyAV on the CPU: NVDEC cannot be used (%s; %s)", why, error)
        return av.open(target, **options), None
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
    if type(error).__name__ == "ExitError":  # PyAV's time limit
        text = f"nothing came for {_TIMEOUT:g} seconds"
    elif type(error).__name__ == "InvalidDataError" and _LIVE_URL.match(name):
        text += f" (no video, or no answer within {_TIMEOUT:g} seconds)"
    elif type(error).__name__ == "InvalidDataError":
        text += " (damaged, cut short, or no video: of an MP4 the index `moov` may be missing)"
    if name.startswith("/dev/video") or name.isdigit():
        text += " (is the camera plugged in, and may this user read it?)"
    elif _URL.match(name):
        text += " (is the address right and the server running?)"
    return text
