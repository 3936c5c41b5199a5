"""`emonet-fast baseline`: what is usual for each head in a set of stored scores."""

from pathlib import Path

import click

from ..bars import progress
from ..text import counted
from . import options as opt


@opt.command(
    ("What is usual in a table of scores:", "scores.parquet -o usual.json"),
    ("In a whole run of bulk, to rank other pictures against it:", "scores/ -o population.json"),
)
@click.argument("scores", nargs=-1, required=True, metavar="SCORES...", cls=opt.Argument, type=opt.PATH)
@opt.output("F.json", "Write the baseline to this file.", opt.OutputFile(".json"), required=True)
def baseline(scores: tuple[Path, ...], output: Path) -> None:
    """Say what is usual for each emotion in stored scores.

    SCORES are tables of score, video or LAION (.parquet, .csv, .jsonl, .xlsx) and folders of bulk, all of one
    checkpoint and precision. The file holds each head's median, MAD, mean, deviation and quantiles over the rows with
    scores. Give it to score, video, bulk or report as --baseline, which then rank emotions by what is unusual.
    """
    from ..arithmetic import LIKELY_RANGE, SCALING
    from ..files import files_of, write_whole
    from ..population import baseline_of

    opt.try_files(output, inputs=[name for place in scores for name in files_of(place)])
    with progress(None, "row") as bar:
        made = baseline_of(scores, bar.update)
    write_whole(output, made.to_json().encode())
    low, high = LIKELY_RANGE
    if made.quantiles.min() < low or made.quantiles.max() > high:
        opt.say(f"some raw scores lie outside {low:g}..{high:g}: {SCALING}")
    for note in made.notes({}):
        opt.say(note)
    left = ", ".join(f"{n} {status}" for status, n in sorted((made.left_out or {}).items()))
    opt.wrote(output)
    opt.say(
        f"{counted(made.rows, 'row')}, {counted(len(made.names), 'head')}, precision "
        f"{made.metadata['precision'] or 'unknown'}" + (f"; left out: {left}" if left else "")
    )
