"""The command line: arguments to Options, the package called, nothing else."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from .._version import __version__
from ..bars import phases, progress, steps
from ..errors import EmonetError
from ..options import BACKENDS, DECODERS, PRECISIONS, Options
from .bulk import bulk, report
from .evaluate import evaluate
from .profile import profile
from .video import video

EXIT_NOTHING_SCORED = 2
EXIT_ERROR = 2
EXIT_GATE = 1
EXIT_INTERRUPTED = 130

_checkpoint = click.option(
    "--checkpoint",
    "-c",
    required=True,
    metavar="C",
    help="'large' or 'small' (hub), a packed file, or a folder with encoder/ and heads/.",
)
_revision = click.option("--revision", metavar="REV", help="Revision of the hub repositories, instead of the pin.")
_device = click.option("--device", default="auto", show_default=True, metavar="D", help="auto, cpu or cuda[:N].")
_precision = click.option(
    "--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS), help="Of the engine."
)
_cache_dir = click.option(
    "--cache-dir", type=click.Path(path_type=Path), help="Engines and packed weights.  [default: see doctor]"
)


_backend = click.option(
    "--backend", default="auto", show_default=True, type=click.Choice(BACKENDS), help="auto: by the device."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emonet-fast")
@click.option("--verbose", "-v", is_flag=True, help="Say what is read, compiled and kept.")
def cli(verbose: bool) -> None:
    """Score faces with EmoNet-Face's EmpathicInsight-Face models: 40 emotions a picture."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("emonet_fast").setLevel(logging.DEBUG if verbose else logging.INFO)


