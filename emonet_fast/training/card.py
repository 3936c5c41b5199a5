"""The model card: README.md with the front matter that model hubs read. Without an evaluation there is no card."""

import math

from ..cards import Licence, front_matter, grid, limits
from ..errors import DataError
from ..evaluate.result import Result, show, show_interval
from ..text import listed_have, one_line


def model_card(result: Result, names: tuple[str, ...], rights: Licence, neutral: str, use: str) -> str:
    """The card as Markdown.

    Args:
        result: the evaluation of the heads on held-out rows.
        names: of the heads that were trained.
        rights: licence fields.
        neutral: where the neutral statistics come from, in words.
        use: the commands that use the heads.

    Raises:
        DataError: the evaluation lacks a head, or a head has no figure: a card without figures would be an
            advertisement.
    """
    if not result.tables or not result.figures:
        raise DataError("no evaluation of the heads came; a model card is not written without one")
    table = result.table("heads")
    place = table.columns.index("Spearman") if "Spearman" in table.columns else 0
    figures = {row[0]: row[place] for row in table.rows}
    lacking = [name for name in names if not _known(figures.get(name))]
    if lacking:
        raise DataError(
            f"{listed_have(lacking)} no figure on held-out rows: too few labels there, or all alike. A "
            "model card is not written without its evaluation: give more data, hold out more, or leave these heads out"
        )
    rows = [[show(cell, table.digits) for cell in row] for row in table.rows]
    figured = [[f.label, show(f.value, f.digits), show_interval(f.interval, f.digits)] for f in result.figures]
    return "\n".join(
        [
            front_matter(rights, [figure.slug.lower() for figure in result.figures]),
            f"# {one_line(result.facts.get('name', 'Heads'))}",
            "",
            f"{len(names)} heads for faces, on the embedding of a frozen encoder, trained by emonet-fast.",
            "",
            "## Use",
            "",
            *(f"    {line}" for line in use.splitlines()),
            "",
            f"Neutral statistics: {one_line(neutral)}.",
            "",
            "## Figures on held-out rows",
            "",
            "These rows neither taught the heads nor decided when they stopped. " + table.lead,
            "",
            grid(["", "figure", "95% interval"], figured),
            "",
            grid(list(table.columns), rows),
            "",
            "## Data and training",
            "",
            grid(["", ""], [[name, value] for name, value in result.facts.items()]),
            "",
            *(f"- {one_line(note)}" for note in result.notes),
            "",
            *limits(rights.licence),
        ]
    )


def _known(cell: object) -> bool:
    return isinstance(cell, int | float) and math.isfinite(cell)
