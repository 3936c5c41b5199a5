"""The page at `/`: a picture or the webcam, and the 40 scores."""

from typing import Any

from .. import taxonomy
from ..reports.render import render, source_of


def page() -> bytes:
    """The page, as UTF-8. Its policy allows no script but its own, and nothing from elsewhere."""
    shown: list[tuple[str, int, list[Any]]] = [
        (name, i, [one for one in taxonomy.DIMENSIONS if one.is_emotion and one.group == name])
        for i, name in enumerate(taxonomy.GROUPS)
    ]
    variables = {"title": "Scores of a face", "notes": (), "script": source_of("serve/page.js"), "shown": shown}
    return render("serve/page.html", variables)
