"""`emonet-fast bulk` and `report`: data sets of any size to folders of tables, and a page on such a folder."""

import sys
from pathlib import Path
from typing import Any

from ..bars import steps
from ..files import files_of, keep_apart
from ..options import EMBEDDINGS, ENGINES, SHARD_SIZE
from ..text import counted, one_line
from . import engines, stored
from . import options as opt


@opt.command(
    ("A folder and tar shards, on every GPU of this machine:", "photos/ shards/*.tar -c large -o scores/"),
    ("Other heads on a finished run's embeddings, without the encoder:", "scores/ -c heads/ -o again/"),
    ("The first of eight jobs on a cluster, for faces:", "photos/ -c large -o scores/ --faces detect --shard 0/8"),
)
@opt.inputs
@opt.image_column
@opt.embedding_column
@opt.INPUT("--keep COLUMNS", "Carry these columns of the tables along, as a,b.", multiple=True)
@engines.checkpoint
@engines.face_options()
@engines.engine_options("trust_engine")  # its plan knows engines by what made them
@opt.ENGINE("--devices LIST", "Run a process on each of these (cuda:0,1); auto: every GPU.", default="auto")
@opt.ENGINE("--engine", "Run here, or on a cluster of Ray (extra `ray`).", default="local", choices=ENGINES)
@opt.ENGINE("--ray-address A", "Join the Ray cluster at this address, or auto.", show_default="starts one")
@opt.ENGINE("--shard i/n", "Score only part i of n, for one of several jobs.", default="0/1")
@opt.ENGINE("--retry-errors", "Score shards again that failed, or that have unreadable rows.", is_flag=True)
@opt.output("DIR", "Write the shards into this folder, a parquet file each.", required=True)
@opt.OUTPUT("--shard-size N", "Put at most this many rows into a shard.", type=int, default=SHARD_SIZE)
@stored.baseline()
@opt.OUTPUT("--embeddings", "Write the 1152-d embeddings too.", default="none", choices=EMBEDDINGS)
@opt.dry_run
@opt.progress
def bulk(shard: str, keep: tuple[str, ...], output: Path, dry_run: bool, progress: str, **fields: Any) -> None:
    """Score data sets of any size, and go on after a stop.

    Inputs are folders, tar shards, parquet files, or a data set's hub id. The output is a folder with one parquet file
    a shard. Stopped, killed or interrupted at any moment, the same command goes on with what is missing; no row is lost
    or doubled.
    """
    from ..bulk import dry, job
    from ..bulk.settings import Settings, parse_part
    from ..job import pace, pace_text

    columns = tuple(name.strip() for text in keep for name in text.split(","))
    keep_apart((output,), fields["inputs"])
    # Every other option has the name of its field.
    settings = Settings(output=output, part=parse_part(shard), keep=columns, **fields)
    try:
        with steps("packing", show=progress) as done:
            if dry_run:
                opt.say(pace_text(*dry.preview(settings, opt.say, pace, done)))
                return
            summary = job.run(settings, _say, done, progress)
    except KeyboardInterrupt:
        _say(f"interrupted: every shard that has its marker in {output} is whole; the same command goes on from there")
        sys.exit(opt.Exit.INTERRUPTED)
    opt.say(*summary.text().split("\n"))
    if summary.failed:
        opt.say("failed shards are tried again with --retry-errors")
        sys.exit(opt.Exit.INCOMPLETE)
    # A part without a shard, as of more jobs than the plan has shards, has done all that it had to do.
    sys.exit(opt.Exit.DONE if summary.counts.get("ok") or not summary.shards else opt.Exit.FAILED)


def _say(text: str) -> None:
    """Print a line beside the progress bar, on standard error."""
    from tqdm import tqdm

    tqdm.write(one_line(text), file=sys.stderr)


@opt.command(
    ("The page of a finished run:", "scores/"),
    ("A page without pictures, somewhere else:", "scores/ -o page.html --no-pictures"),
)
@opt.place("folder", "DIR")
@opt.INPUT(
    "--pictures/--no-pictures",
    "Read the most typical pictures again, to show them.",
    default=None,
    show_default="those below the run's inputs",
)
@opt.output("F.html", "Write the page to this file.", opt.OutputFile(*opt.PAGES), show_default="DIR/report.html")
@stored.baseline()
@stored.min_reliability
def report(
    folder: Path,
    pictures: bool | None,
    output: Path | None,
    baseline: str | None,
    min_reliability: float | None,
) -> None:
    """Make one page on a folder of `bulk`.

    It shows counts, errors, distributions, what occurs together, typical pictures, and labels. Pictures come from where
    the folder's plan says; of a folder that others made, look at the inputs on the page before you hand it on.
    """
    from ..bulk.report import write_report

    path = output or folder / "report.html"
    # Pages of earlier runs may lie in the folder: they are no part of it.
    opt.try_files(path, inputs=files_of(folder, lambda name: not name.endswith(opt.PAGES)))
    population = stored.chosen_baseline(baseline, "self")
    report = write_report(folder, path, pictures=pictures, baseline=population, min_reliability=min_reliability)
    opt.say(
        *report.notes,
        f"{counted(report.total, 'row')} of {report.done} of {counted(report.shards, 'shard')}",
        f"wrote {path}",
    )
