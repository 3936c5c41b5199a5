"""From a template and its variables to a page in place. All pages extend base.html and share parts.html's macros."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import PendingFile, cannot_write, write_whole


def render(template: str, variables: Mapping[str, Any]) -> bytes:
    """A page as UTF-8. Everything from outside is escaped, and a variable that is missing is an error.

    Args:
        template: Its place in the package, such as "reports/pictures.html".
        variables: What the template shows.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_source),
    )
    return environment.get_template(template).render(variables).encode("utf-8", "backslashreplace")


def write_page(path: Path, template: str, variables: Mapping[str, Any]) -> None:
    """Write a page that appears whole or not at all.

    Raises:
        OptionError: when the folder is missing or cannot be written.
        EmonetError: when the disk refuses midway.
    """
    write_whole(path, render(template, variables))


class PendingPage:
    """A page of a run. Its temporary file is made at once, so that a folder that cannot be written is known before
    anything is scored.

    Raises:
        OptionError: when the folder is missing or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = PendingFile(path)

    def publish(self, template: str, variables: Mapping[str, Any]) -> None:
        """Write the page and put it in place. Raises EmonetError when the disk refuses; then nothing is left."""
        try:
            self._file.file.write(render(template, variables))
            self._file.finish()
            self._file.publish()
        except OSError as error:
            raise cannot_write(self._path, error) from error
        finally:
            self._file.discard()

    def discard(self) -> None:
        """Remove the temporary file; may be called at any time."""
        self._file.discard()


def _source(template: str) -> str:
    return resources.files("emonet_fast").joinpath(template).read_text("utf-8")
