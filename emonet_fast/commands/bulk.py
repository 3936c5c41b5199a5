"""`emonet-fast bulk`: data sets of any size to folders of tables."""

import sys
from pathlib import Path

import click

from ..bars import steps
from ..options import EMBEDDINGS, ENGINES, SHARD_SIZE, FaceOptions, Options
from . import options as opt


@opt.command(
    ("A folder and tar shards, on every GPU of this machine:", "photos/ shards/*.tar -c large -o scores/"),
    (
        "The first of eight jobs on a cluster, with a row for each face:",
        "photos/ -c large -o scores/ --faces detect --shard 0/8",
    ),
)
@opt.inputs
@opt.image_column
@opt.INPUT(
    "--keep", "Carry these columns of the tables along: a,b, or several times.", multiple=True, metavar="COLUMNS"
)
@opt.checkpoint
@opt.face_options()
@opt.engine_options
@opt.ENGINE(
    "--devices",
    "Run a process on each of these devices, such as cuda:0,1 or cpu,cpu.",
    default="auto",
    metavar="LIST",
    show_default="every GPU, or what --device names",
)
@opt.ENGINE(
    "--engine",
    "Run the processes here, or on a cluster of Ray (extra `ray`).",
    default="local",
    type=click.Choice(ENGINES),
)
@opt.ENGINE(
    "--ray-address", "Join the Ray cluster at this address, or at auto.", metavar="A", show_default="starts a Ray"
)
@opt.ENGINE(
    "--shard part",
    "Score only part i of n, from 0 on, where several jobs share the work.",
    default="0/1",
    metavar="i/n",
)
@opt.ENGINE(
    "--retry-errors", "Score shards again that failed, or that have rows which could not be read.", is_flag=True
)
@opt.output("Write the shards into this folder, a parquet file each.", required=True, metavar="DIR")
@opt.OUTPUT(
    "--shard-size", "Put at most this many rows into a shard.", default=SHARD_SIZE, type=click.IntRange(1), metavar="N"
)
@opt.OUTPUT(
    "--embeddings",
    "Write the 1152-d embeddings too, in this number type.",
    default="none",
    type=click.Choice(EMBEDDINGS),
)
def bulk(
    inputs: tuple[str, ...],
    image_column: str | None,
    keep: tuple[str, ...],
    checkpoint: str,
    faces: FaceOptions,
    options: Options,
    devices: str,
    engine: str,
    ray_address: str | None,
    part: str,
    retry_errors: bool,
    output: Path,
    shard_size: int,
    embeddings: str,
) -> None:
    """Score data sets of any size, and go on after a stop.

    Inputs are folders, tar shards, parquet files, or a data set's hub id. The output is a folder with one parquet file
    a shard. Stopped, killed or interrupted at any moment, the same command goes on with what is missing; no row is lost
    or doubled.
    """
    from ..bulk import job
    from ..bulk.settings import Settings, parse_part

    settings = Settings(
        inputs=inputs,
        checkpoint=checkpoint,
        output=output,
        options=options,
        devices=devices,
        shard_size=shard_size,
        embeddings=embeddings,
        faces=faces,
        engine=engine,
        part=parse_part(part),
        retry_errors=retry_errors,
        keep=tuple(name.strip() for text in keep for name in text.split(",")),
        image_column=image_column,
        ray_address=ray_address,
    )
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
