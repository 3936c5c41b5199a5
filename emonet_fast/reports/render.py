"""From a template and its variables to a page. All pages extend base.html and share the macros of parts.html."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ..files import PendingFile
from ..sinks.text import visible
from .parts import FILTERS, FUNCTIONS


def render(template: str, variables: Mapping[str, Any]) -> bytes:
    """A page as UTF-8 of a template, such as "reports/pictures.html".

    Every text is escaped, with its control characters made visible; a variable that is missing is an error.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=jinja2.FunctionLoader(_source),
    )
    environment.filters |= FILTERS
    environment.globals |= FUNCTIONS
    return environment.get_template(template).render(variables).encode("utf-8", "backslashreplace")


def publish(pending: PendingFile, template: str, variables: Mapping[str, Any]) -> None:
    """Write a page and put it in place. Raises EmonetError when the disk refuses; then nothing is left."""
    with pending:
        pending.file.write(render(template, variables))
        pending.finish()
        pending.publish()


def _source(template: str) -> str:
    return resources.files("emonet_fast").joinpath(template).read_text("utf-8")


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value  # a macro's output is markup, and a subclass of str
