"""Every option of the command line, once; and, by their names here, what commands say and write (outputs.py).

An option is a decorator. Some options together make one record: `@engine_options` gives a command `options`, an
`Options`, and `@face_options()` gives it `faces`, a `FaceOptions`. Defaults come from those records.
"""

import sys
from collections.abc import Iterator
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bars import SHOWN
from ..errors import OptionError
from ..options import (
    BACKENDS,
    DECODERS,
    EXPORT_FORMATS,
    EXPORT_INPUTS,
    EXPORT_PRECISIONS,
    PRECISIONS,
    ExportOptions,
    FaceOptions,
    Options,
)
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
from .parts import HELP as HELP
from .parts import SECTIONS, Function, declare
from .parts import Argument as Argument
from .parts import Commands as Commands
from .parts import Declared as Declared
from .parts import Decorator as Decorator
from .parts import NumberRange as NumberRange
from .parts import OutputFile as OutputFile
from .parts import command as command
from .parts import together as together

if TYPE_CHECKING:
    from ..baseline import Baseline
    from ..cards import CardFile, Licence

PATH = click.Path(path_type=Path)
PAGES = (".html", ".htm")
_OWN = ("self", "person")  # what --baseline takes beside files, where it can


INPUT, FACES, ENGINE, SERVER, OUTPUT = (partial(declare, section) for section in SECTIONS)

inputs = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", cls=Argument)
image_column = INPUT(
    "--image-column NAME", "Read the pictures from this column of parquet tables.", show_default="by its type"
)
embedding_column = INPUT(
    "--embedding-column NAME",
    "Take the stored embeddings in this column of parquet tables, even where they have pictures.",
    show_default="`embedding`, or the only such column, in tables without pictures",
)
checkpoint = ENGINE(
    "--checkpoint -c C",
    "Take these weights: 'large' or 'small' (from the hub), a packed file, or a folder with encoder/ and heads/.",
    required=True,
)
packed_with = ENGINE("--checkpoint -c C", "Pack the heads with this checkpoint's encoder, into packed.safetensors.")
_hub = {
    "revision": ENGINE("--revision REV", "Take this branch, tag or commit of the hub.", show_default="the pinned one"),
    "cache_dir": ENGINE(
        "--cache-dir DIR",
        "Keep engines and packed weights in this folder.",
        type=PATH,
        default=None,
        show_default="see doctor",
    ),
}
hub_options = together("options", Options, **_hub)
cache_options = together("options", Options, cache_dir=_hub["cache_dir"])
_engine = dict(
    device=ENGINE("--device D", "Compute on cpu, cuda or cuda:N; auto takes a GPU where there is one."),
    backend=ENGINE("--backend", "Compute by this engine; auto takes cuda on a GPU, openvino on a CPU.", BACKENDS),
    precision=ENGINE(
        "--precision",
        "Compute in this precision; auto takes int8 where a fidelity report of these weights on this processor passes, "
        "else bf16 where the device has it, else fp32.",
        PRECISIONS,
    ),
    recipe=ENGINE(
        "--recipe F", "Compute int8 by this recipe of `calibrate --output`.", type=PATH, show_default="the newest"
    ),
    accept_fidelity=ENGINE(
        "--accept-fidelity", "Use int8 although its fidelity report misses the bars; outputs say so.", is_flag=True
    ),
    batch_size=ENGINE(
        "--batch-size N", "Score this many pictures in one call of the engine.", type=int, show_default="by device"
    ),
    threads=ENGINE("--threads N", "Use this many CPU threads for an engine.", type=int, show_default="all cores"),
    streams=ENGINE(
        "--streams auto|N",
        "Score N batches at once on a CPU, each on its share of the threads; auto takes what pays for the pictures.",
        type=lambda text: int(text) if text.isdecimal() else text,
    ),
    decoder=ENGINE("--decoder", "Decode pictures by this; dali needs the extra `dali`.", DECODERS),
    trust_engine=ENGINE(
        "--trust-engine F",
        "Let backend tensorrt load this engine file. An engine is a program that runs with your rights: name a file "
        "only when you know who made it.",
        type=PATH,
    ),
    **_hub,
    exif=INPUT("--exif/--no-exif", "Turn pictures upright by their EXIF orientation first."),
    max_pixels=INPUT("--max-pixels N", "Do not decode pictures with more pixels; their rows get a status."),
    max_bytes=INPUT("--max-bytes N", "Do not decode files with more bytes; their rows get a status."),
    max_memory=INPUT("--max-memory N", "Do not decode pictures that take more bytes of memory, by their header."),
    max_seconds=INPUT("--max-seconds X", "Do not decode pictures that take longer, by their structure."),
)


