"""`emonet-fast report`: a page on a folder of `bulk`."""

from pathlib import Path

import click

from . import options as opt


@opt.command(
    ("The page of a finished run:", "scores/"),
    ("A page without pictures, somewhere else:", "scores/ -o page.html --no-pictures"),
)
@click.argument("folder", type=opt.PATH, metavar="DIR")
@opt.INPUT("--pictures/--no-pictures", "Read the most typical pictures again, to show them.", default=True)
@opt.output("Write the page to this file.", metavar="F.html", show_default="DIR/report.html")
def report(folder: Path, pictures: bool, output: Path | None) -> None:
    """Make one page on a folder of `bulk`.

    It shows counts, errors, distributions, what occurs together, typical pictures, and labels.
    """
    from ..bulk.report import write_report

    path = output or folder / "report.html"
    report = write_report(folder, path, pictures=pictures)
    click.echo(f"{report.total} rows of {report.done} of {report.shards} shards\nwrote {path}")
