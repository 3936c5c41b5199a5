"""Model cards: README.md with the front matter that model hubs read, for weights that somebody passes on."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkpoint.spec import Checkpoint, Description
from .files import write_whole
from .text import counted, one_line

LIMITS = (
    "For research in affective computing. Not for emotion recognition at the workplace or in education (EU AI Act, "
    "Article 5(1)(f)), surveillance, law enforcement, border control, credit, insurance, hiring or other decisions of "
    "high stakes. Deployers must inform the people exposed (Article 50(3))."
)
# A repository of the hub in a checkpoint's source.
_HUB = re.compile(r"[\w.-]+/[\w.-]+(?=@[0-9a-f]{7})")


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


@dataclass(frozen=True, slots=True)
class _Origin:
    """Whose weights those of a repository are.

    Args:
        licence: SPDX name in lower case.
        words: who made what, as its licence asks to be said.
    """

    licence: str
    words: str


_HEADS = _Origin("cc-by-4.0", "heads: EmpathicInsight-Face by LAION and the authors of EmoNet-Face (arXiv:2505.20033)")
_ORIGINS = {
    "google/siglip2-so400m-patch16-384": _Origin("apache-2.0", "encoder: SigLIP 2 by Google (arXiv:2502.14786)"),
    "laion/Empathic-Insight-Face-Large": _HEADS,
    "laion/Empathic-Insight-Face-Small": _HEADS,
}


def hub_names(source: str) -> tuple[str, ...]:
    """The repositories of the hub that a checkpoint's source names, in its order."""
    return tuple(dict.fromkeys(_HUB.findall(source)))


def credits_of(source: str) -> tuple[str, ...]:
    """Who made the published weights that a source names, and their licences; empty where none is known."""
    return tuple(f"{o.words}, {o.licence.upper()}" for o in _origins(source))


def _origins(source: str) -> tuple[_Origin, ...]:
    return tuple(dict.fromkeys(_ORIGINS[name] for name in hub_names(source) if name in _ORIGINS))


def front_matter(rights: Licence, metrics: Sequence[str] = ()) -> str:
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
    if metrics:
        fields["metrics"] = list(metrics)
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---", ""])


def limits(licence: str) -> list[str]:
    """The last section of every card, as lines."""
    return [
        "## Licence and limits of use",
        "",
        f"Licence of these heads: {licence or 'not stated by their maker'}. That of the data and of the base model "
        "holds too.",
        "",
        LIMITS,
        "",
    ]


def grid(columns: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def weights_card(name: str, weights: Description, weights_hash: str, rights: Licence, changes: str, use: str) -> str:
    """The card of weights that this package has put into another file, which changes none of them and measures nothing.

    Args:
        name: of the file, without its folder.
        weights: what the file holds.
        weights_hash: of the checkpoint.
        rights: what the user says; where it says nothing, what is known of published repositories is taken.
        changes: what was done to the weights, in words; CC BY asks for it.
        use: the commands that use the file.

    Returns:
        Markdown. Without a known licence its field is "other", and the text says that none is stated.
    """
    names = hub_names(weights.source)
    licence = rights.licence or next((o.licence for o in _origins(weights.source) if o is _HEADS), "")
    rights = Licence(licence, rights.base_model or names, rights.datasets)
    vision = weights.vision
    facts = [
        ["from", weights.source],
        ["weights", weights_hash],
        ["heads", f"{len(weights.names)} of layers {'-'.join(map(str, weights.head_widths))}"],
        ["encoder", f"{counted(vision.num_hidden_layers, 'layer')}, width {vision.hidden_size}"],
        [
            "input",
            f"RGB, {weights.preprocess.size} x {weights.preprocess.size} by {weights.preprocess.resample} resize",
        ],
        ["embedding", "scaled to norm 1" if weights.l2_normalise else "as the encoder gives it"],
        ["neutral means", "none: raw scores only" if weights.neutral_means is None else "inside, for every head"],
    ]
    untrained = ["**Untrained weights: their numbers mean nothing.**", ""] if weights.untrained else []
    credit = [f"- {words}" for words in credits_of(weights.source) or ["not known to this package"]]
    return "\n".join(
        [
            front_matter(rights),
            f"# {one_line(name)}",
            "",
            *untrained,
            f"Weights of faces' emotions, put into this file by emonet-fast. {changes}",
            "",
            "## Use",
            "",
            *(f"    {line}" for line in use.splitlines()),
            "",
            "## Contents",
            "",
            grid(["", ""], facts),
            "",
            "## Attribution",
            "",
            *credit,
            "",
            *limits(licence),
        ]
    )


@dataclass(frozen=True, slots=True)
class CardFile:
    """A card that is wanted.

    Args:
        path: where it goes.
        rights: what the user says.
    """

    path: Path
    rights: Licence

    def write(self, name: str, weights: Checkpoint, changes: str, use: str) -> None:
        """Write it; the arguments are those of `weights_card`. Raises as `write_whole` does."""
        text = weights_card(name, weights, weights.weights_hash, self.rights, changes, use)
        write_whole(self.path, text.encode())
