"""Every option of the command line, once; and what commands share: sections of a help text, examples, exit statuses.

An option is a decorator. Some options together make one record: `@engine_options` gives a command `options`, an
`Options`, and `@face_options()` gives it `faces`, a `FaceOptions`. Defaults come from those records.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import wraps
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeAlias

import click

from ..options import BACKENDS, DECODERS, PRECISIONS, FaceOptions, Options

# A command, before and after click has made one of it.
Function: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Function], Function]
PATH = click.Path(path_type=Path)


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    MISSED = 1
    FAILED = 2
    INCOMPLETE = 3
    INTERRUPTED = 130


STATUSES = {
    Exit.DONE: "done",
    Exit.MISSED: "verify: a precision misses its bar; video: an output was cut short",
    Exit.FAILED: "an error, or no row has scores",
    Exit.INCOMPLETE: "bulk: some shards failed, the others are done",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}

# Help texts


_OTHERS = "Other options"


class _Option(click.Option):
    """An option that knows its section of the help text."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class Command(click.Command):
    """A command whose help text has its options by section, and examples at its end."""

    examples: tuple[tuple[str, str], ...] = ()

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {section: [] for section in (*SECTIONS, _OTHERS)}
        for parameter in self.get_params(context):
            row = parameter.get_help_record(context)
            if row is not None and isinstance(parameter, click.Option):
                rows[getattr(parameter, "section", _OTHERS)].append(row)
        for section, records in rows.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records, col_max=24)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            indent = " " * formatter.current_indent
            for purpose, arguments in self.examples:
                line = f"{context.command_path} {arguments}".rstrip()
                parts = wrap(line, formatter.width - 4, subsequent_indent=f"{indent}    ", break_on_hyphens=False)
                formatter.write(f"{indent}# {purpose}\n{indent}" + " \\\n".join(parts) + "\n")


class Group(click.Group):
    """Commands listed in the order in which they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


def command(*examples: tuple[str, str], name: str | None = None) -> Callable[[Function], Command]:
    """Make a command of a function. examples: for each a purpose, and the arguments."""

    def decorate(function: Function) -> Command:
        made = click.command(name, cls=Command)(function)
        made.examples = examples
        return made

    return decorate


# Options


@dataclass(frozen=True, slots=True)
class Declared:
    """One option; as a decorator it adds itself to a command. names, settings: for click.option."""

    section: str
    names: tuple[str, ...]
    settings: Mapping[str, Any]

    def __call__(self, function: Function) -> Function:
        return click.option(*self.names, cls=_Option, section=self.section, **self.settings)(function)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the help text; call it to declare an option of it.

    Args of the call: the option's names, with blanks between, and last the parameter's name if it is another one; its
    sentence of help; what click.option takes besides.
    """

    name: str

    def __call__(self, names: str, text: str, **settings: Any) -> Declared:
        return Declared(self.name, tuple(names.split()), {"show_default": True, "help": text} | settings)


INPUT, FACES, ENGINE, OUTPUT = Section("Input"), Section("Faces"), Section("Engine"), Section("Output")
SECTIONS = tuple(section.name for section in (INPUT, FACES, ENGINE, OUTPUT))


