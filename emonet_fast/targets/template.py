"""A project for Label Studio: 40 emotions in their seven groups, each with a slider of its scale, and its tasks.

Tags: labelstud.io/tags. A Number with `required` and `defaultValue` puts the default into the answer where nobody
moved the slider: an emotion that nobody sees counts as 0, as in EmoNet-Face HQ.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .. import taxonomy

_IMAGE = "image"
_COLUMNS = "display: flex; gap: 1.5rem; align-items: flex-start"


def labelling_config() -> str:
    """The labelling configuration, as XML. Each control is named as the column of its emotion."""
    root = Element("View", style=_COLUMNS)
    left = SubElement(root, "View", style="flex: 1; position: sticky; top: 0")
    SubElement(left, "Image", name=_IMAGE, value="$image", zoom="true")
    right = SubElement(root, "View", style="flex: 1")
    SubElement(right, "Header", value="How strongly does the face show it? 0: not at all, 7: extremely", size="4")
    for group in taxonomy.GROUPS:
        SubElement(right, "Header", value=group, size="3", underline="true")
        for emotion in (d for d in taxonomy.EMOTIONS if d.group == group):
            low, high = (f"{end:g}" for end in emotion.scale)
            SubElement(right, "Header", value=emotion.name, size="6")
            slider = {"min": low, "max": high, "step": "1", "defaultValue": low, "slider": "true", "required": "true"}
            SubElement(right, "Number", {"name": emotion.slug, "toName": _IMAGE} | slider)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def tasks(keys: Iterable[str], root: str) -> str:
    """Tasks for Label Studio's local storage, as JSON: pictures by their path below its document root.

    keys: of the pictures, which come back as the labels' keys. root: the folder that keys are relative to, below the
    document root.
    """
    before = root.strip("/") + "/" if root.strip("/") else ""
    rows = [{"data": {_IMAGE: "/data/local-files/?d=" + quote(before + key), "key": key}} for key in keys]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
