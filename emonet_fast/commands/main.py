"""`emonet-fast`: the commands in the order of use, errors turned into one line and an exit status, and `doctor`.

A command's file imports what it runs inside its function, so that `emonet-fast --help` stays cheap.
"""

import logging
import os
import sys
from io import StringIO
from json import dumps
from traceback import format_exc

import click

from .._version import __version__
from ..errors import EmonetError
from ..text import one_line
from .baseline import baseline
from .bulk import bulk, report
from .cache import cache
from .calibrate import calibrate
from .checkpoint import build, pack, synthetic
from .codebook import codebook
from .evaluate import evaluate
from .export import export
from .labels import labels
from .options import OUTPUT, STATUSES, Exit, say
from .parts import HELP, Commands, command
from .probe import probe
from .profile import profile
from .score import score
from .serve import serve
from .summarise import summarise
from .surroundings import end_by_signals, final_status, open_streams
from .train import train
from .verify import verify
from .video import recover, video

_STATUSES = "Exit status of every command:\n\n\b\n" + "\n".join(f"{s.value:>3}  {text}" for s, text in STATUSES.items())


@click.group(cls=Commands, context_settings=HELP, epilog=_STATUSES)
@click.version_option(__version__, prog_name="emonet-fast")
@click.option("--verbose", "-v", is_flag=True, help="Say what is read, compiled and kept, and where a fault came from.")
def cli(verbose: bool) -> None:
    """Score faces with EmoNet-Face's EmpathicInsight-Face models: 40 emotions a picture."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("emonet_fast").setLevel(logging.DEBUG if verbose else logging.INFO)


@command(("What this machine can do, to read:", ""), ("The same for a program, or a report of a fault:", "--json"))
@OUTPUT("--json", "Print JSON, for programs.", is_flag=True)
def doctor(json: bool) -> None:
    """Say what this machine can do, and why not."""
    from .. import doctor as machine

    facts = machine.report()
    click.echo(dumps(facts, indent=1)) if json else say(*machine.text(facts).split("\n"))


for _command in (
    score,
    video,
    bulk,
    report,
    baseline,
    summarise,
    serve,
    codebook,
    calibrate,
    verify,
    pack,
    build,
    export,
    evaluate,
    labels,
    probe,
    train,
    profile,
    doctor,
    cache,
    synthetic,
    recover,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line: whatever goes wrong becomes one line and an exit status."""
    output = open_streams()
    end_by_signals()
    sys.exit(final_status(_run(), output))


def _run() -> int:
    try:
        return int(cli(prog_name="emonet-fast", standalone_mode=False) or Exit.DONE)
    except SystemExit as stop:
        return int(stop.code or Exit.DONE)
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        say(*shown.getvalue().rstrip("\n").split("\n"), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", err=True)
        return Exit.INTERRUPTED
    except EmonetError as error:
        say(f"error: {error}", err=True)
    except Exception as error:
        if logging.getLogger("emonet_fast").isEnabledFor(logging.DEBUG):
            say(*format_exc().split("\n"), err=True)
        say(f"error: {_explained(error)}", err=True)
    return Exit.FAILED


def _explained(error: Exception) -> str:
    """One line on an error that was not made on purpose: of the machine, or a fault of ours."""
    if isinstance(error, MemoryError):
        return "memory ran out; a smaller --batch-size needs less"
    if isinstance(error, OSError) and error.strerror:
        try:
            os.getcwd()  # noqa: PTH109 - asked for its error alone
        except FileNotFoundError:
            return "the working folder was removed; change to another one"
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part is not None)
    return (
        f"{type(error).__name__}: {error}; this is a fault of emonet-fast. Please report it, with what the same "
        "command says after `emonet-fast --verbose`"
    )


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())