def engine_options(*without: str) -> Decorator:
    """Options that give a command `options`, an Options. without: the fields that would change nothing there."""
    # Any cache_dir will do here: its option has no default of its own, and a user without a home has no such folder.
    defaults = Options(cache_dir=Path())
    return together("options", Options, defaults, **{k: v for k, v in _engine.items() if k not in without})


_NOT_CERTIFIED = ("batch_size", "decoder", "streams", "trust_engine", "accept_fidelity")
# What is certified, and with what: `options`, an Options of precision "int8" or "fp8".
certified_options = together(
    "options",
    Options,
    Options(cache_dir=Path(), precision="int8"),
    **{k: v for k, v in _engine.items() if k not in _NOT_CERTIFIED}
    | {
        "precision": ENGINE("--precision", "Certify this precision: int8 on a CPU, fp8 on a GPU.", ("int8", "fp8")),
        "recipe": ENGINE("--recipe F", "Prove this recipe of int8 instead of making one.", type=PATH),
    },
)


def _for_int8(**values: Any) -> Options:
    """Options of an export, whose own precision says whether int8 is wanted."""
    chosen = {name: value for name, value in values.items() if value not in (None, False)}
    return Options(**chosen, precision="int8")


# Where reports of int8 are, and which one counts: `options`.
export_proof = together(
    "options",
    _for_int8,
    Options(cache_dir=Path()),
    **{name: _engine[name] for name in ("recipe", "accept_fidelity", "revision", "cache_dir")},
)
# What an exported model is like: `wanted`.
exported = together(
    "wanted",
    ExportOptions,
    ExportOptions(),
    format=OUTPUT("--format", "Write this format.", EXPORT_FORMATS),
    precision=ENGINE(
        "--precision",
        "Write weights in this precision; fp16 computes in float32, int8 needs a report of `calibrate`.",
        EXPORT_PRECISIONS,
    ),
    input=OUTPUT(
        "--input", "Let the model take bytes [N, S, S, 3], or planes [N, 3, S, S] from 0 to 1.", EXPORT_INPUTS
    ),
    batch=OUTPUT(
        "--batch dynamic|N",
        "Let a batch have any number of rows, or just so many.",
        type=lambda text: int(text) if text.isdecimal() else text,
    ),
    outputs=OUTPUT(
        "--outputs NAMES", "Give these outputs: softmax, scores, raw, embedding; some of them, between commas."
    ),
    with_softmax=OUTPUT("--with-softmax", "Give the softmax over the 40 emotions too.", is_flag=True),
)


detector_model = FACES(
    "--detector-model F",
    "Use this ONNX file of YuNet.",
    type=PATH,
    show_default="the packed checkpoint's, else the hub's",
)


_faces = FACES(
    "--faces WHICH",
    "Score whole pictures (none), the faces that YuNet finds (detect), or those of a file (boxes:FILE, as COCO JSON, "
    "parquet or CSV).",
)
_own_faces = FACES(
    "--faces", "Score whole pictures (none), or the faces that YuNet finds (detect).", ("none", "detect")
)


def face_options(defaults: FaceOptions = FaceOptions(), known: bool = True) -> Decorator:  # noqa: B008 - it is frozen
    """Options that give a command `faces`, a FaceOptions. known: whether a file may name the pictures' faces."""
    return together(
        "faces",
        FaceOptions,
        defaults,
        faces=_faces if known else _own_faces,
        model=detector_model,
        margin=FACES(
            "--face-margin X", "Let a crop reach beyond its face on each side by this part of the face's longer side."
        ),
        min_score=FACES("--face-score X", "Leave out faces of which the detector is less sure (0 to 1)."),
        min_face=FACES("--min-face PX", "Leave out faces whose longer side has fewer pixels."),
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
duplicate = INPUT(
    "--duplicate X",
    "Take two pictures for one from this cosine of their embeddings on.",
    type=NumberRange(0, 1, min_open=True),
    default=0.98,
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


def stored_embeddings(required: bool = False) -> Declared:
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

    if text in _OWN and text not in words:
        raise OptionError(f"--baseline {text} came; expected a file" + "".join(f", or {word}" for word in words))
    return text if text is None or text in words else Baseline.read(Path(text))


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
    if baseline not in _OWN:
        yield from files_of(baseline)
