"""Small clips by PyAV whose frames carry their number in their pixels, and whose times are known."""

import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling

av = pytest.importorskip("av", reason="PyAV (extra video) is not installed")

WIDTH, HEIGHT = 64, 48
_BITS = 8


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture of 8 bars, light or dark: the number's bits. The top third is a grey that tells up from down."""
    bars = np.array([(number >> bit) & 1 for bit in range(_BITS)], np.uint8) * 200 + 25
    picture = np.repeat(np.repeat(bars, width // _BITS)[None], height, axis=0)
    picture = np.stack([picture] * 3, axis=2)
    picture[: height // 3] = 128
    return picture


def number_of(rgb: np.ndarray) -> int:
    """The number that `numbered` wrote, read from any size; -1 where the picture is not upright."""
    height, width = rgb.shape[:2]
    if abs(float(rgb[height // 8].mean()) - 128) > 12:
        return -1
    row = rgb[height * 5 // 6, :, 0]
    bars = [float(row[int((bit + 0.5) * width / _BITS)]) for bit in range(_BITS)]
    return sum((value > 125) << bit for bit, value in enumerate(bars))


def whole(path: Path, fps: float | None = None) -> list[Frame]:
    """The frames of a file, which is closed again."""
    with closing(AvSource(str(path), Sampling(fps))) as source:
        return [frame for frame in source if isinstance(frame, Frame)]


def write_clip(
    path: Path,
    ticks: Sequence[int],
    time_base: Fraction = Fraction(1, 1000),
    *,
    rate: Fraction | int = 25,
    picture: Callable[[int], np.ndarray] = numbered,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    sound: str = "",
    container: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """A clip with one frame for each of `ticks`, in units of time_base. sound: codec of a tone as long as the video."""
    with av.open(str(path), "w", container_options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {"bf": "0", "crf": "12"})
        first = picture(0)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        rate = 8000 if sound == "aac" else 48_000
        tone = out.add_stream(sound, rate=rate, layout="mono", options={"strict": "-2"}) if sound else None
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(number)), format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            _write_tone(out, tone, rate, ticks[0] * time_base, float((ticks[-1] - ticks[0]) * time_base))
    return path


def _write_tone(out: Any, stream: Any, rate: int, first: Fraction, seconds: float) -> None:
    samples = (np.sin(np.arange(max(1024, int(rate * seconds))) / 4) * 0.2).astype(np.float32)
    for start in range(0, len(samples) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start + round(first * rate), Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def move_edit_list(path: Path, ticks: int) -> None:
    """Let the MP4's edit list begin so many media ticks later: what is before is not shown."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    version, count = data[at + 4], struct.unpack_from(">I", data, at + 8)[0]
    assert (version, count) == (0, 1)
    duration, media_time = struct.unpack_from(">Ii", data, at + 12)
    struct.pack_into(">Ii", data, at + 12, duration, media_time + ticks)
    path.write_bytes(data)
