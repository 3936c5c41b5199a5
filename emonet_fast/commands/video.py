"""`emonet-fast video` and `recover`: the faces of videos over time, and the rows of a killed run."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bars import progress as bar_of
from ..bars import steps
from ..errors import OptionError
from ..options import FaceOptions, Options, VideoOptions
from ..process import signals_to
from ..text import counted
from . import engines, stored
from . import options as opt

if TYPE_CHECKING:
    from ..scorer import Scorer
    from ..video.job import VideoOutputs, VideoRun
    from ..video.summary import VideoSummary

_DEFAULT = VideoOptions()


def _chosen(fps: str, track: bool, smooth: float, **others: Any) -> VideoOptions:
    """What the options of a video say, but for its faces."""
    try:
        rate = None if fps == "all" else float(fps)
    except ValueError:
        raise click.BadParameter(f"{fps!r} came; expected a number or all", param_hint="--fps") from None
    return VideoOptions(fps=rate, track=track, smooth=smooth if track else 0.0, **others)


_video_options = opt.together(
    "chosen",
    _chosen,
    _DEFAULT,
    fps=opt.INPUT("--fps N|all", "Sample this many frames a second, or all.", default=f"{_DEFAULT.fps:g}"),
    start=opt.INPUT("--start T", "Begin at this second of the video's own time.", type=float),
    end=opt.INPUT("--end T", "Stop at this second of the video's own time.", type=float),
    stream=opt.INPUT(
        "--stream N", "Take this stream of the file, as ffprobe numbers it.", type=int, show_default="as players do"
    ),
    video_size=opt.INPUT("--video-size WxH", "Read raw frames of this size, as `ffmpeg -f rawvideo` writes them."),
    framerate=opt.INPUT("--framerate N", "Take raw frames to be this many a second."),
    pixel_format=opt.INPUT("--pixel-format P", "Take raw frames to have this format, as FFmpeg calls it."),
    live=opt.INPUT("--live/--no-live", "Let the newest frame win, or wait for each.", show_default="live for cameras"),
    hardware=opt.INPUT("--nvdec/--no-nvdec", "Decode on an NVIDIA GPU where there is one."),
    max_download=opt.INPUT(
        "--max-download N", "Do not keep videos with more bytes, where they must be read whole first."
    ),
    track=opt.FACES("--track/--no-track", "Follow faces from frame to frame."),
    track_memory=opt.FACES("--track-memory SECONDS", "Let a face go on as who it was for this long while not found."),
    people=opt.FACES("--people N", "Join tracks into at most N people.", type=int, show_default="no joining"),
    cuts=opt.FACES("--cuts/--no-cuts", "End tracks and smoothing where the picture is cut."),
    smooth=opt.FACES("--smooth SECONDS", "Smooth scores with this time constant in seconds; 0 does not."),
    score_every=opt.FACES("--score-every K", "Score a track only in every K-th sampled frame.", type=int),
    score_change=opt.FACES(
        "--score-change X", "Score a track only when its box has changed by X (1 - IoU).", type=float
    ),
    embeddings=opt.embeddings,
)


@opt.command(
    ("Faces of a film, as a table and a page:", "talk.mp4 -c small -o talk.parquet --report talk.html"),
    ("A camera until Ctrl-C, with a video of boxes and emotions:", "0 -c small --overlay seen.mp4"),
)
@opt.inputs
@engines.checkpoint
@engines.face_options(_DEFAULT.faces)
@_video_options
@engines.engine_options("exif", "max_bytes", "max_memory", "max_seconds")
@opt.tables_output(
    "F.parquet|.csv|.jsonl|.xlsx|.json|.vtt|.eaf|.boris.tsv",
    "Write the rows to this file; may be given again.",
    multiple=True,
)
@opt.excel
@opt.OUTPUT("--overlay F.mp4|.mkv", "Write the video with boxes, emotions and its sound.", type=opt.OutputFile())
@opt.report_page("Write a page of heat maps, lines and peaks of every face.")
@opt.top(3)
@stored.baseline("|person", "self the run's own rows, or person each face's own rows, its quiet level")
@stored.min_reliability
@opt.dry_run
@opt.progress
def video(
    inputs: tuple[str, ...],
    checkpoint: str,
    faces: FaceOptions,
    chosen: VideoOptions,
    options: Options,
    output: tuple[Path, ...],
    excel: bool,
    overlay: Path | None,
    report: Path | None,
    top: int,
    baseline: str | None,
    min_reliability: float | None,
    dry_run: bool,
    progress: str,
) -> None:
    """Score faces over time: video files, URLs, cameras.

    Inputs are files, URLs (RTSP, HTTP), cameras (0, /dev/video0) and - (standard input); the extra `video` is needed.
    There is a row for each face of a sampled frame, and one for a frame without a face; .json is COCO, .vtt is WebVTT.
    .eaf (ELAN) and .boris.tsv (BORIS' events) have for how long each face's strongest emotion stays the same.
    Ctrl-C finishes the files.
    """
    from ..arithmetic import EMOTIONS
    from ..reliability import reliable
    from ..scorer import Scorer
    from ..video.job import VideoOutputs, VideoRun

    chosen = replace(chosen, faces=faces)
    title = opt.title(inputs)
    population = stored.chosen_baseline(baseline, "self", "person")
    reliable(EMOTIONS, min_reliability)  # refuses what would leave no emotion
    outputs = VideoOutputs(output, overlay, report, title, top, population, min_reliability, excel)
    if not outputs.files and not dry_run:
        raise OptionError("no output came; expected --output, --overlay, --report or --dry-run")
    with (
        Scorer(checkpoint, options=options) as scorer,
        steps("reading", show=progress) as told,
        closing(VideoRun(scorer, inputs, chosen, outputs, told)) as run,
    ):
        readable = run.check(opt.files_read(checkpoint, options, faces, baseline))
        _tell(run.summary)
        if not readable:
            sys.exit(opt.Exit.FAILED)
        if dry_run:
            sys.exit(_show(run, scorer, chosen, outputs))
        with steps("packing", show=progress) as done:
            scorer.open(done, pictures=1 if _one_by_one(inputs, chosen) or overlay is not None else None)
        with _stopped_by_signals(run), _bars(progress) as show:
            summary = run.run(show)
    for note in summary.notes:
        opt.say(note)
    _tell(summary)
    opt.wrote(*summary.written)
    if summary.interrupted:
        opt.say("interrupted: what was scored until then is in the files")
    opt.say(summary.line())
    if summary.scored and (summary.stopped or summary.lost):
        sys.exit(opt.Exit.MISSED)
    # Ctrl-C is how a camera's run ends.
    if summary.interrupted and not (summary.scored and summary.live):
        sys.exit(opt.Exit.INTERRUPTED)
    sys.exit(opt.Exit.DONE if summary.scored else opt.Exit.FAILED)


def _show(run: "VideoRun", scorer: "Scorer", chosen: VideoOptions, outputs: "VideoOutputs") -> opt.Exit:
    """What --dry-run shows."""
    from ..video import dry

    looks = []
    for source, video in run.videos():
        with closing(video):
            looks.append(dry.preview(source, video, chosen))
        opt.say(looks[-1].line())
    _tell(run.summary)
    rate = "every frame" if chosen.fps is None else f"{chosen.fps:g} frames a second"
    opt.say(f"{rate}, faces: {chosen.faces.faces}")
    opt.say(dry.verdict(dry.estimate(scorer, looks, chosen, outputs), len(looks)))
    return opt.Exit.DONE if any(look.samples != 0 for look in looks) else opt.Exit.FAILED


def _tell(summary: "VideoSummary") -> None:
    """Say the messages so far, once."""
    for message in summary.messages:
        opt.say(f"note: {message}", err=True)
    summary.messages.clear()


def _one_by_one(inputs: tuple[str, ...], chosen: VideoOptions) -> bool:
    """Whether faces come singly: of a live source, or where most take over earlier scores."""
    from ..sources.video.names import is_live

    live = any(map(is_live, inputs)) if chosen.live is None else chosen.live
    return live or chosen.score_every is not None or chosen.score_change is not None


@contextmanager
def _stopped_by_signals(run: "VideoRun") -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP let the run finish its files; a second Ctrl-C ends it at once."""

    def stop(number: int, frame: object) -> None:
        if run.summary.interrupted:
            raise KeyboardInterrupt
        run.stop()

    with signals_to(stop, lambda before: before != signal.SIG_IGN):
        yield


@contextmanager
def _bars(shown: str) -> Iterator[Callable[["VideoSummary"], None]]:
    """A bar over each video's time, with its ETA, frames/s, faces/s and shares of work."""
    began = time.perf_counter()
    bars: dict[str, Any] = {}
    with ExitStack() as stack:

        def show(now: "VideoSummary") -> None:
            if now.name not in bars:
                stack.close()  # the bar of the video before
                bars.clear()
                bars[now.name] = stack.enter_context(bar_of(now.duration and round(now.duration, 1), "s", show=shown))
            passed = max(time.perf_counter() - began, 1e-9)
            work = " ".join(f"{stage} {share:.0%}" for stage, share in now.shares().items())
            rates = f"{now.frames / passed:.1f} frames/s, {now.faces / passed:.1f} faces/s"
            bars[now.name].set_postfix_str(f"{rates}, {work}", refresh=False)
            bars[now.name].update(max(0.0, round(now.at, 1) - bars[now.name].n))

        yield show


@opt.command(
    ("What a run has left of talk.parquet in talk.parquet.partial:", "talk.parquet"),
    ("The same by the name of what is there:", "talk.parquet.partial"),
)
@opt.place("table", "F")
def recover(table: Path) -> None:
    """Make a file from what a run that ended early has left.

    F is the file that `score` or `video` would have written, or its .partial file, which is gone in the end. A table
    gets the whole rows; a file of another kind (.json, .vtt, .mp4) gets its name back. An older F is replaced.
    """
    from ..sinks.growing import SUFFIX
    from ..sinks.timeline import recover as recover_rows

    path = table.with_suffix("") if table.suffix == SUFFIX else table
    rows = recover_rows(path)
    opt.say(f"wrote {path}" + ("" if rows is None else f": {counted(rows, 'row')}"))
