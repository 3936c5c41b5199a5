"""`emonet-fast recover`: the rows of a killed video run."""

from pathlib import Path

import click

from . import options as opt


@opt.command(
    ("What a killed run has left of talk.parquet in talk.parquet.partial:", "talk.parquet"),
    ("The same by the name of what is there:", "talk.parquet.partial"),
)
@click.argument("table", type=opt.PATH, metavar="F")
def recover(table: Path) -> None:
    """Make a table from what a killed `video` has left.

    F is the table that the run would have written, or its .partial file, which is removed in the end.
    """
    from ..sinks.growing import SUFFIX
    from ..sinks.timeline import recover as recover_rows

    path = table.with_suffix("") if table.suffix == SUFFIX else table
    click.echo(f"wrote {path}: {recover_rows(path)} rows")