@cli.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@_checkpoint
@click.option("--output", "-o", type=click.Path(path_type=Path), help="F.parquet, F.csv or F.jsonl.")
@click.option(
    "--format",
    "layout",
    default="default",
    show_default=True,
    type=click.Choice(["default", "laion"]),
    help="laion: the published JSON lines.",
)
@_device
@_backend
@_precision
@click.option("--batch-size", type=int, help="Images per engine call.  [default: the device's]")
@click.option("--decoder", default="auto", show_default=True, type=click.Choice(DECODERS), help="dali: extra `dali`.")
@click.option(
    "--trust-engine",
    type=click.Path(path_type=Path),
    metavar="F",
    help="An engine's file for backend tensorrt that is not from the cache. Engines are programs: it runs as you.",
)
@click.option("--embeddings", is_flag=True, help="Also write the 1152-d embeddings.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1, 40), help="Emotions shown a picture.")
@click.option("--report", type=click.Path(path_type=Path), help="F.html: a page of pictures and scores.")
@click.option("--exif/--no-exif", default=True, show_default=True, help="Turn pictures upright by EXIF first.")
@click.option("--image-column", help="Of parquet tables, where it cannot be told by its type.")
@click.option(
    "--faces", default="none", show_default=True, metavar="F", help="none: whole pictures; detect; boxes:FILE."
)
@click.option("--detector-model", type=click.Path(path_type=Path), metavar="F", help="YuNet.  [default: the hub's]")
@click.option("--face-margin", default=0.25, show_default=True, help="Of a face's longer side, around it.")
@click.option("--face-score", default=0.75, show_default=True, help="Of the detector, 0 to 1; lower ones are left out.")
@click.option("--min-face", default=20.0, show_default=True, metavar="PX", help="Smaller faces are left out.")
@click.option("--threads", type=int, help="CPU threads.  [default: all]")
@_revision
@_cache_dir
def score(
    inputs: tuple[str, ...],
    checkpoint: str,
    output: Path | None,
    layout: str,
    device: str,
    backend: str,
    precision: str,
    batch_size: int | None,
    decoder: str,
    trust_engine: Path | None,
    embeddings: bool,
    top: int,
    report: Path | None,
    exif: bool,
    image_column: str | None,
    faces: str,
    detector_model: Path | None,
    face_margin: float,
    face_score: float,
    min_face: float,
    threads: int | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Score pictures: image files, folders, globs, tar shards, parquet tables.

    Every input gives a row: scores, or a status and a reason. With --faces detect, a row a face, and a row with
    status no_face for a picture without any. Exit status: 0 when anything was scored, 2 when nothing was.
    """
    from .. import job
    from ..faces import WithFaces, open_finder
    from ..faces.finder import detector_device
    from ..options import FaceOptions
    from ..scorer import Scorer
    from ..sources import open_inputs

    chosen = FaceOptions(faces, detector_model, face_margin, min_face, face_score)
    with Scorer(
        checkpoint,
        device=device,
        precision=precision,
        batch_size=batch_size,
        decoder=decoder,
        exif=exif,
        revision=revision,
        threads=threads,
        cache_dir=cache_dir,
        backend=backend,
        trust_engine=trust_engine,
    ) as scorer:
        found = open_inputs(inputs, scorer.options, image_column=image_column)
        asked = job.Outputs(output, layout, report, _title(inputs), embeddings, top)
        job.check(asked)
        with steps("packing") as done:
            scorer.open(done)
        finder = open_finder(chosen, scorer.options.cache_dir, threads, detector_device(scorer.place))
        pictures = found if finder is None else WithFaces(found, finder, scorer.options, margin=chosen.margin)
        # With faces, how many rows there will be is known at the end.
        with progress(found.total if finder is None else None) as bar:
            summary = job.run(scorer, pictures, asked, bar.update)
    _show(summary, asked)
    sys.exit(0 if summary.scored else EXIT_NOTHING_SCORED)


def _title(inputs: tuple[str, ...]) -> str:
    return inputs[0] + (f" and {len(inputs) - 1} more" if len(inputs) > 1 else "")


def _show(summary: Any, asked: Any) -> None:
    """The table, notes, files and, as the last line, the counts."""
    from ..sinks.terminal import table

    if summary.first is not None:
        click.echo(table(summary.first, asked.top, shutil.get_terminal_size((100, 40)).columns))
        hidden = sum(summary.counts.values()) - len(summary.first)
        if hidden:
            click.echo(f"... and {hidden} more rows")
    for note in summary.notes:
        click.echo(note)
    for path in (asked.table, asked.report):
        if path is not None:
            click.echo(f"wrote {path}")
    click.echo(summary.line())


@cli.command()
@_checkpoint
@click.option("--images", type=click.Path(path_type=Path), help="Folder of pictures.  [default: generated ones]")
@click.option("--pictures", default=64, show_default=True, type=click.IntRange(1), help="At most so many.")
@_device
@_backend
@_precision
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the result there.")
@_revision
@_cache_dir
def verify(
    checkpoint: str,
    images: Path | None,
    pictures: int,
    device: str,
    backend: str,
    precision: str,
    json_path: Path | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Compare the engine with the published PyTorch pipeline: fidelity, speed, memory (extra `reference`).

    Precision auto tries every precision of this machine. Exit status 1 where a precision misses its bar.
    """
    from ..checkpoint import open_checkpoint
    from ..files import write_whole
    from ..verify import run as side_by_side

    options = Options(device=device, precision=precision, revision=revision, backend=backend, **_folder(cache_dir))
    precisions = side_by_side.precisions_for(precision, device, backend)  # says what is missing before anything else
    with steps("packing") as done:
        known = open_checkpoint(checkpoint, options.cache_dir, revision=revision, progress=done)
    report = side_by_side.run(
        checkpoint,
        side_by_side.pictures_for(images, pictures, options),
        precisions,
        device=device,
        backend=backend,
        revision=revision,
        cache_dir=options.cache_dir,
        names=known.names,
        checkpoint_hash=known.weights_hash,
        progress=lambda text: click.echo(f"\r\x1b[K{text}", nl=False, err=True) if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    click.echo(report.text())
    if json_path is not None:
        write_whole(json_path, json.dumps(report.as_dict(), indent=1).encode() + b"\n")
        click.echo(f"wrote {json_path}")
    sys.exit(0 if report.passed else EXIT_GATE)


@cli.command()
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--heads", default="large", show_default=True, type=click.Choice(["large", "small"]))
@click.option("--layers", default=27, show_default=True, type=click.IntRange(1, 27), help="Of the vision tower.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def synthetic(out_dir: Path, heads: str, layers: int, seed: int) -> None:
    """Write an untrained, seeded checkpoint in the published file layout, for tests and demos."""
    from ..testing.synthetic import write_synthetic

    with steps("making", "step") as done:
        write_synthetic(out_dir, heads=heads, layers=layers, seed=seed, progress=done)
    click.echo(f"wrote {out_dir}: untrained weights, whose numbers mean nothing")


@cli.command()
@_checkpoint
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="F.safetensors")
@_revision
@_cache_dir
def pack(checkpoint: str, output: Path, revision: str | None, cache_dir: Path | None) -> None:
    """Put encoder, heads, neutral means and preprocessing into one safetensors file."""
    from ..checkpoint import pack_to

    options = Options(revision=revision, **_folder(cache_dir))
    with steps("packing") as done:
        packed = pack_to(checkpoint, output, options.cache_dir, revision=revision, progress=done)
    size = output.stat().st_size / 1e6
    click.echo(f"wrote {output}: {len(packed.names)} heads, {size:.0f} MB, {packed.weights_hash}")


@cli.command()
@_checkpoint
@click.option(
    "--backend", required=True, type=click.Choice(["tensorrt"]), help="Whose engine; the others build at first use."
)
@_device
@click.option(
    "--precision", default="bf16", show_default=True, type=click.Choice(["bf16", "fp8"]), help="Of the engine."
)
@click.option("--batch-size", type=int, help="The largest; smaller ones are padded to 1, 8 or this.  [default: 64]")
@_revision
@_cache_dir
def build(
    checkpoint: str,
    backend: str,
    device: str,
    precision: str,
    batch_size: int | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Build an engine ahead of its first use, compare it with the float32 network, and say what it is.

    An engine that misses its bars is not kept; exit status 2, and the text says by how much.
    """
    from ..backends.choose import choose
    from ..backends.tensorrt.backend import TensorRtBackend
    from ..backends.tensorrt.libraries import find, open_native
    from ..checkpoint import open_checkpoint

    options = Options(
        device=device,
        precision=precision,
        batch_size=batch_size,
        revision=revision,
        backend=backend,
        **_folder(cache_dir),
    )
    choose(options)  # refuses a device that is no GPU
    libraries = find()
    open_native(libraries, device)  # says what is missing before anything is packed
    with steps("packing") as done:
        known = open_checkpoint(checkpoint, options.cache_dir, revision=revision, progress=done)
    with phases() as told:
        engine = TensorRtBackend(
            known, device, precision, options.batch_size, options.cache_dir, progress=told, libraries=libraries
        )
    report = engine.report
    engine.close()
    if report is None:
        click.echo("the engine is in the cache already, and was found whole")
        return
    click.echo(report.text())


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and why not."""
    from .. import doctor as machine

    facts = machine.report()
    click.echo(json.dumps(facts, indent=1) if as_json else machine.text(facts))


cli.add_command(evaluate)
cli.add_command(profile)
cli.add_command(bulk)
cli.add_command(report)
cli.add_command(video)


def _folder(cache_dir: Path | None) -> dict[str, Any]:
    return {} if cache_dir is None else {"cache_dir": cache_dir}


def main() -> None:
    """Entry point: turns errors made on purpose into one line and an exit status."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: no output file was written", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except EmonetError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
