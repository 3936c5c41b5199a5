"""`emonet-fast video`: arguments to VideoOptions, the run, its last words; nothing else."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..options import BACKENDS, PRECISIONS, FaceOptions, VideoOptions

if TYPE_CHECKING:
    from ..video.job import VideoRun
    from ..video.summary import VideoProgress, VideoSummary

EXIT_STOPPED, EXIT_NOTHING, EXIT_INTERRUPTED = 1, 2, 130
_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--checkpoint", "-c", required=True, metavar="C", help="As in `score`.")
@click.option("--fps", default="2", show_default=True, metavar="N|all", help="Frames a second that are sampled.")
@click.option("--start", type=float, metavar="T", help="From this second of the video's own time on.")
@click.option("--end", type=float, metavar="T", help="Up to this second.")
@click.option(
    "--output",
    "-o",
    "tables",
    multiple=True,
    type=_FILE,
    help="F.parquet, .csv, .jsonl, .json (COCO, for VideoAnnotator) or .vtt (WebVTT); may be given again.",
)
@click.option("--overlay", type=_FILE, help="F.mp4 or .mkv: the video with boxes and emotions, its audio kept.")
@click.option("--report", type=_FILE, help="F.html: heat maps, lines and peaks of every face.")
@click.option("--track/--no-track", default=True, show_default=True, help="Follow faces from frame to frame.")
@click.option("--smooth", default=1.0, show_default=True, metavar="SECONDS", help="Of the smoothed columns; 0: none.")
@click.option("--score-every", type=int, metavar="K", help="Score a track every K sampled frames only.")
@click.option("--score-change", type=float, metavar="X", help="Score a track when its box changed by more (1 - IoU).")
@click.option("--detector", default="yunet", show_default=True, metavar="D", help="yunet, boxes:FILE, or none.")
@click.option("--detector-model", type=_FILE, metavar="F", help="YuNet's ONNX file.  [default: the hub's]")
@click.option("--face-margin", default=0.25, show_default=True, help="Of a face's longer side, around it.")
@click.option("--face-score", default=0.75, show_default=True, help="Of the detector; weaker faces are left out.")
@click.option("--min-face", default=20.0, show_default=True, metavar="PX", help="Smaller faces are left out.")
@click.option("--live/--no-live", default=None, help="Newest frame wins.  [default: for cameras and RTSP]")
@click.option("--nvdec/--no-nvdec", default=True, show_default=True, help="Decode on an NVIDIA GPU where there is one.")
@click.option("--embeddings", is_flag=True, help="Also write the 1152-d embeddings.")
@click.option("--top", default=3, show_default=True, type=click.IntRange(1, 40), help="Emotions shown a face.")
@click.option("--device", default="auto", show_default=True, metavar="D", help="auto, cpu or cuda[:N].")
@click.option("--backend", default="auto", show_default=True, type=click.Choice(BACKENDS), help="auto: by the device.")
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS), help="Of the engine.")
@click.option("--threads", type=int, help="CPU threads.  [default: all]")
@click.option("--revision", metavar="REV", help="Revision of the hub repositories, instead of the pin.")
@click.option("--cache-dir", type=_FILE, help="Engines and packed weights.  [default: see doctor]")
def video(
    inputs: tuple[str, ...],
    checkpoint: str,
    fps: str,
    start: float | None,
    end: float | None,
    tables: tuple[Path, ...],
    overlay: Path | None,
    report: Path | None,
    track: bool,
    smooth: float,
    score_every: int | None,
    score_change: float | None,
    detector: str,
    detector_model: Path | None,
    face_margin: float,
    face_score: float,
    min_face: float,
    live: bool | None,
    nvdec: bool,
    embeddings: bool,
    top: int,
    device: str,
    backend: str,
    precision: str,
    threads: int | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Score the faces of videos over time: files, URLs (RTSP, HTTP), cameras (0, /dev/video0) (extra `video`).

    A row a face and sampled frame; a frame without a face has a row too. Ctrl-C finishes the files. Exit status: 0, 1
    when an output could not be written any more, 2 when nothing was scored, 130 when a file was interrupted.
    """
    from ..options import default_cache_dir
    from ..scorer import Scorer
    from ..sources.video.frames import Sampling
    from ..video.job import VideoOutputs, VideoRun

    faces = FaceOptions({"yunet": "detect"}.get(detector, detector), detector_model, face_margin, min_face, face_score)
    chosen = VideoOptions(
        fps=_fps(fps),
        start=start,
        end=end,
        faces=faces,
        track=track,
        smooth=smooth if track else 0.0,
        score_every=score_every,
        score_change=score_change,
        live=live,
        hardware=nvdec,
        embeddings=embeddings,
    )
    Sampling(chosen.fps, start, end)  # says at once what cannot work
    with Scorer(
        checkpoint,
        device=device,
        precision=precision,
        revision=revision,
        threads=threads,
        cache_dir=cache_dir or default_cache_dir(),
        backend=backend,
    ) as scorer:
        run = VideoRun(scorer, chosen, VideoOutputs(tables, overlay, report, _title(inputs), top))
        run.check(inputs)
        scorer.open()
        with _stopped_by_signals(run), _bars() as progress:
            summary = run.run(inputs, progress)
    _show(summary)
    sys.exit(_status(summary))


def _fps(text: str) -> float | None:
    if text == "all":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} came; expected a number or all", param_hint="--fps") from None


def _title(inputs: tuple[str, ...]) -> str:
    from ..sources.video.opening import without_password

    return without_password(inputs[0]) + (f" and {len(inputs) - 1} more" if len(inputs) > 1 else "")


@contextmanager
def _stopped_by_signals(run: "VideoRun") -> Iterator[None]:
    """Ctrl-C and SIGTERM let the run finish its files; a second Ctrl-C ends it at once."""

    def stop(number: int, frame: object) -> None:
        if run.summary.interrupted:
            raise KeyboardInterrupt
        run.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bars() -> Iterator[Callable[["VideoProgress"], None]]:
    """A bar over the video's time on a terminal, with its ETA, frames/s, faces/s and shares of work."""
    import time

    from tqdm import tqdm

    began = time.perf_counter()
    bars: dict[str, Any] = {}

    def show(progress: "VideoProgress") -> None:
        bar = bars.get(progress.name)
        if bar is None:
            for old in bars.values():
                old.close()
            bars.clear()
            total = None if progress.duration is None else round(progress.duration, 1)
            bar = tqdm(total=total, unit="s", disable=not sys.stderr.isatty(), leave=False)
            bars[progress.name] = bar
        passed = max(time.perf_counter() - began, 1e-9)
        work = " ".join(f"{stage} {share:.0%}" for stage, share in progress.shares.items())
        bar.set_postfix_str(
            f"{progress.frames / passed:.1f} frames/s, {progress.faces / passed:.1f} faces/s, {work}", refresh=False
        )
        bar.update(max(0.0, round(progress.at, 1) - bar.n))

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def _show(summary: "VideoSummary") -> None:
    for note in summary.notes:
        click.echo(note)
    for message in summary.messages:
        click.echo(f"note: {message}", err=True)
    for path in summary.written:
        click.echo(f"wrote {path}")
    if summary.interrupted:
        click.echo("interrupted: what was scored until then is in the files")
    click.echo(summary.line())


def _status(summary: "VideoSummary") -> int:
    if not summary.scored:
        return EXIT_INTERRUPTED if summary.interrupted else EXIT_NOTHING
    if summary.stopped:
        return EXIT_STOPPED
    # Ctrl-C is how a camera's run ends.
    return EXIT_INTERRUPTED if summary.interrupted and not summary.live else 0
