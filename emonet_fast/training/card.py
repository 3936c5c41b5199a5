"""The model card: README.md with the front matter that model hubs read. Without an evaluation there is no card."""

import json
import math
from dataclasses import dataclass

from ..errors import DataError
from ..evaluate.result import Result, show, show_interval
from ..text import listed_have, one_line

_LIMITS = (
    "For research in affective computing. Not for emotion recognition at the workplace or in education (EU AI Act, "
    "Article 5(1)(f)), surveillance, law enforcement, border control, credit, insurance, hiring or other decisions of "
    "high stakes. Deployers must inform the people exposed (Article 50(3))."
)


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model card says of rights; "" where its writer does not say.

    Args:
        licence: of the heads, as an SPDX name in lower case, such as "cc-by-4.0".
        base_model: the encoder, and the heads that these go on from, by their names on the hub.
        datasets: what was learnt from, by its name on the hub.
    """

    licence: str = ""
    base_model: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


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
            _front_matter(result, rights),
            f"# {one_line(result.facts.get('name', 'Heads'))}",
            "",
            f"{len(names)} heads for faces, on the embedding of a frozen encoder, trained by "
            "[emonet-fast](https://pypi.org/project/emonet-fast/).",
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
            _grid(["", "figure", "95% interval"], figured),
            "",
            _grid(list(table.columns), rows),
            "",
            "## Data and training",
            "",
            _grid(["", ""], [[name, value] for name, value in result.facts.items()]),
            "",
            *(f"- {one_line(note)}" for note in result.notes),
            "",
            "## Licence and limits of use",
            "",
            f"Licence of these heads: {rights.licence or 'not stated by their maker'}. That of the data and of the "
            "base model holds too.",
            "",
            _LIMITS,
            "",
        ]
    )


def _known(cell: object) -> bool:
    return isinstance(cell, int | float) and math.isfinite(cell)


def _front_matter(result: Result, rights: Licence) -> str:
    """YAML, as hubs read it; every text in quotes, as JSON, which is YAML too."""
    fields: dict[str, object] = {
        "license": rights.licence or "other",
        "library_name": "emonet-fast",
        "pipeline_tag": "image-classification",
        "tags": ["emotion", "affective-computing", "emonet-face"],
    }
    if rights.base_model:
        fields["base_model"] = list(rights.base_model)
    if rights.datasets:
        fields["datasets"] = list(rights.datasets)
    fields["metrics"] = [figure.slug.lower() for figure in result.figures]
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---", ""])


def _grid(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")
