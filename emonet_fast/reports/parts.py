"""Texts and numbers as the pages show them."""

import math
from typing import Any

from .. import taxonomy
from ..sinks.text import shorten_middle, visible

# By Scores.value_kind.
MEASURES = {
    "prob": "softmax over the 40 emotions",
    "score": "raw score minus neutral mean",
    "raw": "raw score, no neutral baseline",
}
# Names of taxonomy.GROUPS for narrow screens.
_SHORT = ("Positive, high", "Positive, low", "Negative, high", "Negative, low", "Cognitive", "Physical", "Longing")


def groups() -> list[dict[str, Any]]:
    """The seven groups of emotions; `index` chooses the colour."""
    return [{"name": g, "short": s, "index": i} for i, (g, s) in enumerate(zip(taxonomy.GROUPS, _SHORT, strict=True))]


def group_index(slug: str) -> int:
    """The place of an emotion's group in `groups()`."""
    return taxonomy.GROUPS.index(taxonomy.find(slug).group)


def value_text(value: float, kind: str) -> str:
    """A value of `Scores.top`: softmax as a percentage, other scores with two digits."""
    if kind != "prob":
        return minus(f"{value:+.2f}" if kind == "score" else f"{value:.2f}")
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"


def minus(number: str) -> str:
    """The number with a minus sign as wide as "+"."""
    return number.replace("-", "−")


def css_percent(share: float) -> str:
    """A share of 0..1 as a length in CSS; values beyond are cut off."""
    return f"{min(max(share, 0.0), 1.0) * 100:.1f}%"


def clock(seconds: float) -> str:
    """A time as minutes, seconds and tenths: `1:02.5`, with hours where there are any."""
    sign, ticks = ("-" if seconds < 0 else ""), round(abs(seconds) * 10)
    hours, rest = divmod(ticks, 36000)
    minutes, tenths = divmod(rest, 600)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{head}:{tenths / 10:04.1f}"


FILTERS = {
    "clock": clock,
    "count": "{:,}".format,
    "opacity": lambda share: f"{min(max(share, 0.0), 1.0):.3f}",
    "share": lambda share: "–" if math.isnan(share) else f"{share:.1%}",
    "short": lambda text, columns: shorten_middle(visible(text), columns),
    "signed": lambda value: minus(f"{value:+.2f}"),
    "value": value_text,
    "width": css_percent,
}
FUNCTIONS = {"emotion": taxonomy.find, "group_index": group_index, "groups": groups}
