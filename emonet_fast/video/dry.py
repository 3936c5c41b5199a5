"""What a run would score, and about how long it takes: a look at each video, and a short measurement of some."""

import math
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ..options import VideoOptions
from ..process import Pace
from ..scorer import Scorer
from ..sources.video.frames import Frame, VideoSource
from ..sources.video.names import kind_of
from ..text import counted, duration
from .job import VideoOutputs, VideoRun
from .summary import VideoSummary

# Videos that are measured, at most.
_MEASURED = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would make of one video.

    Args:
        source: the input.
        name: of the video, for people.
        contents: what is known of it, for people.
        samples: about how many frames will be sampled; None where the end is unknown.
        measurable: whether it is a file, which can be read once more.
    """

    source: object
    name: str
    contents: str
    samples: int | None
    measurable: bool

    def line(self) -> str:
        """For people."""
        count = "an unknown number of frames" if self.samples is None else f"about {counted(self.samples, 'frame')}"
        return f"{self.name}: {self.contents}; {count} to score"


def preview(source: object, video: VideoSource, options: VideoOptions) -> Preview:
    """Look at an open video and its first frame, which is read of it. source: the input that it comes from."""
    frame = next((item for item in video if isinstance(item, Frame)), None)
    contents = list(video.contents)
    if frame is not None:
        height, width = frame.rgb().shape[:2]
        contents += [f"shown as {width} x {height}"] * (f" {width} x {height}" not in video.contents[-2:][0])
        contents += [f"turned by {video.rotation} degrees"] if video.rotation else []
    contents += [f"{float(video.rate):.6g} frames/s"] if video.rate else []
    contents += [f"{video.duration:.2f} s"] if video.duration is not None else []
    contents += ["live"] if video.live else []
    contents += [fault for fault in (video.faults.ended, *video.faults.notes) if fault]
    samples = 0 if frame is None else _samples(video, options)
    file = isinstance(source, str) and kind_of(source) == "file"
    return Preview(source, video.name, ", ".join(contents), samples, file and not video.live)


def _samples(video: VideoSource, options: VideoOptions) -> int | None:
    ends = [video.begin + video.duration] if video.duration is not None else []
    ends += [options.end] if options.end is not None else []
    if not ends or video.live:
        return None
    length = max(0.0, min(ends) - max(video.begin, options.start or video.begin))
    rates = [float(rate) for rate in (options.fps, video.rate) if rate is not None]
    return max(1, math.ceil(length * min(rates, default=25.0) - 0.01))


def pace(scorer: Scorer, source: object, options: VideoOptions, outputs: VideoOutputs) -> float | None:
    """Seconds of work for a sampled frame: of the real run for some seconds, with outputs that are thrown away.

    None where the video has no frame to score.
    """
    measured = Pace()

    def note(now: VideoSummary) -> None:
        if measured.add(now.frames):
            run.stop()

    with tempfile.TemporaryDirectory() as folder:
        aside = replace(
            outputs,
            tables=tuple(Path(folder, f"{i}{path.suffix}") for i, path in enumerate(outputs.tables)),
            overlay=outputs.overlay and Path(folder, f"overlay{outputs.overlay.suffix}"),
            report=outputs.report and Path(folder, "report.html"),
        )
        with closing(VideoRun(scorer, [source], options, aside)) as run:
            if run.check():
                run.run(note)
    return measured.seconds


def estimate(
    scorer: Scorer, previews: Iterable[Preview], options: VideoOptions, outputs: VideoOutputs
) -> tuple[int, float, int] | None:
    """The frames of all videos whose end is known, the seconds that they take, and how many videos were measured.

    Only a few are measured; the others are taken to be as fast as those on average. None where none can be measured.
    """
    known = [one for one in previews if one.samples]
    to_measure = [one.source for one in known if one.measurable][:_MEASURED]
    if to_measure:
        scorer.open()
    paces = [pace(scorer, source, options, outputs) for source in to_measure]
    measured = [one for one in paces if one is not None]
    if not measured:
        return None
    frames = sum(one.samples or 0 for one in known)
    return frames, frames * sum(measured) / len(measured), len(measured)


def verdict(found: tuple[int, float, int] | None, videos: int) -> str:
    """The last line of a dry run. videos: how many can be read."""
    if found is None:
        return f"{counted(videos, 'video')}; the time cannot be said: no input has a known end, or can be read twice"
    frames, seconds, measured = found
    return (
        f"about {counted(frames, 'frame')} of {counted(videos, 'video')}, which take about {duration(seconds)} "
        f"({seconds / frames:.3g} s a frame, measured on {counted(measured, 'video')}; nothing was written)"
    )
