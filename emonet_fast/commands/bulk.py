"""`emonet-fast bulk` and `report`: arguments to Settings, the run called, its summary shown, nothing else."""

import sys
from pathlib import Path

import click

from ..options import BACKENDS, DECODERS, PRECISIONS, FaceOptions

# As the defaults and choices of settings.py, which imports more than a help text may cost; a test compares them.
EMBEDDINGS, FACES, ENGINES, SHARD_SIZE = ("none", "fp16", "fp32"), ("none", "detect"), ("local", "ray"), 10_000
EXIT_ERROR = 2
EXIT_FAILED_SHARDS = 3
EXIT_INTERRUPTED = 130


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--checkpoint", "-c", required=True, metavar="C", help="See `score`.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Of the shards.")
@click.option(
    "--devices",
    default="auto",
    show_default=True,
    metavar="D",
    help="auto (every GPU), cuda:0,1 or cpu,cpu: a process each.",
)
@click.option("--shard-size", default=SHARD_SIZE, show_default=True, type=click.IntRange(1), help="Rows, at most.")
@click.option("--embeddings", default="none", show_default=True, type=click.Choice(EMBEDDINGS), help="Also write them.")
@click.option(
    "--faces", default="none", show_default=True, type=click.Choice(FACES), help="detect: a row for each face."
)
@click.option("--detector-model", type=click.Path(path_type=Path), metavar="F", help="YuNet.  [default: the hub's]")
@click.option("--face-margin", default=0.25, show_default=True, help="Of a face's longer side, around it.")
@click.option("--face-score", default=0.75, show_default=True, help="Of the detector, 0 to 1; lower ones are left out.")
@click.option("--min-face", default=20.0, show_default=True, metavar="PX", help="Smaller faces are left out.")
@click.option("--keep", multiple=True, metavar="COLUMNS", help="Of the tables, to carry along: a,b or several times.")
@click.option("--engine", default="local", show_default=True, type=click.Choice(ENGINES), help="ray: extra `ray`.")
@click.option("--ray-address", metavar="A", help="Of a running cluster, or auto.  [default: a local Ray is started]")
@click.option(
    "--shard", "part", default="0/1", show_default=True, metavar="i/n", help="This run's share, for schedulers."
)
@click.option("--retry-errors", is_flag=True, help="Also failed shards, and those with rows that could not be read.")
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS), help="Of the engine.")
@click.option("--backend", default="auto", show_default=True, type=click.Choice(BACKENDS), help="auto: by the device.")
@click.option("--batch-size", type=int, help="Images per engine call.  [default: the device's]")
@click.option("--decoder", default="auto", show_default=True, type=click.Choice(DECODERS), help="dali: extra `dali`.")
@click.option("--exif/--no-exif", default=True, show_default=True, help="Turn pictures upright by EXIF first.")
@click.option("--image-column", help="Of parquet tables, where it cannot be told by its type.")
@click.option("--threads", type=int, help="CPU threads of each engine.  [default: the cores, shared out]")
@click.option("--revision", metavar="REV", help="Revision of the hub repositories, instead of the pin.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Engines and packed weights.  [default: see doctor]")
def bulk(
    inputs: tuple[str, ...],
    checkpoint: str,
    output: Path,
    devices: str,
    shard_size: int,
    embeddings: str,
    faces: str,
    detector_model: Path | None,
    face_margin: float,
    face_score: float,
    min_face: float,
    keep: tuple[str, ...],
    engine: str,
    ray_address: str | None,
    part: str,
    retry_errors: bool,
    precision: str,
    backend: str,
    batch_size: int | None,
    decoder: str,
    exif: bool,
    image_column: str | None,
    threads: int | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Score data sets of any size: folders, tar shards, parquet files, or a data set's hub id.

    The output is a folder with one parquet file a shard. Stopped, killed or interrupted at any moment, the same
    command goes on with what is missing; no row is lost or doubled. Exit status: 0 when every shard is done, 3 when
    some failed, 2 for an error or when no row has scores.
    """
    from ..bars import steps
    from ..bulk import job
    from ..bulk.settings import Settings, parse_part

    settings = Settings(
        inputs=inputs,
        checkpoint=checkpoint,
        output=output,
        devices=devices,
        shard_size=shard_size,
        embeddings=embeddings,
        faces=FaceOptions(faces, detector_model, face_margin, min_face, face_score),
        engine=engine,
        part=parse_part(part),
        retry_errors=retry_errors,
        keep=tuple(name.strip() for text in keep for name in text.split(",")),
        image_column=image_column,
        precision=precision,
        backend=backend,
        batch_size=batch_size,
        decoder=decoder,
        exif=exif,
        revision=revision,
        threads=threads,
        cache_dir=cache_dir,
        ray_address=ray_address,
    )
    try:
        with steps("packing") as done:
            summary = job.run(settings, _say, done)
    except KeyboardInterrupt:
        _say(f"interrupted: every shard that has its marker in {output} is whole; the same command goes on from there")
        sys.exit(EXIT_INTERRUPTED)
    click.echo(summary.text())
    if summary.failed:
        click.echo("failed shards are tried again with --retry-errors")
        sys.exit(EXIT_FAILED_SHARDS)
    sys.exit(0 if summary.counts.get("ok") else EXIT_ERROR)


def _say(text: str) -> None:
    """A line beside the progress bar, on standard error."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="F.html  [default: DIR/report.html]")
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Read the most typical ones again.")
def report(folder: Path, output: Path | None, pictures: bool) -> None:
    """One page on a folder of `bulk`: counts, errors, distributions, what occurs together, typical pictures, labels."""
    from ..bulk.report import write_report

    path = output or folder / "report.html"
    found = write_report(folder, path, pictures=pictures)
    click.echo(f"{found.total} rows of {found.done} of {found.shards} shards\nwrote {path}")
