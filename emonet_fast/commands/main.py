"""`emonet-fast`: the commands in the order of use, errors turned into one line and an exit status, and `doctor`.

A command's file imports what it runs inside its function, so that `emonet-fast --help` stays cheap.
"""

import logging
import sys
from json import dumps

import click

from .._version import __version__
from ..errors import EmonetError
from .bulk import bulk, report
from .checkpoint import build, pack, synthetic
from .evaluate import evaluate
from .options import OUTPUT, STATUSES, Commands, Exit, command
from .profile import profile
from .score import score
from .verify import verify
from .video import recover, video

_STATUSES = "Exit status of every command:\n\n\b\n" + "\n".join(f"{s.value:>3}  {text}" for s, text in STATUSES.items())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_STATUSES)
@click.version_option(__version__, prog_name="emonet-fast")
@click.option("--verbose", "-v", is_flag=True, help="Say what is read, compiled and kept.")
def cli(verbose: bool) -> None:
    """Score faces with EmoNet-Face's EmpathicInsight-Face models: 40 emotions a picture."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("emonet_fast").setLevel(logging.DEBUG if verbose else logging.INFO)


@command(("What this machine can do, to read:", ""), ("The same for a program, or a report of a fault:", "--json"))
@OUTPUT("--json", "Print JSON, for programs.", is_flag=True)
def doctor(json: bool) -> None:
    """Say what this machine can do, and why not."""
    from .. import doctor as machine

    facts = machine.report()
    click.echo(dumps(facts, indent=1) if json else machine.text(facts))


for _command in (score, video, bulk, report, verify, pack, build, evaluate, profile, doctor, synthetic, recover):
    cli.add_command(_command)


def main() -> None:
    """Run the command line: an error made on purpose becomes one line and an exit status."""
    try:
        cli(prog_name="emonet-fast", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: no output file was written", err=True)
        sys.exit(Exit.INTERRUPTED)
    except EmonetError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(Exit.FAILED)
