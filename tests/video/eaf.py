"""A strict reader of ELAN's files: what breaks a rule of EAFv3.0.xsd, as far as we use it, raises.

The schema itself is in the source archive of pympi-ling (`test/EAFv3.0.xsd`); EMONET_FAST_EAF_XSD names a copy, by
which test_episode_files.py checks the same files.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from xml.etree import ElementTree

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
# Of each element: its children in their order with how many there may be, its attributes, and those that it may lack.
_GRAMMAR = {
    "ANNOTATION_DOCUMENT": (
        "HEADER TIME_ORDER TIER* LINGUISTIC_TYPE* LANGUAGE* CONSTRAINT* CONTROLLED_VOCABULARY*",
        f"DATE AUTHOR VERSION FORMAT? {_XSI}?",
    ),
    "HEADER": ("MEDIA_DESCRIPTOR* PROPERTY*", "MEDIA_FILE? TIME_UNITS?"),
    "MEDIA_DESCRIPTOR": ("", "MEDIA_URL MIME_TYPE RELATIVE_MEDIA_URL?"),
    "PROPERTY": ("text", "NAME?"),
    "TIME_ORDER": ("TIME_SLOT*", ""),
    "TIME_SLOT": ("", "TIME_SLOT_ID TIME_VALUE?"),
    "TIER": ("ANNOTATION*", "TIER_ID LINGUISTIC_TYPE_REF PARTICIPANT? ANNOTATOR? PARENT_REF?"),
    "ANNOTATION": ("ALIGNABLE_ANNOTATION|REF_ANNOTATION", ""),
    "ALIGNABLE_ANNOTATION": ("ANNOTATION_VALUE", "ANNOTATION_ID TIME_SLOT_REF1 TIME_SLOT_REF2 CVE_REF?"),
    "REF_ANNOTATION": ("ANNOTATION_VALUE", "ANNOTATION_ID ANNOTATION_REF PREVIOUS_ANNOTATION?"),
    "ANNOTATION_VALUE": ("text", ""),
    "LINGUISTIC_TYPE": (
        "", "LINGUISTIC_TYPE_ID TIME_ALIGNABLE? CONSTRAINTS? GRAPHIC_REFERENCES? CONTROLLED_VOCABULARY_REF?",
    ),
    "LANGUAGE": ("", "LANG_ID LANG_DEF? LANG_LABEL?"),
    "CONSTRAINT": ("", "STEREOTYPE DESCRIPTION?"),
    "CONTROLLED_VOCABULARY": ("DESCRIPTION* CV_ENTRY_ML*", "CV_ID"),
    "DESCRIPTION": ("text", "LANG_REF"),
    "CV_ENTRY_ML": ("CVE_VALUE CVE_VALUE*", "CVE_ID"),
    "CVE_VALUE": ("text", "LANG_REF DESCRIPTION?"),
}  # fmt: skip
# xsd:ID is one name space for the whole file, of names without colons.
_IDS = ("TIME_SLOT_ID", "ANNOTATION_ID", "LANG_ID", "STEREOTYPE")
_REFS = {
    "TIME_SLOT_REF1": "TIME_SLOT_ID", "TIME_SLOT_REF2": "TIME_SLOT_ID", "ANNOTATION_REF": "ANNOTATION_ID",
    "LANG_REF": "LANG_ID", "CONSTRAINTS": "STEREOTYPE", "PARENT_REF": "TIER_ID", "CVE_REF": "CVE_ID",
    "LINGUISTIC_TYPE_REF": "LINGUISTIC_TYPE_ID", "CONTROLLED_VOCABULARY_REF": "CV_ID",
}  # fmt: skip


@dataclass(frozen=True)
class Tier:
    """(start, end, value) of each annotation in milliseconds; a child's are those of its parent."""

    participant: str
    parent: str
    annotations: list[tuple[int, int, str]]


@dataclass(frozen=True)
class Document:
    media: dict[str, str]
    properties: dict[str, str]
    vocabulary: list[str]
    tiers: dict[str, Tier]


def read(data: bytes) -> Document:
    root = ElementTree.fromstring(data)  # noqa: S314 - our own file
    assert root.tag == "ANNOTATION_DOCUMENT"
    _hold(root)
    assert datetime.fromisoformat(root.attrib["DATE"]).tzinfo is not None
    assert root.attrib["FORMAT"] == "3.0"
    _keys(root)
    slots = {one.attrib["TIME_SLOT_ID"]: int(one.attrib["TIME_VALUE"]) for one in root.iter("TIME_SLOT")}
    assert all(0 <= ticks < 2**32 for ticks in slots.values())
    assert list(slots.values()) == sorted(slots.values()), "ELAN keeps its time slots in the order of time"
    spans = {}
    tiers = {}
    for tier in root.iter("TIER"):
        found = []
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            spans[one.attrib["ANNOTATION_ID"]] = (
                slots[one.attrib["TIME_SLOT_REF1"]],
                slots[one.attrib["TIME_SLOT_REF2"]],
            )
        for one in (*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")):
            span = spans[one.attrib.get("ANNOTATION_REF", one.attrib["ANNOTATION_ID"])]
            found.append((*span, one.findtext("ANNOTATION_VALUE", "")))
        assert all(start < end for start, end, _ in found)
        assert all(a[1] <= b[0] for a, b in pairwise(found)), "annotations of a tier overlap"
        tiers[tier.attrib["TIER_ID"]] = Tier(tier.attrib["PARTICIPANT"], tier.attrib.get("PARENT_REF", ""), found)
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    return Document(
        {} if media is None else dict(media.attrib),
        {one.attrib["NAME"]: one.text or "" for one in root.iter("PROPERTY")},
        [one.text or "" for one in root.iter("CVE_VALUE")],
        tiers,
    )


def _hold(element: ElementTree.Element) -> None:
    children, attributes = _GRAMMAR[element.tag]
    words = attributes.split()
    assert {word for word in words if not word.endswith("?")} <= set(element.attrib), element.tag
    assert set(element.attrib) <= {word.removesuffix("?") for word in words}, element.tag
    if children == "text":
        assert not len(element)
        return
    assert not (element.text or "").strip(), f"{element.tag} has text"
    pattern = "".join(f"(?:(?:{part.rstrip('*')}) ){'*' if part.endswith('*') else ''}" for part in children.split())
    assert re.fullmatch(pattern, "".join(f"{child.tag} " for child in element)), element.tag
    for child in element:
        _hold(child)


def _keys(root: ElementTree.Element) -> None:
    ids = [value for one in root.iter() for name, value in one.attrib.items() if name in _IDS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", one) for one in ids)
    known = {name: [one.attrib[name] for one in root.iter() if name in one.attrib] for name in set(_REFS.values())}
    for names in known.values():
        assert len(set(names)) == len(names)
    for one in root.iter():
        for name, value in one.attrib.items():
            assert name not in _REFS or value in known[_REFS[name]], f"{name}={value} leads nowhere"
