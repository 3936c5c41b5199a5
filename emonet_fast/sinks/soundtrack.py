"""The audio of an overlay: the source's packets where the container takes them, else AAC, else none and why."""

import contextlib
import io
from fractions import Fraction
from typing import Any

# A step back beyond this is a new beginning (clips that were joined), a step forward a gap.
_BACK = Fraction(1, 4)
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
_AAC_SAMPLES = 1024  # of a packet


class Soundtrack:
    """One audio stream of an output container of PyAV. Make it before the output's header is written.

    Args:
        av: PyAV's module.
        out: the output container.
        audio: PyAV's audio stream of the source.
        options: of the output container.

    Attributes:
        note: why there is no sound, or not all of it; "" where it is whole.
    """

    def __init__(self, av: Any, out: Any, audio: Any, options: dict[str, str]) -> None:
        self._av, self._out = av, out
        self._stream: Any = None
        self._resampler: Any = None  # None where packets are copied
        self.note = ""
        # Matroska takes packets at one time (TrueHD in milliseconds), MP4 does not.
        self._least = 0 if out.format.name == "matroska" else 1
        self._last: int | None = None  # of the latest packet, in its ticks
        self._end = Fraction(0)  # of the latest sound, in seconds
        self._shift = 0
        if audio.codec_context is None:
            self.note = "its audio is of an unknown codec"
        elif _takes(av, out.format.name, audio, options):
            self._stream = out.add_stream_from_template(audio)
        else:
            rate = audio.codec_context.sample_rate
            self._rate = rate if rate in _AAC_RATES else 48_000
            layout = "mono" if audio.codec_context.channels == 1 else "stereo"
            self._stream = out.add_stream("aac", rate=self._rate, layout=layout)
            self._resampler = av.AudioResampler("fltp", layout, self._rate, _AAC_SAMPLES)

    def write(self, packet: Any) -> None:
        """Append a packet of the source. What the container refuses ends the sound alone, and is noted."""
        if self._stream is None or packet.dts is None:
            return
        try:
            if self._resampler is not None:
                with contextlib.suppress(self._av.error.FFmpegError):  # a broken packet costs its own sound
                    self._encode(packet.decode())
            else:
                self._go_on(packet)
                packet.stream = self._stream
                self._out.mux(packet)
        except (self._av.error.FFmpegError, ValueError) as error:
            self.note = f"its audio ends at {float(self._end):.2f} s: {error}"
            self._stream = None

    def _go_on(self, packet: Any) -> None:
        """Let the packet's times follow those of the one before."""
        at = packet.dts + self._shift
        if self._last is not None and at < self._last + self._least:
            new = self._last + self._least
            if (self._last - at) * packet.time_base > _BACK:
                new = max(new, round(self._end / packet.time_base))
                self._shift += new - at
            at = new
        if packet.pts is not None:
            packet.pts += at - packet.dts
        packet.dts = self._last = at
        self._end = (at + (packet.duration or 0)) * packet.time_base

    def _encode(self, frames: Any) -> None:
        """Encode decoded frames, None for what is held back, one after the other; a gap stays."""
        for frame in frames:
            if frame is not None and frame.pts is not None and frame.pts * frame.time_base > self._end + _BACK:
                self._end = frame.pts * frame.time_base
            for sound in self._resampler.resample(frame):
                sound.pts, sound.time_base = round(self._end * self._rate), Fraction(1, self._rate)
                self._end += Fraction(sound.samples, self._rate)
                self._out.mux(self._stream.encode(sound))

    def finish(self) -> None:
        """Write what the encoder holds back."""
        if self._stream is not None and self._resampler is not None:
            self._encode([None])
            self._out.mux(self._stream.encode(None))


def _takes(av: Any, kind: str, audio: Any, options: dict[str, str]) -> bool:
    """Whether a container of that kind takes packets of the stream as they are, by a trial in memory."""
    if kind != "matroska" and audio.codec_context.name == "aac" and not audio.codec_context.extradata:
        return False  # with headers of its own (MPEG-TS), which MP4 has elsewhere; its muxer sees that too late
    try:
        with av.open(io.BytesIO(), "w", format=kind, container_options=options) as trial:
            trial.add_stream_from_template(audio)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
