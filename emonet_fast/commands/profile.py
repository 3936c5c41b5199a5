"""`emonet-fast profile`: arguments to a profile, its result shown and written, nothing else.

Everything heavy is imported when the command runs, so that `emonet-fast --help` stays cheap.
"""

import json
import sys
from pathlib import Path

import click

from ..options import BACKENDS, DECODERS, PRECISIONS

_FILE = click.Path(path_type=Path)
_NOTHING_SCORED = 2


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--checkpoint", "-c", required=True, metavar="C", help="As for `score`.")
@click.option("--pictures", default=64, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option(
    "--flame",
    type=_FILE,
    default=Path("profile.html"),
    show_default=True,
    metavar="F",
    help="The flame graph: F.html, or F.json for speedscope (extra `profile`).",
)
@click.option("--json", "json_path", type=_FILE, help="Also write the figures there.")
@click.option("--device", default="auto", show_default=True, metavar="D", help="auto, cpu or cuda[:N].")
@click.option("--backend", default="auto", show_default=True, type=click.Choice(BACKENDS))
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS))
@click.option("--batch-size", type=int, help="Images per engine call.  [default: the device's]")
@click.option("--decoder", default="auto", show_default=True, type=click.Choice(DECODERS))
@click.option("--threads", type=int, help="CPU threads.  [default: all]")
@click.option("--cache-dir", type=_FILE, help="Engines and packed weights.  [default: see doctor]")
def profile(
    inputs: tuple[str, ...],
    checkpoint: str,
    pictures: int,
    flame: Path,
    json_path: Path | None,
    device: str,
    backend: str,
    precision: str,
    batch_size: int | None,
    decoder: str,
    threads: int | None,
    cache_dir: Path | None,
) -> None:
    """Say where the time of scoring goes: by room, waits, kernels of a GPU, a flame graph, and what to make faster.

    The first batches are part of it: of a short run they are much. Exit status 2 when nothing was scored.
    """
    from ..bars import progress
    from ..files import PendingFile, write_whole
    from ..profile.flame import Flame
    from ..profile.run import profile as measured
    from ..profile.text import text
    from ..scorer import Scorer
    from ..sources import open_inputs

    sampler = Flame(flame)  # says what is missing before weights are read
    for path in (flame, json_path):
        if path is not None:
            PendingFile(path).discard()
    with Scorer(
        checkpoint,
        device=device,
        backend=backend,
        precision=precision,
        batch_size=batch_size,
        decoder=decoder,
        threads=threads,
        cache_dir=cache_dir,
    ) as scorer:
        source = open_inputs(inputs, scorer.options)
        with progress(pictures if source.total is None else min(pictures, source.total)) as bar:
            found = measured(scorer, source, limit=pictures, around=sampler.recording, advance=bar.update)
    sampler.write()
    click.echo(text(found))
    click.echo(f"wrote {flame}")
    if json_path is not None:
        write_whole(json_path, json.dumps(found.as_dict(), indent=1).encode() + b"\n")
        click.echo(f"wrote {json_path}")
    sys.exit(0 if found.scored else _NOTHING_SCORED)
