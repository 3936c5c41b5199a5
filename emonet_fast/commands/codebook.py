"""`emonet-fast codebook`: what every column means."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..text import counted
from . import options as opt

if TYPE_CHECKING:
    from ..codebook import Column


@opt.command(
    ("What the columns of a table mean, to read:", "scores.parquet"),
    ("Every column that there can be, to put beside a paper's data:", "-o codebook.csv"),
)
@click.argument("scores", required=False, metavar="[SCORES]", cls=opt.Argument, type=opt.PATH)
@opt.output("F.csv|.md|.json", "Write the codebook to this file.", opt.OutputFile(".csv", ".md", ".json"))
def codebook(scores: Path | None, output: Path | None) -> None:
    """Say what columns mean, and how far experts agree.

    SCORES is a table of score, video or summarise (.parquet, .csv, .jsonl, .xlsx) or a folder of bulk: then exactly its
    columns are described, in their order. Without it every column of every command is.
    """
    from .. import codebook as book
    from ..files import files_of, write_whole
    from ..population.stored import files_of_scores
    from ..population.tables import columns_of

    opt.try_files(output, inputs=files_of(scores))
    columns = list(book.every()) if scores is None else book.describe(columns_of(files_of_scores(scores)[0]))
    unknown = [column.name for column in columns if column.meaning == book.UNKNOWN]
    if output is None:
        opt.say(*map(_line, columns))
    else:
        writers = {".csv": book.to_csv, ".md": book.to_markdown, ".json": book.to_json}
        write_whole(output, writers[output.suffix.lower()](columns))
        opt.wrote(output)
    named = f"; {len(unknown)} not of this package: {', '.join(unknown[:10])}" if unknown else ""
    opt.say(counted(len(columns), "column") + named)


def _line(column: "Column") -> str:
    from ..codebook import reliability_of

    facts = (column.range, column.unit, column.when and f"with {column.when}", reliability_of(column))
    return f"{column.name}: {column.meaning}" + "".join(f"; {fact}" for fact in facts if fact)
