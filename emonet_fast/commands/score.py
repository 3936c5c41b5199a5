"""`emonet-fast score`: pictures to rows."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bars import progress as bar_of
from ..bars import steps
from ..options import FaceOptions, Options, check_for_embeddings
from ..text import counted
from . import engines, stored
from . import options as opt

if TYPE_CHECKING:
    from ..job import ScoreSummary
    from ..sources import Inputs
    from ..sources.embeddings.chosen import StoredInputs


@opt.command(
    ("A folder, as a table and as a page to look at:", "photos/ -c small -o scores.parquet --report scores.html"),
    ("Every face of a picture, found by YuNet:", "party.jpg -c large --faces detect"),
    ("Other heads on stored embeddings, without the encoder:", "scores.parquet -c heads/ -o again.parquet"),
)
@opt.inputs
@opt.image_column
@opt.embedding_column
@engines.checkpoint
@engines.face_options()
@engines.engine_options()
@opt.tables_output("F.parquet|.csv|.jsonl|.xlsx", "Write the rows to this table, or to a URL (s3://...).")
@opt.OUTPUT(
    "--format",
    "Choose the table's layout; laion is the published JSON lines.",
    default="default",
    choices=["default", "laion"],
)
@opt.excel
@opt.embeddings
@opt.OUTPUT(
    "--npy F.npy", "Write the embeddings to this NumPy file, a row for each of the table.", type=opt.OutputFile(".npy")
)
@opt.report_page("Write a page of pictures and their scores.")
@opt.top(5)
@stored.baseline()
@stored.min_reliability
@opt.dry_run
@opt.progress
def score(
    inputs: tuple[str, ...],
    image_column: str | None,
    embedding_column: str | None,
    checkpoint: str,
    faces: FaceOptions,
    options: Options,
    output: Path | None,
    format: str,
    excel: bool,
    embeddings: bool,
    npy: Path | None,
    report: Path | None,
    top: int,
    baseline: str | None,
    min_reliability: float | None,
    dry_run: bool,
    progress: str,
) -> None:
    """Score pictures: files, folders, globs, tar shards, tables. Or score stored embeddings: tables, .npy.

    Every input gives a row: scores, or a status and a reason. With --faces detect, a row a face, and a row with
    status no_face for a picture without any. Ctrl-C keeps what was scored.
    """
    from .. import job
    from ..arithmetic import EMOTIONS
    from ..faces import FaceSample, prepare_faces
    from ..files import keep_apart
    from ..reliability import reliable
    from ..scorer import Scorer
    from ..sinks.terminal import table
    from ..sources import Inputs
    from ..sources.embeddings.chosen import StoredInputs, stored_embeddings

    population = stored.chosen_baseline(baseline, "self")
    reliable(EMOTIONS, min_reliability)  # refuses what would leave no emotion
    scorer, notes = Scorer(checkpoint, options=options), tuple[str, ...]()
    source: Inputs | StoredInputs
    vectors = stored_embeddings(inputs, image_column, embedding_column)
    if vectors is None:
        source = Inputs(inputs, options, image_column=image_column)
    else:
        check_for_embeddings(options, faces)
        scorer, source = scorer.of_embeddings(vectors.facts), StoredInputs(vectors)
        notes = source.notes
    with scorer:
        carried = source.carried if isinstance(source, StoredInputs) else None
        outputs = job.ScoreOutputs(
            output, format, report, opt.title(inputs), embeddings, top, excel, npy, population, min_reliability, carried
        )
        job.check(outputs)
        keep_apart(outputs.files, (*source.paths(), *opt.files_read(checkpoint, options, faces, baseline)))
        find_faces = prepare_faces(faces, options, checkpoint)
        sample = None
        if faces.faces == "none" and not dry_run and vectors is None:
            sample = FaceSample.where_known(checkpoint, options)
        with steps("packing", show=progress) as done:
            scorer.open(done, pictures=source.total)
        if vectors is not None:
            scorer.check_embeddings(vectors)
        locator = find_faces(scorer.place)
        if dry_run:
            _show(source, faces, job.pace(scorer, source, locator))
            return
        # With faces, how many rows there will be is known at the end.
        with bar_of(source.total if locator is None else None, show=progress) as bar:
            summary = job.run(scorer, source, outputs, bar.update, locator, source.skipped, sample, notes)
    if summary.first is not None:
        columns = shutil.get_terminal_size((100, 40)).columns
        click.echo(table(summary.first, outputs.top, columns, min_reliability))
        hidden = sum(summary.counts.values()) - len(summary.first)
        if hidden:
            opt.say(f"... and {counted(hidden, 'more row')}")
    for note in summary.notes:
        opt.say(note)
    opt.wrote(*summary.written)
    opt.say(summary.line())
    sys.exit(_status(summary))


def _show(source: "Inputs | StoredInputs", faces: FaceOptions, pace: float | None) -> None:
    """What --dry-run shows. pace: seconds of work for a picture."""
    from .. import job
    from ..sources.skipped import skipped_text

    many = "tars, whose pictures are not counted yet" if source.total is None else counted(source.total, "picture")
    skipped = skipped_text(source.skipped)
    opt.say("; ".join(filter(None, (many, skipped, f"faces: {faces.faces}"))))
    opt.say(job.pace_text(pace, source.total))


def _status(summary: "ScoreSummary") -> opt.Exit:
    """The exit status of a run, after a line on whatever went wrong."""
    for fault in summary.faults:
        opt.say(f"error: {fault}", err=True)
    if isinstance(summary.ended, KeyboardInterrupt):
        opt.say("interrupted: what was scored until then is kept", err=True)
        return opt.Exit.INTERRUPTED
    if summary.ended is not None:
        opt.say(f"error: {summary.ended}; what was scored until then is kept", err=True)
    if summary.ended is not None or not summary.scored:
        return opt.Exit.FAILED
    return opt.Exit.MISSED if summary.faults else opt.Exit.DONE
