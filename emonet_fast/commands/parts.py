"""What click's options, arguments and commands are in this program: filled, of known suffixes, in sections."""

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeAlias

import click

from ..errors import OptionError
from ..text import one_line

# A command, before and after click has made one of it.
Function: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Function], Function]
# Adds an option to a command; takes further names and settings.
Declared: TypeAlias = Callable[..., Function]
SECTIONS = ("Input", "Faces", "Engine", "Server", "Output")


class _Filled(click.Parameter):
    """Refuses an empty text, which "$UNSET" becomes, and which as a path would be the working folder."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        if value == "" or (isinstance(value, tuple | list) and "" in value):
            raise click.BadParameter("an empty text came; is a variable unset?", ctx, self)
        return super().type_cast_value(ctx, value)


class Argument(_Filled, click.Argument):
    """An argument that is not empty."""


class Option(_Filled, click.Option):
    """An option that is not empty, and knows its section of the help text."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class OutputFile(click.Path):
    """The path of a file to write, whose name must end as its kind does: a slip must not put a page into a table.

    Without suffixes any name will do. A URL is none: tables alone can be put elsewhere (`options.tables_output`).
    Where it is a symbolic link, the file that it points to is written, and must have such a name too.
    """

    def __init__(self, *suffixes: str) -> None:
        super().__init__(path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..sources.remote import is_remote

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if is_remote(value):
            self.fail(
                f"{one_line(value)} came; expected a place on this machine, as tables alone go to URLs", param, ctx
            )
        for name in (path, Path(os.path.realpath(path))):
            if self.suffixes and name.suffix.lower() not in self.suffixes:
                self.fail(f"{str(name)!r} came; expected a name ending in {' or '.join(self.suffixes)}", param, ctx)
        return path


class NumberRange(click.FloatRange):
    """A range that refuses nan, which is neither below nor above any bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return self.fail(f"{value} came; expected a number", param, ctx) if number != number else number


def number_or_word(text: str) -> int | str:
    """What an option like --streams auto|N takes; its record says which words it knows."""
    return int(text) if text.isdecimal() else text


# Of each command, too: click keeps the option that it made first, maybe for a command that was called by itself.
HELP = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command whose help text has its options by section, and examples at its end."""

    examples: tuple[tuple[str, str], ...] = ()

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        options = [p for p in self.get_params(context) if isinstance(p, click.Option)]
        for section in (*SECTIONS, "Other options"):
            here = [o for o in options if getattr(o, "section", "Other options") == section]
            if here:
                with formatter.section(section):
                    formatter.write_dl([row for o in here if (row := o.get_help_record(context))], col_max=24)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for purpose, arguments in self.examples:
                line = f"{context.command_path} {arguments}".rstrip()
                parts = wrap(line, formatter.width - 4, subsequent_indent=" " * 6, break_on_hyphens=False)
                formatter.write(f"  # {purpose}\n  " + " \\\n".join(parts) + "\n")


class Commands(click.Group):
    """Commands listed in the order in which they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


def command(*examples: tuple[str, str], name: str | None = None) -> Callable[[Function], Command]:
    """Make a command of a function. examples: for each a purpose, and the arguments."""

    def decorate(function: Function) -> Command:
        made = click.command(name, cls=Command, context_settings=HELP)(function)
        made.examples = examples
        return made

    return decorate


def declare(section: str, usage: str, text: str, choices: Sequence[str] = (), **settings: Any) -> Declared:
    """Declare an option of a section of the help text.

    usage: the option as a line of usage shows it ("--output -o FILE"). settings: what click.option takes besides.
    """
    names = [word for word in usage.split() if word.startswith("-")]
    metavar = next((word for word in usage.split() if not word.startswith("-")), None)
    if choices:
        settings["type"] = click.Choice(choices)
    settings = {"metavar": metavar, "help": text, "show_default": True} | settings

    def add(function: Function, *more: str, **further: Any) -> Function:
        return click.option(*names, *more, cls=Option, section=section, **(further | settings))(function)

    return add


INPUT, FACES, ENGINE, SERVER, OUTPUT = (partial(declare, section) for section in SECTIONS)
PATH = click.Path(path_type=Path)


def together(name: str, make: Function, defaults: object = None, **options: Declared) -> Decorator:
    """Options that make one record: the command takes `name`, what `make` gives for their values as keywords.

    options: by the keyword of `make`. defaults: a record whose fields are the options' defaults. An option without a
    value is left out, so that `make` takes its own default.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def with_record(**values: Any) -> Any:
            own = {keyword: values.pop(keyword) for keyword in options}
            try:
                record = make(**{keyword: value for keyword, value in own.items() if value is not None})
            except OptionError as error:
                raise OptionError(_by_option(str(error))) from None
            return function(**values, **{name: record})

        command: Function = with_record
        for keyword, declared in reversed(options.items()):
            known = {"default": getattr(defaults, keyword)} if hasattr(defaults, keyword) else {}
            command = declared(command, keyword, **known)
        return command

    return decorate


def _by_option(message: str) -> str:
    """A record's message with the option in place of the field that it begins with: "min_score is 5"."""
    field, _, rest = message.partition(" is ")
    options = {p.name: p.opts[0] for p in click.get_current_context().command.params}
    return f"{options[field]} is {rest}" if field in options else message
