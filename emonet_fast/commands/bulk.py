"""`emonet-fast bulk`: data sets of any size to folders of tables."""

import sys
from pathlib import Path
from typing import Any

import click

from ..bars import steps
from ..options import EMBEDDINGS, ENGINES, SHARD_SIZE
from . import options as opt


@opt.command(
    ("A folder and tar shards, on every GPU of this machine:", "photos/ shards/*.tar -c large -o scores/"),
    ("The first of eight jobs on a cluster, for faces:", "photos/ -c large -o scores/ --faces detect --shard 0/8"),
)
@opt.inputs
@opt.image_column
@opt.INPUT("--keep", "Carry these columns of the tables along, as a,b.", multiple=True, metavar="COLUMNS")
@opt.checkpoint
@opt.face_options()
@opt.engine_options
@opt.ENGINE("--devices", "Run a process on each of these (cuda:0,1); auto: every GPU.", default="auto", metavar="LIST")
@opt.ENGINE("--engine", "Run here, or on a cluster of Ray (extra `ray`).", default="local", type=click.Choice(ENGINES))
@opt.ENGINE("--ray-address", "Join the Ray cluster at this address, or auto.", metavar="A", show_default="starts one")
@opt.ENGINE("--shard part", "Score only part i of n, for one of several jobs.", default="0/1", metavar="i/n")
@opt.ENGINE("--retry-errors", "Score shards again that failed, or that have unreadable rows.", is_flag=True)
@opt.output("Write the shards into this folder, a parquet file each.", required=True, metavar="DIR")
@opt.OUTPUT("--shard-size", "Put at most this many rows into a shard.", type=int, default=SHARD_SIZE, metavar="N")
@opt.OUTPUT("--embeddings", "Write the 1152-d embeddings too.", default="none", type=click.Choice(EMBEDDINGS))
def bulk(part: str, keep: tuple[str, ...], output: Path, **fields: Any) -> None:
    """Score data sets of any size, and go on after a stop.

    Inputs are folders, tar shards, parquet files, or a data set's hub id. The output is a folder with one parquet file
    a shard. Stopped, killed or interrupted at any moment, the same command goes on with what is missing; no row is lost
    or doubled.
    """
    from ..bulk import job
    from ..bulk.settings import Settings, parse_part

    columns = tuple(name.strip() for text in keep for name in text.split(","))
    # Every other option has the name of its field.
    settings = Settings(output=output, part=parse_part(part), keep=columns, **fields)
    try:
        with steps("packing") as done:
            summary = job.run(settings, _say, done)
    except KeyboardInterrupt:
        _say(f"interrupted: every shard that has its marker in {output} is whole; the same command goes on from there")
        sys.exit(opt.Exit.INTERRUPTED)
    click.echo(summary.text())
    if summary.failed:
        click.echo("failed shards are tried again with --retry-errors")
        sys.exit(opt.Exit.INCOMPLETE)
    sys.exit(opt.Exit.DONE if summary.counts.get("ok") else opt.Exit.FAILED)


def _say(text: str) -> None:
    """Print a line beside the progress bar, on standard error."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
