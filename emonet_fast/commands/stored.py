"""Options that say how stored tables are read: labels, participants, groups, and the population of a ranking."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .parts import INPUT, OUTPUT, PATH, Declared, NumberRange, together

if TYPE_CHECKING:
    from ..baseline import Baseline

OWN_BASELINES = ("self", "person")  # what --baseline takes beside files, where it can


def baseline(more: str = "", words: str = "self the run's own rows") -> Declared:
    """The population that rows are ranked against; `chosen_baseline` reads it."""
    return OUTPUT(
        f"--baseline F.json|self{more}",
        f"Rank emotions by how unusual they are in this population: a file of `emonet-fast baseline`, or {words}.",
    )


min_reliability = OUTPUT(
    "--min-reliability X",
    "Leave emotions out of rankings of which the experts' alpha is lower: they agree from 0.3 on, somewhat from 0.1.",
    type=NumberRange(-1, 1),
)


by = INPUT(
    "--by COLUMN",
    "Make a group of the rows that are alike in this column of the scores or of --participants, or in their folder, "
    "video or track (these words); several times for several columns.",
    multiple=True,
    show_default="track where there are tracks, else all rows",
)
participants = INPUT(
    "--participants F.csv|.xlsx",
    "Take further columns from this table: key (of a picture or video) and others, such as participant, condition.",
    type=PATH,
)
unit = INPUT(
    "--unit COLUMN",
    "Take intervals over these units, as --by; several times for several columns.",
    multiple=True,
    show_default="participant, else track, else row",
)
max_gap = INPUT(
    "--max-gap SECONDS",
    "Let samples of a track that lie further apart not follow each other.",
    type=NumberRange(0, min_open=True),
    show_default="no limit",
)
summarised_kind = OUTPUT(
    "--kind", "Summarise this value of each head.", ("raw", "score", "softmax", "z"), default="raw"
)
above = OUTPUT(
    "--above X",
    "Give the share of time in which a value is above this.",
    type=float,
    show_default="1 for raw and score, 0.1 for softmax, 2 for z",
)


def _reading(scale: str | None = None, columns: tuple[str, ...] = (), **how: Any) -> Any:
    """A targets.Reading, whose room is imported only where it is wanted."""
    from ..targets import Reading

    try:
        ends = None if scale is None else tuple(map(float, scale.split(",")))
    except ValueError:
        ends = ()
    if ends is not None and len(ends) != 2:
        raise OptionError(f"scale is {scale!r}; expected two numbers, as 0,7")
    return Reading(labels=columns, scale=ends, **how)


def group_by(shown: str | None = None) -> Declared:
    return INPUT(
        "--group-by COLUMN",
        "Take the values in this column for people or sources, whose rows belong together; several times for several.",
        multiple=True,
        show_default=shown,
    )


# How labels are to be read: `how`, a targets.Reading.
labels_reading = together(
    "how",
    _reading,
    key=INPUT("--key COLUMN", "Find the pictures' names in this column of the labels.", show_default="by its name"),
    columns=INPUT(
        "--label COLUMN",
        "Read the labels in this column of numbers, yes and no, or classes; several times for several.",
        multiple=True,
        show_default="those of the emotions",
    ),
    annotator=INPUT(
        "--annotator COLUMN", "Find in this column who gave a label.", show_default="annotator, rater, coder, user"
    ),
    groups=group_by("person, participant, subject, identity, source, video"),
    combine=INPUT("--combine", "Make this of several annotators' labels.", ("mean", "median", "share"), default="mean"),
    classes=INPUT("--classes", "Take the numbers in --label for codes of classes.", is_flag=True),
    scale=INPUT("--scale LOW,HIGH", "Refuse labels outside; else the taxonomy's scale counts.", show_default="0,7"),
)


def embeddings(required: bool = False) -> Declared:
    return INPUT(
        "--embeddings E",
        "Read stored embeddings: a table of `score --embeddings`, bulk's folder, or .npy; several times for several.",
        type=PATH,
        multiple=True,
        required=required,
    )


def chosen_baseline(text: str | None, *words: str) -> "Baseline | str | None":
    """What --baseline names: one of the words, or the file's baseline."""
    from ..baseline import Baseline

    if text in OWN_BASELINES and text not in words:
        raise OptionError(f"--baseline {text} came; expected a file" + "".join(f", or {word}" for word in words))
    return text if text is None or text in words else Baseline.read(Path(text))
