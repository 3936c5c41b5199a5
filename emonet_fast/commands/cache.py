"""`emonet-fast cache list` and `cache prune`: weights and engines that are kept, and what killed runs have left."""

import time

import click

from ..errors import EmonetError
from ..options import Options
from ..text import counted
from . import options as opt


@click.group(cls=opt.Commands)
def cache() -> None:
    """List or clear the packed weights and engines that are kept."""


@opt.command(
    ("What is kept, and when it was used last:", ""),
    ("The same of another folder:", "--cache-dir /scratch/emonet"),
    name="list",
)
@opt.cache_options
def list_(options: Options) -> None:
    """List what the cache holds, the one used last first."""
    from ..cache import entries

    found = entries(options.cache_dir)
    for entry in found:
        days = (time.time() - entry.used) / 86400
        opt.say(f"{entry.kind:11}  {entry.size / 1e6:7.1f} MB  {days:5.1f} days  {entry.path.name}  {entry.about}")
    opt.say(f"{counted(len(found), 'file')}, {sum(e.size for e in found) / 1e6:.0f} MB in {options.cache_dir}")


@opt.command(
    ("What was not used for 30 days, and what killed runs have left:", ""),
    ("Everything:", "--days 0"),
)
@opt.cache_options
@opt.INPUT(
    "--days N", "Remove what was not used for so many days.", type=click.FloatRange(0), default=30.0, show_default=True
)
def prune(options: Options, days: float) -> None:
    """Remove what was not used lately.

    Unfinished files of killed runs go too, an hour after they last grew. What is removed is made again when needed.
    """
    from ..cache import prune as remove

    try:
        removed = remove(options.cache_dir, days)
    except OSError as error:
        raise EmonetError(f"cannot remove {error.filename}: {error.strerror or error}") from error
    size = sum(entry.size for entry in removed) / 1e6
    opt.say(f"removed {counted(len(removed), 'file')}, {size:.0f} MB, of {options.cache_dir}")


cache.add_command(list_)
cache.add_command(prune)
