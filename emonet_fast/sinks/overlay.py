"""The video once more, with boxes, track numbers and the strongest emotions drawn into it, and its audio.

Every frame is written, with its own time; between two sampled frames the last boxes stay, up to a cut. The file
is a fragmented MP4 (or Matroska): it plays to its last fragment wherever a run was cut off.
"""

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .. import taxonomy
from ..errors import EmonetError, OptionError
from ..optional import need
from ..records import Status, UInt8Array
from ..sources.video.frames import Frame, Sound
from ..text import counted, value_text
from ..timeline import NO_TRACK, Timeline
from .apart import RunOutput
from .growing import claim, left_in, partial_of
from .soundtrack import Soundtrack

# Paul Tol's "bright" scheme, as in the reports.
_COLOURS = ("#66ccee", "#ee6677", "#ccbb44", "#228833", "#aa3377", "#4477aa")
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
# The index comes with the first fragment: only then are the streams' first times and AC-3's header known.
_FRAGMENTS = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
_CLUSTERS = {"cluster_time_limit": "1000"}  # milliseconds
# Audio packets that wait for the first frame.
_EARLY = 512
# From this height on players take untagged video for BT.709; below for BT.601. Ours is tagged as well.
_HD = 720
_BT709, _BT601 = 1, 6  # AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic


