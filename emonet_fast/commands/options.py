"""Options that several commands share; and, by their names here, what commands say and write (outputs.py).

An option is a decorator. Some options together make one record: `@engines.engine_options()` gives a command `options`,
an `Options`, and `@engines.face_options()` gives it `faces`, a `FaceOptions`. Defaults come from those records.
"""

import sys
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bars import SHOWN
from ..errors import OptionError
from ..options import FaceOptions, Options
from .outputs import STATUSES as STATUSES
from .outputs import URLS
from .outputs import Exit as Exit
from .outputs import say as say
from .outputs import show_result as show_result
from .outputs import title as title
from .outputs import try_files as try_files
from .outputs import write_apart as write_apart
from .outputs import write_json as write_json
from .outputs import wrote as wrote
from .parts import ENGINE as ENGINE
from .parts import FACES as FACES
from .parts import HELP as HELP
from .parts import INPUT as INPUT
from .parts import OUTPUT as OUTPUT
from .parts import PATH as PATH
from .parts import SERVER as SERVER
from .parts import Argument as Argument
from .parts import Commands as Commands
from .parts import Declared as Declared
from .parts import Decorator, Function
from .parts import NumberRange as NumberRange
from .parts import OutputFile as OutputFile
from .parts import command as command
from .parts import number_or_word as number_or_word
from .parts import together as together
from .stored import OWN_BASELINES

if TYPE_CHECKING:
    from ..cards import CardFile, Licence

PAGES = (".html", ".htm")


inputs = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", cls=Argument)
image_column = INPUT(
    "--image-column NAME", "Read the pictures from this column of parquet tables.", show_default="by its type"
)
embedding_column = INPUT(
    "--embedding-column NAME",
    "Take the stored embeddings in this column of parquet tables, even where they have pictures.",
    show_default="`embedding`, or the only such column, in tables without pictures",
)
progress = OUTPUT(
    "--progress",
    "Show on standard error how far it is, by a bar, by lines for a log, or not at all; auto: a bar on a terminal.",
    SHOWN,
    default="auto",
)
dry_run = OUTPUT(
    "--dry-run",
    "Write nothing: show what would be scored, and measure on some how long it takes.",
    is_flag=True,
)
embeddings = OUTPUT("--embeddings", "Write the 1152-d embeddings too.", is_flag=True)
excel = OUTPUT("--excel", "Let a .csv begin with the mark by which Excel knows UTF-8; .xlsx needs none.", is_flag=True)
bootstraps = OUTPUT(
    "--bootstraps N", "Draw this many resamples an interval.", default=1000, type=click.IntRange(1, 10**6)
)
json_file = OUTPUT("--json F.json", "Write every figure in full precision to this file too.", type=OutputFile(".json"))


duplicate = INPUT(
    "--duplicate X",
    "Take two pictures for one from this cosine of their embeddings on.",
    type=NumberRange(0, 1, min_open=True),
    default=0.98,
)


def place(name: str, metavar: str) -> Decorator:
    """An argument that is a file or folder."""
    return click.argument(name, type=PATH, metavar=metavar, cls=Argument)


def _licence(license: str = "", base_model: tuple[str, ...] = (), dataset: tuple[str, ...] = ()) -> "Licence":
    from ..cards import Licence

    return Licence(license, base_model, dataset)


def _card_file(card: Path | None = None, **rights: Any) -> "CardFile | None":
    from ..cards import CardFile

    if card is None:
        if any(rights.values()):
            raise OptionError("--license, --base-model and --dataset are said in a card; expected --card too")
        return None
    return CardFile(card, _licence(**rights))


_several = "several times for several."
_rights = {
    "license": OUTPUT("--license ID", "Write this licence into the model card, such as cc-by-4.0."),
    "base_model": OUTPUT("--base-model ID", f"Name the base model in the card; {_several}", multiple=True),
    "dataset": OUTPUT("--dataset ID", f"Name a data set in the card; {_several}", multiple=True),
}
# What a model card says of licences: `rights`, a cards.Licence.
rights = together("rights", _licence, **_rights)
# The model card of a file of weights: `card`, a cards.CardFile or None.
card_file = together(
    "card",
    _card_file,
    card=OUTPUT("--card F.md", "Write a model card beside it, for who gets the file.", type=OutputFile(".md")),
    **_rights,
)


def output(kinds: str, text: str, type: "click.ParamType[Any]" = OutputFile(), **settings: Any) -> Declared:  # noqa: B008
    return OUTPUT(f"--output -o {kinds}", text, type=type, **settings)


def tables_output(kinds: str, text: str, **settings: Any) -> Decorator:
    """The option --output of tables, URLs among them: the command gets paths, whose files are put there at the end."""
    declared = output(kinds, text, click.STRING, **settings)
    several = settings.get("multiple", False)

    def decorate(function: Function) -> Function:
        @wraps(function)
        def delivering(output: Any, **values: Any) -> Any:
            from ..sinks.deliver import Deliveries

            names = output if several else (output,) if output is not None else ()
            deliveries = Deliveries(names, values.get("inputs", ()))
            click.get_current_context().meta[URLS] = deliveries.urls
            for path, url in deliveries.urls.items():
                say(f"{url} comes at the end; until then its rows are in {path.parent}", err=True)
            status: Any = Exit.FAILED
            try:
                status = function(output=deliveries.paths if several else next(iter(deliveries.paths), None), **values)
            except SystemExit as end:
                status = end.code
            finally:
                done, faults = deliveries.put(early=status in (Exit.FAILED, Exit.INTERRUPTED))
                for url in done:
                    say(f"wrote {url}")
                for fault in faults:
                    say(f"error: {fault}", err=True)
            sys.exit(status or (Exit.MISSED if faults else Exit.DONE))

        return declared(delivering)

    return decorate


def report_page(text: str) -> Declared:
    return OUTPUT("--report F.html", text, type=OutputFile(*PAGES))


def top(default: int) -> Declared:
    return OUTPUT("--top N", "Show this many emotions for each row.", type=click.IntRange(1, 40), default=default)


def most_pictures(text: str) -> Declared:
    return INPUT("--pictures N", text, type=click.IntRange(1), default=64)


def images(text: str) -> Declared:
    return INPUT("--images DIR", text, type=PATH, show_default="drawn by the package")


def files_read(
    checkpoint: str, options: Options, faces: FaceOptions | None = None, baseline: str | None = None
) -> Iterator[str]:
    """The files that options name as inputs, which no output may replace."""
    from ..files import files_of

    for place in (
        checkpoint,
        options.trust_engine,
        options.recipe,
        *((faces.boxes, faces.model) if faces is not None else ()),
    ):
        yield from files_of(place)
    if baseline not in OWN_BASELINES:
        yield from files_of(baseline)
