"""`emonet-fast cache list` and `cache prune`: weights and engines that are kept, and what killed runs have left."""

import math
import time
from typing import TYPE_CHECKING

import click

from ..errors import EmonetError
from ..options import Options
from ..text import counted
from . import engines
from . import options as opt

if TYPE_CHECKING:
    from ..cache import Kept


def _versions() -> dict[str, object]:
    """What engines are of this installation, see cache.entries."""
    from ..graph.version import GRAPH_VERSION
    from ..optional import import_openvino

    return {"openvino": import_openvino().get_version(), "graph": GRAPH_VERSION}


def _stale(entry: "Kept") -> str:
    return f" (of no use: {entry.stale})" if entry.stale else ""


@click.group(cls=opt.Commands, context_settings=opt.HELP)
def cache() -> None:
    """List or clear the packed weights and engines that are kept."""


@opt.command(
    ("What is kept, and when it was used last:", ""),
    ("The same of another folder:", "--cache-dir /scratch/emonet"),
    name="list",
)
@engines.cache_options
def list_(options: Options) -> None:
    """List what the cache holds, the one used last first."""
    from ..cache import entries

    found = entries(options.cache_dir, _versions())
    for entry in found:
        days = (time.time() - entry.used) / 86400
        about = f"{entry.about}{_stale(entry)}"
        opt.say(f"{entry.kind:11}  {entry.size / 1e6:7.1f} MB  {days:5.1f} days  {entry.path.name}  {about}")
    opt.say(f"{counted(len(found), 'file')}, {sum(e.size for e in found) / 1e6:.0f} MB in {options.cache_dir}")


@opt.command(
    ("What was not used for 30 days, and what killed runs have left:", ""),
    ("Everything:", "--days 0"),
    ("What was used last, as far as 10 GB reach:", "--max-size 10"),
)
@engines.cache_options
@opt.INPUT(
    "--days N", "Remove what was not used for so many days.", type=opt.NumberRange(0), default=30.0, show_default=True
)
@opt.INPUT("--max-size GB", "Remove what was used least recently until this much is left.", type=opt.NumberRange(0))
def prune(options: Options, days: float, max_size: float | None) -> None:
    """Remove what was not used lately, or can never be used.

    That is an engine of another version of its compiler, and a copy of weights that are gone. Unfinished files of
    killed runs go too, an hour after they last grew. What a running process has mapped stays. Each file that goes is
    named with the reason; what is removed is made again when needed.
    """
    from ..cache import prune as remove

    try:
        most = math.inf if max_size is None else max_size * 1e9
        found = remove(options.cache_dir, days, most, _versions())
    except OSError as error:
        raise EmonetError(f"cannot remove {error.filename}: {error.strerror or error}") from error
    for entry, reason in found:
        opt.say(f"{entry.path.name}, {entry.kind}: {reason or 'a running process uses it, so it stays'}")
    removed = [entry for entry, reason in found if reason]
    size = sum(entry.size for entry in removed) / 1e6
    opt.say(f"removed {counted(len(removed), 'file')}, {size:.0f} MB, of {options.cache_dir}")


cache.add_command(list_)
cache.add_command(prune)
