"""How scores look in a notebook: a small table with pictures, and plots.

Scores hold no pictures. Those of the rows that are shown are read again, where their keys name files of this machine.
"""

import math
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import taxonomy
from ..decode import decode
from ..errors import OptionError
from ..optional import need
from ..options import Options
from ..records import Box, Status, UInt8Array
from ..reliability import LEGEND, marked, reliability, shortened
from ..sinks.encoders import warnings_of
from ..sources.folder import read_file
from ..sources.keys import picture_of, unnumbered
from ..text import counted, shorten_end, shorten_middle, value_text, visible
from ..thumbnails import encoded, thumbnail
from .parts import summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .table import Scores

_ROWS = 10
_STRONGEST, _OF_ONE_ROW = 5, 10
_SIDE = 56  # pixels of a picture
_KEY, _TEXT, _NAME = 60, 160, 24  # characters
_NOTES = 5
# Larger pictures are not shown: a table must appear at once.
_MAX_BYTES, _MAX_PIXELS, _MAX_SECONDS = 50_000_000, 50_000_000, 0.5
# Of the seven groups, as on pages; other dimensions are grey.
_COLOURS = dict(
    zip(
        (*taxonomy.GROUPS, ""),
        ("#ccbb44", "#228833", "#ee6677", "#4477aa", "#66ccee", "#a0a4ab", "#aa3377", "#a0a4ab"),
        strict=True,
    )
)
_LABELLED = 40  # rows of a heat map at most that have their keys beside them


def table(scores: "Scores") -> str:
    """The first rows as HTML: picture, key, strongest emotions, or status and reason. All texts are escaped.

    Under 100 kB for any scores. Nothing is read from the network.
    """
    faults = Counter(str(status) for status in scores.status if status != Status.OK)
    known = f" ({', '.join(f'{n} {status}' for status, n in faults.most_common())})" if faults else ""
    title = f"<b>{summary(scores)}</b>{known}; strongest emotions by {scores.value_kind}"
    notes = [escape(shorten_end(visible(note), 2 * _TEXT)) for note in scores.notes[:_NOTES]]
    shown = range(min(_ROWS, len(scores)))
    body = "".join(_rows(scores.select(shown)))
    more = [f"{counted(len(scores) - len(shown), 'row')} more"] if len(scores) > len(shown) else []
    legend = [LEGEND] if scores.ok[list(shown)].any() else []
    before, after = ("".join(f"<p>{text}</p>" for text in texts) for texts in ([title, *notes], [*more, *legend]))
    return f"<div>{before}<table>{body}</table>{after}</div>"


def _rows(scores: "Scores") -> Iterator[str]:
    alone = len(scores) == 1
    for row, top in enumerate(scores.top(_OF_ONE_ROW if alone else _STRONGEST)):
        image = _picture(scores, row)
        shown = f'<img alt="" src="data:image/jpeg;base64,{image}">' if image else ""
        cells = [_emotion(slug, value, scores.value_kind) for slug, value in top]
        if alone:
            cells = ["<br>".join(cells)]
        if not top:
            reason = shorten_end(visible(scores.reason[row]), _TEXT)
            cells = [escape(": ".join(filter(None, [str(scores.status[row]), reason])))]
        head = f"<td>{shown}</td><td>{escape(shorten_middle(visible(scores.keys[row]), _KEY))}</td>"
        span = "" if top else f" colspan={_STRONGEST}"
        yield f"<tr>{head}{''.join(f'<td{span}>{cell}</td>' for cell in cells)}</tr>"


def _emotion(slug: str, value: float, kind: str) -> str:
    known = reliability().get(slug)
    about = "" if known is None else f' title="{escape(known.text)}"'
    return f"<span{about}>{escape(shortened(marked(slug), _NAME))}</span> {value_text(value, kind)}"


def _picture(scores: "Scores", row: int) -> str:
    """A row's picture or face as base64 JPEG; "" where its key names no file of this machine that can be shown."""
    key = picture_of(scores.keys[row])
    path = next((name for name in (key, unnumbered(key)) if name and "://" not in name and _is_file(name)), None)
    if path is None or scores.status[row] != Status.OK:
        return ""
    limits = Options(max_bytes=_MAX_BYTES, max_pixels=_MAX_PIXELS, max_seconds=_MAX_SECONDS, cache_dir=Path())
    rgb = decode(read_file(path, path, _MAX_BYTES), limits).rgb
    if rgb is not None and scores.faces is not None:
        rgb = _face(rgb, *scores.faces[row, :4].tolist())
    return encoded(thumbnail(rgb, _SIDE))


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a key may be any text
        return False


def _face(rgb: UInt8Array, x: float, y: float, width: float, height: float) -> UInt8Array | None:
    if x != x:  # no box: the whole picture was scored
        return rgb
    box = Box(math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height))
    inside = box.inside(rgb.shape[1], rgb.shape[0])
    return None if inside is None else rgb[inside.top : inside.bottom, inside.left : inside.right]


def plot(scores: "Scores", kind: str | None, axes: "Axes | None") -> "Axes":
    """Bars of one row, a heat map of several; see `Scores.plot`."""
    pyplot = need("matplotlib.pyplot", "Scores.plot()")
    kind = kind or scores.value_kind
    slugs, values = scores.ranking(kind)
    if not np.isfinite(values).any():
        raise OptionError(f"no row has scores to plot by {kind}; look at .status, .reason and .notes")
    size = (7.0, 1.2 + 0.2 * len(slugs)) if len(scores) == 1 else (11.0, 3.5 + 0.2 * min(len(scores), _LABELLED))
    if axes is None:
        axes = pyplot.subplots(figsize=size, layout="constrained")[1]
    warnings = [shorten_end(visible(text), 2 * _KEY) for text in warnings_of(scores.metadata)]
    if len(scores) == 1:
        order = np.argsort(-values[0], kind="stable")[::-1].tolist()
        groups = [_COLOURS[taxonomy.find(slugs[e]).group] for e in order]
        axes.barh([shortened(marked(slugs[e]), _NAME) for e in order], values[0, order], color=groups)
        axes.set_xlabel(kind)
        warnings = [shorten_middle(visible(scores.keys[0]), _KEY), *warnings]
        axes.margins(y=0.01)
    else:
        signed = kind in ("score", "z")
        limit = float(np.nanmax(np.abs(values))) or 1.0
        low, high = (-limit, limit) if signed else (None, None)
        colours = "RdBu_r" if signed else "viridis"
        image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high)
        axes.set_xticks(range(len(slugs)), [shortened(marked(slug), _NAME) for slug in slugs], rotation=90)
        if len(scores) <= _LABELLED:
            axes.set_yticks(range(len(scores)), [shorten_middle(visible(key), _KEY // 2) for key in scores.keys])
        axes.figure.colorbar(image, ax=axes, label=kind)
    axes.set_title("\n".join(warnings), fontsize="medium")
    return axes
