"""What commands say and write: exit statuses, lines for people, and outputs that stand or fall alone."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EmonetError
from ..text import one_line, without_secrets

if TYPE_CHECKING:
    from ..evaluate.result import Result

# Where a command's context keeps the URLs of its outputs, by the paths where they are written.
URLS = "emonet_fast.urls"


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    MISSED = 1
    FAILED = 2
    INCOMPLETE = 3
    INTERRUPTED = 130


STATUSES = {
    Exit.DONE: "done",
    Exit.MISSED: "a precision misses its bar (verify, calibrate, export); output not whole",
    Exit.FAILED: "an error, or no row has scores",
    Exit.INCOMPLETE: "bulk: some shards failed, the others are done",
    Exit.INTERRUPTED: "interrupted by Ctrl-C, SIGTERM or SIGHUP",
}


def title(names: Sequence[str]) -> str:
    """What a page of these inputs is called, without secrets of URLs."""
    return without_secrets(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def try_files(*paths: Path | None, inputs: Iterable[object] = ()) -> None:
    """Raise OptionError where a file cannot be written, or is an input, before anything is computed.

    None is a file nobody wants. inputs: as of files.keep_apart.
    """
    from ..files import PendingFile, keep_apart

    keep_apart(paths, inputs)
    for path in paths:
        if path is not None:
            PendingFile(path).discard()


def say(*lines: str, err: bool = False) -> None:
    """Print lines, each fit for a terminal: the one way from texts, which may quote anything, to people."""
    click.echo("\n".join(map(one_line, lines)), err=err)


def wrote(*paths: Path | None) -> None:
    """Say which files were written, but for those that are still to be put to their URLs."""
    context = click.get_current_context(silent=True)
    elsewhere = context.meta.get(URLS, {}) if context is not None else {}
    for path in paths:
        if path is not None and path not in elsewhere:
            say(f"wrote {path}")


def write_apart(*writes: Callable[[], Iterable[Path]]) -> Exit:
    """Write outputs, each of which stands or falls alone, and say what became of them.

    writes: for each a function that writes it, and returns the files. Returns MISSED where one failed, else DONE.
    """
    status = Exit.DONE
    for write in writes:
        try:
            wrote(*write())
        except EmonetError as error:
            say(f"error: {error}", err=True)
            status = Exit.MISSED
    return status


def show_result(
    result: "Result", *, json_path: Path | None = None, charts: Path | None = None, report: Path | None = None
) -> Exit:
    """Print what evaluate, or what measures as it does, gives, and write it where it is wanted."""
    from ..evaluate import report as pages

    say(*pages.text(result).split("\n"))
    writers = {json_path: pages.write_json, charts: pages.write_charts, report: pages.write_report}
    return write_apart(*(partial(write, result, path) for path, write in writers.items() if path is not None))


def write_json(path: Path | None, figures: Mapping[str, Any]) -> list[Path]:
    """Write figures, where a file is wanted for them. Returns the file."""
    from ..files import write_whole

    if path is None:
        return []
    write_whole(path, json.dumps(figures, indent=1).encode() + b"\n")
    return [path]