def together(name: str, make: Function, defaults: object = None, **options: Declared) -> Decorator:
    """Options that make one record: the command takes `name`, what `make` gives for their values as keywords.

    options: by the keyword of `make`. defaults: a record whose fields are the options' defaults. An option without a
    value is left out, so that `make` takes its own default.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def with_record(**values: Any) -> Any:
            own = {keyword: values.pop(keyword) for keyword in options}
            return function(**values, **{name: make(**{k: v for k, v in own.items() if v is not None})})

        command: Function = with_record
        for keyword, declared in reversed(options.items()):
            settings = dict(declared.settings)
            if hasattr(defaults, keyword):
                settings.setdefault("default", getattr(defaults, keyword))
            command = replace(declared, names=(*declared.names, keyword), settings=settings)(command)
        return command

    return decorate


inputs = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
image_column = INPUT(
    "--image-column",
    "Read the pictures from this column of parquet tables.",
    metavar="NAME",
    show_default="by its type",
)
checkpoint = ENGINE(
    "--checkpoint -c",
    "Take these weights: 'large' or 'small' (from the hub), a packed file, or a folder with encoder/ and heads/.",
    required=True,
    metavar="C",
)
_hub: dict[str, Declared] = {
    "revision": ENGINE(
        "--revision", "Take this branch, tag or commit of the hub.", metavar="REV", show_default="the pinned one"
    ),
    "cache_dir": ENGINE(
        "--cache-dir",
        "Keep engines and packed weights in this folder.",
        type=PATH,
        metavar="DIR",
        show_default="see doctor",
    ),
}
hub_options = together("options", Options, **_hub)
engine_options = together(
    "options",
    Options,
    Options(),
    device=ENGINE("--device", "Compute on cpu, cuda or cuda:N; auto takes a GPU where there is one.", metavar="D"),
    backend=ENGINE(
        "--backend", "Compute by this engine; auto takes cuda on a GPU, openvino on a CPU.", type=click.Choice(BACKENDS)
    ),
    precision=ENGINE(
        "--precision",
        "Compute in this precision; auto takes bf16 where the device has it, else fp32.",
        type=click.Choice(PRECISIONS),
    ),
    batch_size=ENGINE(
        "--batch-size",
        "Score this many pictures in one call of the engine.",
        type=int,
        metavar="N",
        show_default="by device",
    ),
    threads=ENGINE(
        "--threads", "Use this many CPU threads for an engine.", type=int, metavar="N", show_default="all cores"
    ),
    decoder=ENGINE("--decoder", "Decode pictures by this; dali needs the extra `dali`.", type=click.Choice(DECODERS)),
    trust_engine=ENGINE(
        "--trust-engine",
        "Let backend tensorrt load this engine file. An engine is a program that runs with your rights: name a file "
        "only when you know who made it.",
        type=PATH,
        metavar="F",
    ),
    **_hub,
    exif=INPUT("--exif/--no-exif", "Turn pictures upright by their EXIF orientation first."),
    max_pixels=INPUT("--max-pixels", "Do not decode pictures with more pixels; their rows get a status.", metavar="N"),
    max_bytes=INPUT("--max-bytes", "Do not decode files with more bytes; their rows get a status.", metavar="N"),
)


def face_options(defaults: FaceOptions = FaceOptions()) -> Decorator:  # noqa: B008 - it is frozen
    """Options that give a command `faces`, a FaceOptions."""
    return together(
        "faces",
        FaceOptions,
        defaults,
        faces=FACES(
            "--faces",
            "Score whole pictures (none), the faces that YuNet finds (detect), or those of a file (boxes:FILE, as "
            "COCO JSON, parquet or CSV).",
            metavar="WHICH",
        ),
        model=FACES(
            "--detector-model", "Use this ONNX file of YuNet.", type=PATH, metavar="F", show_default="the hub's"
        ),
        margin=FACES(
            "--face-margin",
            "Let a crop reach beyond its face on each side by this part of the face's longer side.",
            metavar="X",
        ),
        min_score=FACES("--face-score", "Leave out faces of which the detector is less sure (0 to 1).", metavar="X"),
        min_face=FACES("--min-face", "Leave out faces whose longer side has fewer pixels.", metavar="PX"),
    )


def output(text: str, **settings: Any) -> Declared:
    return OUTPUT("--output -o", text, type=PATH, **settings)


def report_page(text: str) -> Declared:
    return OUTPUT("--report", text, type=PATH, metavar="F.html")


def top(default: int) -> Declared:
    return OUTPUT(
        "--top", "Show this many emotions for each row.", type=click.IntRange(1, 40), default=default, metavar="N"
    )


def most_pictures(text: str) -> Declared:
    return INPUT("--pictures", text, type=click.IntRange(1), default=64, metavar="N")


embeddings = OUTPUT("--embeddings", "Write the 1152-d embeddings too.", is_flag=True)
json_file = OUTPUT("--json", "Write every figure in full precision to this file too.", type=PATH, metavar="F.json")


def title(names: Sequence[str]) -> str:
    """What a page of these inputs is called."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write what `--json` asks for, and say so; nothing without a path."""
    from ..files import write_whole

    if path is not None:
        write_whole(path, json.dumps(figures, indent=1).encode() + b"\n")
        click.echo(f"wrote {path}")