class Overlay(RunOutput):
    """One overlay video. Call start() before the first frame, write() for each item of a VideoBatch, then close().

    The attribute `frames` counts the frames written.

    Args:
        path: The final name; its suffix chooses MP4 or Matroska.
        top: How many emotions are shown beside a face.
        warnings: Lines in the corner of every frame, which the file's comment has too.
        min_reliability: Leave emotions out of which the experts' alpha is lower; None leaves none out.

    Raises:
        OptionError: when the suffix is unknown, or the folder cannot be written.
        MissingPackageError: when PyAV is missing.
    """

    def __init__(
        self, path: Path, top: int = 3, warnings: Sequence[str] = (), min_reliability: float | None = None
    ) -> None:
        self._av = need("av", "an overlay video")
        kind = _FORMATS.get(path.suffix.lower())
        if kind is None:
            raise OptionError(f"cannot tell the kind of video from {path.name!r}; expected {', '.join(_FORMATS)}")
        self.path, self.partial = path, partial_of(path)
        self.frames = 0
        self._top, self._warnings, self._min_reliability = top, tuple(warnings), min_reliability
        try:
            claim(path).close()
            self._container = {"flush_packets": "1", **(_FRAGMENTS if kind in ("mp4", "mov") else _CLUSTERS)}
            self._out = self._av.open(str(self.partial), "w", format=kind, container_options=self._container)
        except (self._av.error.FFmpegError, OSError) as error:
            self.partial.unlink(missing_ok=True)
            raise OptionError(f"cannot write {path}: {error.strerror or error}") from None
        self._video: Any = None
        self._sounds: Soundtrack | None = None
        self._early: deque[Any] = deque(maxlen=_EARLY)
        self._last_pts = -(1 << 62)
        self._labels: list[tuple[tuple[float, float, float, float], str, list[str]]] = []
        self._scene = 0  # that the labels are of

    def start(self, rate: Fraction | None, audio: Any) -> None:
        """Take in the source's frames a second, a hint for the encoder, and its audio stream in PyAV, if it has one."""
        self._rate = rate or Fraction(25)
        if audio is not None:
            self._sounds = Soundtrack(self._av, self._out, audio, self._container)

    def write(self, item: Frame | Sound, timeline: Timeline, rows: range | None) -> None:
        """Append a frame or an audio packet. `rows` are the frame's rows of the time line, None where not sampled.

        Raises EmonetError when the disk or the encoder refuses; what was written before plays.
        """
        try:
            if isinstance(item, Sound):
                self._sound(item.packet)
            else:
                if rows is not None or item.chosen:
                    self._label(timeline, rows or range(0))
                    self._scene = item.scene
                self._frame(item, timeline)
        except (self._av.error.FFmpegError, OSError) as error:
            raise EmonetError(f"cannot write {self.path}: {error}") from error

    def _sound(self, packet: Any) -> None:
        if self._video is None:
            self._early.append(packet)
        elif self._sounds is not None and (packet.pts is None or packet.pts >= 0):  # what plays before 0 is no sound
            self._sounds.write(packet)

    def _label(self, timeline: Timeline, rows: range) -> None:
        self._labels = []
        scores = timeline.scores
        if scores.faces is None:
            return
        top = scores.top(self._top, min_reliability=self._min_reliability)
        for i in rows:
            x, y, width, height = scores.faces[i, :4].tolist()
            if scores.status[i] != Status.OK or x != x:
                continue
            track = int(timeline.track[i])
            colour = _COLOURS[track % len(_COLOURS)]
            name = "" if track == NO_TRACK else f"#{track}"
            kind = scores.value_kind
            lines = [f"{taxonomy.find(emotion).name} {value_text(value, kind)}" for emotion, value in top[i]]
            self._labels.append(((x, y, x + width, y + height), colour, [name, *lines] if name else lines))

    def _frame(self, frame: Frame, timeline: Timeline) -> None:
        if frame.pts <= self._last_pts:  # a late frame has no place in a file
            return
        rgb = frame.rgb()
        if self._video is None:
            self._begin(frame, rgb, timeline)
        labels = self._labels if frame.scene == self._scene else []
        if labels or self._warnings:
            rgb = draw(rgb, labels, self._warnings)
        shown = self._av.VideoFrame.from_ndarray(_fitted(rgb, self._video.width, self._video.height), format="rgb24")
        picture = shown.reformat(format="yuv420p", dst_colorspace=self._matrix, dst_color_range=1)
        picture.pts, picture.time_base = frame.pts, frame.time_base
        self._out.mux(self._video.encode(picture))
        self._last_pts = frame.pts
        self.frames += 1

    def _begin(self, frame: Frame, rgb: UInt8Array, timeline: Timeline) -> None:
        comment = [*self._warnings, *(f"{name}: {fact}" for name, fact in timeline.facts.items())]
        if comment:
            self._out.metadata["comment"] = "; ".join(comment)
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        # The encoder holds nothing back, and 25 frames make a fragment: so a cut file plays almost to its end.
        options = {"bf": "0", "g": "25"}
        if codec == "libx264":
            options |= {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        self._video = self._out.add_stream(codec, rate=self._rate, options=options)
        self._video.height, self._video.width = rgb.shape[0] // 2 * 2 or 2, rgb.shape[1] // 2 * 2 or 2
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = frame.time_base
        self._matrix = _BT709 if self._video.height >= _HD else _BT601
        self._video.codec_context.colorspace = self._matrix
        self._video.codec_context.color_primaries = self._video.codec_context.color_trc = self._matrix
        self._video.codec_context.color_range = 1  # MPEG: 16 to 235
        self._out.start_encoding()
        for packet in self._early:
            self._sound(packet)
        self._early.clear()

    def close(self) -> None:
        """Finish the file and rename it into place; without a single frame it is removed.

        Raises EmonetError when the disk or the encoder refuses; the partial file plays to its last part.
        """
        if self.empty:
            self.abort()
            return
        self._finish()
        self.partial.replace(os.path.realpath(self.path))

    def leave(self) -> str:
        self._finish()
        return left_in(self.partial, self.path)

    @property
    def audio_note(self) -> str:
        """Why there is no audio, or not all of it; "" when it is whole."""
        return "the source has no audio" if self._sounds is None else self._sounds.note

    @property
    def empty(self) -> bool:
        return not self.frames

    @property
    def kept(self) -> str:
        return counted(self.frames, "frame") if self.frames else ""

    def _finish(self) -> None:
        try:
            self._out.mux(self._video.encode(None))
            if self._sounds is not None:
                self._sounds.finish()
            self._out.close()
        except (self._av.error.FFmpegError, OSError) as error:
            raise EmonetError(f"cannot finish {self.path}: {error}; {self.partial} plays to its last part") from error

    def abort(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(self._av.error.FFmpegError, OSError, ValueError):
            self._out.close()
        self.partial.unlink(missing_ok=True)


def draw(
    rgb: UInt8Array,
    labels: list[tuple[tuple[float, float, float, float], str, list[str]]],
    warnings: Sequence[str] = (),
) -> UInt8Array:
    """A copy of [H, W, 3] uint8 with the box (left, top, right, bottom), colour and lines of text of each face."""
    image = Image.fromarray(rgb)
    pen = ImageDraw.Draw(image)
    size = max(10, round(min(image.size) / 32))
    font = ImageFont.load_default(size)
    for (left, top, right, bottom), colour, lines in labels:
        pen.rectangle((left, top, right, bottom), outline=colour, width=max(2, size // 7))
        if not lines:
            continue
        widest = max(pen.textlength(line, font=font) for line in lines)
        step, pad = round(size * 1.25), size // 4
        tall = step * len(lines) + 2 * pad
        x = min(max(0.0, left), max(0.0, image.width - widest - 2 * pad))
        y = bottom + 2 if bottom + 2 + tall <= image.height else max(0.0, top - tall - 2)
        pen.rectangle((x, y, x + widest + 2 * pad, y + tall), fill="#101217")
        for i, line in enumerate(lines):
            pen.text((x + pad, y + pad + i * step), line, font=font, fill=colour if i == 0 else "#eceef2")
    for i, warning in enumerate(warnings):
        pen.text(
            (size, size * (1 + 1.25 * i)), warning, font=font, fill="#eceef2", stroke_width=2, stroke_fill="#101217"
        )
    return np.asarray(image)


def _fitted(rgb: UInt8Array, width: int, height: int) -> UInt8Array:
    """The picture in the size that the video began with: cut by a pixel for even sides, resized after a change."""
    if rgb.shape[0] - height in (0, 1) and rgb.shape[1] - width in (0, 1):
        return np.ascontiguousarray(rgb[:height, :width])
    return np.asarray(Image.fromarray(rgb).resize((width, height)))
