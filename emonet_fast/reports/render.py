"""From a template and its variables to a page. All pages extend base.html and share the macros of parts.html."""

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

from .. import taxonomy
from ..files import PendingFile
from ..reliability import reliability
from ..text import shorten_middle, value_text, visible

# By Scores.value_kind.
MEASURES = {
    "softmax": "softmax over the 40 emotions",
    "score": "score, raw minus neutral mean",
    "raw": "raw, on a scale of 0 to 7",
    "z": "z, spreads above what is usual in the baseline",
}
# The kinds on a page's switch, the one that is shown first before the others.
_KINDS = {"z": "z (unusual)", "softmax": "softmax", "score": "score (mean-subtracted)", "raw": "raw (0 to 7)"}
# Names of taxonomy.GROUPS for narrow screens.
_SHORT = ("Positive, high", "Positive, low", "Negative, high", "Negative, low", "Cognitive", "Physical", "Longing")


def render(template: str, variables: Mapping[str, Any]) -> bytes:
    """A page as UTF-8 of a template, such as "reports/pictures.html".

    Every text is escaped, with its control characters made visible; a variable that is missing is an error.
    """
    return b"".join(_pieces(template, variables))


def _pieces(template: str, variables: Mapping[str, Any]) -> Iterator[bytes]:
    """The page piece by piece, so that a long one is never in memory as a whole."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=jinja2.FunctionLoader(source_of),
    )
    environment.filters |= {
        "clock": clock,
        "count": "{:,}".format,
        "opacity": lambda share: f"{min(max(share, 0.0), 1.0):.3f}",
        "share": lambda share: "–" if math.isnan(share) else f"{share:.1%}",
        "short": lambda text, columns: shorten_middle(visible(text), columns),
        "sha256": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        "signed": lambda value: minus(f"{value:+z.2f}"),
        "value": lambda value, kind: minus(value_text(value, kind)),
        "width_of": lambda value, kind: value_text(value, kind).removeprefix("+"),
        "width": lambda share: f"{min(max(share, 0.0), 1.0):.1%}",
    }
    environment.globals |= {
        "agreement": agreement,
        "emotion": taxonomy.find,
        "group_index": lambda slug: taxonomy.GROUPS.index(taxonomy.find(slug).group),
        "groups": [{"name": name, "short": short} for name, short in zip(taxonomy.GROUPS, _SHORT, strict=True)],
    }
    pieces = environment.get_template(template).stream(variables)
    pieces.enable_buffering(1000)
    yield from (piece.encode("utf-8", "backslashreplace") for piece in pieces)


def switch(kinds: Iterable[str]) -> list[dict[str, str]]:
    """The rankings that a reader can switch between, the one first that the page shows at first."""
    there = set(kinds)
    return [{"kind": k, "label": label, "measure": MEASURES[k]} for k, label in _KINDS.items() if k in there]


def agreement(slug: str) -> dict[str, str] | None:
    """How far experts agree on an emotion: a word for the mark's look, and a text; None where it is unknown."""
    known = reliability().get(slug)
    return None if known is None else {"word": str(known.agreement), "text": known.text}


def publish(pending: PendingFile, template: str, variables: Mapping[str, Any]) -> None:
    """Write a page and put it in place. Raises EmonetError when the disk refuses; then nothing is left."""
    with pending:
        pending.file.writelines(_pieces(template, variables))
        pending.finish()
        pending.publish()


def source_of(template: str) -> str:
    """The text of a file of the package, such as "reports/pictures.js"."""
    return resources.files("emonet_fast").joinpath(template).read_text("utf-8")


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else value  # a macro's output is markup, and a subclass of str


def scale_text(value: float, low: float) -> str:
    """A value on an annotators' scale that begins at `low`: with a sign where the scale has two."""
    return minus(f"{value:+z.2f}" if low < 0 else f"{value:z.2f}")


def minus(number: str) -> str:
    """The number with a minus sign as wide as "+"."""
    return number.replace("-", "−")


def clock(seconds: float) -> str:
    """A time as minutes, seconds and tenths: `1:02.5`, with hours where there are any."""
    sign, ticks = ("-" if seconds < 0 else ""), round(abs(seconds) * 10)
    hours, rest = divmod(ticks, 36000)
    minutes, tenths = divmod(rest, 600)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{head}:{tenths / 10:04.1f}"
