"""`emonet-fast verify`: the engine beside the published pipeline."""

import sys
from pathlib import Path

import click

from ..bars import steps
from ..options import Options
from . import engines
from . import options as opt


@opt.command(
    ("Every precision of this machine, on generated pictures:", "-c large"),
    ("One precision on pictures of your own:", "-c large --precision bf16 --images photos/"),
)
@engines.checkpoint
@opt.images("Compare on the pictures of this folder.")
@opt.most_pictures("Compare on at most this many pictures.")
@engines.engine_options("streams")  # it scores one picture after the other
@opt.json_file
def verify(checkpoint: str, images: Path | None, pictures: int, options: Options, json: Path | None) -> None:
    """Compare the engine with the published PyTorch pipeline.

    The comparison is of fidelity, speed and memory, and needs the extra `reference`. Precision auto tries every
    precision of this machine, int8 where its fidelity report passes. That report is printed too.
    """
    from ..checkpoint import open_checkpoint
    from ..sources import Inputs
    from ..verify import run as side_by_side

    pictures_of = () if images is None else Inputs([str(images)], options).paths()
    opt.try_files(json, inputs=(*pictures_of, *opt.files_read(checkpoint, options)))
    precisions = side_by_side.precisions_for(options)  # says what is missing before weights are read
    with steps("packing") as done:
        opened = open_checkpoint(checkpoint, options.cache_dir, revision=options.revision, progress=done)
    kept = side_by_side.report_for(opened, options)
    if options.precision == "auto" and kept is not None and kept.gate.passed:
        precisions = (*precisions, "int8")
    report = side_by_side.run(
        checkpoint,
        side_by_side.pictures_for(images, pictures, options),
        precisions,
        options,
        names=opened.names,
        checkpoint_hash=opened.weights_hash,
        progress=lambda text: click.echo(f"\r\x1b[K{text}", nl=False, err=True) if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    opt.say(*report.text().split("\n"))
    if kept is not None:
        opt.say("", "the fidelity report of int8 that is kept for these weights on this processor:")
        opt.say(*kept.text().split("\n"))
    written = opt.write_apart(lambda: opt.write_json(json, report.as_dict()))
    sys.exit(written if report.passed else opt.Exit.MISSED)
