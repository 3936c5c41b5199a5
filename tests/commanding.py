"""The command line in this process, for tests."""

from click.testing import CliRunner

from emonet_fast.commands.main import cli
from emonet_fast.errors import EmonetError


def run(*arguments):
    """The command's output; errors made on purpose are raised."""
    done = CliRunner().invoke(cli, [*map(str, arguments)])
    if isinstance(done.exception, EmonetError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output
