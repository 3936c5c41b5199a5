"""The plain table that the command line prints: one line a picture."""

from typing import TYPE_CHECKING

from ..reliability import LEGEND, marked, shortened
from ..text import columns, pad, shorten_end, shorten_middle, value_text, visible

if TYPE_CHECKING:
    from ..scores import Scores

_MIN_WIDTH = 40
_GAP = "  "
_NAME = 24  # columns of an emotion's name at most: with five, a line stays within 200
_NAME_LEAST = 10  # shorter than this, names look alike
_TITLES = {
    "softmax": "strongest emotions, softmax over 40",
    "score": "strongest emotions, score (raw minus neutral mean)",
    "raw": "strongest emotions, raw (no neutral means)",
    "z": "most unusual emotions, z against the baseline",
}


def table(scores: "Scores", top: int, width: int, min_reliability: float | None = None) -> str:
    """One line for each picture: its key, then its `top` strongest emotions, or its status and reason
    where no emotion can be ranked.

    No line is longer than `width` columns, at least 40: keys lose their middle, names their end, and then emotions are
    left out, which the last line says. A mark after a name says that experts do not agree on it. Control characters are
    escapes, so that a file name cannot steer the terminal.
    Raises OptionError when top is negative.
    """
    ranked = scores.top(top, min_reliability=min_reliability)
    if not len(scores):
        return "no pictures"
    width = max(width, _MIN_WIDTH)
    keys = [visible(k) for k in scores.keys]
    key_width = min(max(columns(k) for k in [*keys, "picture"]), max(width * 3 // 10, 16))
    cells = [[(marked(s), value_text(v, scores.value_kind)) for s, v in row] for row in ranked]
    widths = _cell_widths(cells, width - key_width - len(_GAP))
    lines = [_line("picture", _TITLES[scores.value_kind] if widths else "status", key_width, width)]
    for i, key in enumerate(keys):
        if cells[i]:
            text = _GAP.join(_cell(*c, *w) for c, w in zip(cells[i], widths, strict=False))
        else:
            text = ": ".join(filter(None, [str(scores.status[i]), visible(scores.reason[i])]))
        lines.append(_line(key, text, key_width, width))
    wanted = max(map(len, cells))
    if any(name[-1] in "~?" for row in cells for name, _ in row[: len(widths)]):
        lines.append(shorten_end(LEGEND, width))
    if len(widths) < wanted:
        lines.append(shorten_end(f"(room for {len(widths)} of {wanted} emotions)", width))
    return "\n".join(line.rstrip() for line in lines)


def _line(key: str, text: str, key_width: int, width: int) -> str:
    room = width - key_width - len(_GAP)
    return pad(shorten_middle(key, key_width), key_width) + _GAP + shorten_end(text, room)


def _cell_widths(cells: list[list[tuple[str, str]]], room: int) -> list[tuple[int, int]]:
    """(name, value) columns of each place: as many places as `room` allows, names as long as possible."""
    places = max(map(len, cells))
    wanted = [
        (
            max(min(columns(r[p][0]), _NAME) for r in cells if len(r) > p),
            max(len(r[p][1]) for r in cells if len(r) > p),
        )
        for p in range(places)
    ]
    while wanted and _total([(min(n, _NAME_LEAST), v) for n, v in wanted]) > room and len(wanted) > 1:
        wanted.pop()
    while wanted and _total(wanted) > room:
        longest = max(range(len(wanted)), key=lambda p: wanted[p][0])
        wanted[longest] = (wanted[longest][0] - 1, wanted[longest][1])
    return wanted


def _total(widths: list[tuple[int, int]]) -> int:
    return sum(n + 1 + v for n, v in widths) + len(_GAP) * (len(widths) - 1)


def _cell(name: str, value: str, name_width: int, value_width: int) -> str:
    return pad(shortened(name, name_width), name_width) + " " + value.rjust(value_width)
