"""ELAN's annotation files (.eaf): a tier of emotions for each face, for people who code behaviour by hand.

The format is EAF 3.0, http://www.mpi.nl/tools/elan/EAFv3.0.xsd. Tiers are called by ELAN's habit, `type@participant`:
`emotion@Face 1` has the episodes, its child `softmax@Face 1` (or raw, z) the largest value within each.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape, quoteattr

from .. import taxonomy
from .._version import __version__
from ..sources.video.names import kind_of, path_of
from ..text import visible
from .episodes import Episode, Who, name_of

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LANGUAGE = '<LANGUAGE LANG_ID="eng" LANG_DEF="http://cdb.iso.org/lg/CDB-00138502-001" LANG_LABEL="English (eng)"/>\n'
_CONSTRAINT = '<CONSTRAINT STEREOTYPE="Symbolic_Association" DESCRIPTION="1-1 association with a parent annotation"/>\n'


def write_eaf(
    file: BinaryIO, episodes: list[Episode], source: str, kind: str, metadata: Mapping[str, str], *, folder: Path
) -> None:
    """Write an ELAN file; see EpisodeWriter. folder: of the file, from where the video's relative place is told."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    author = f"emonet-fast {__version__}"
    file.write(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ANNOTATION_DOCUMENT AUTHOR={_value(author)} DATE="{now}" FORMAT="3.0" VERSION="3.0" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:noNamespaceSchemaLocation="{_SCHEMA}">\n'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n{_media(source, folder)}'.encode()
    )
    facts = {f"emonet-fast.{name}": fact for name, fact in metadata.items()}
    facts["lastUsedAnnotationId"] = str(2 * len(episodes))
    for name, fact in facts.items():
        file.write(f"<PROPERTY NAME={_value(name)}>{_text(fact)}</PROPERTY>\n".encode())
    file.write(b"</HEADER>\n<TIME_ORDER>\n")
    # Slots in the order of time, two for each episode, so that one can be moved without its neighbours.
    times = sorted((t, i, end) for i, one in enumerate(episodes) for end, t in enumerate((one.start, one.end)))
    slots = [[0, 0] for _ in episodes]
    for number, (ticks, i, end) in enumerate(times, start=1):
        slots[i][end] = number
        file.write(f'<TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{ticks}"/>\n'.encode())
    file.write(b"</TIME_ORDER>\n")
    for face in sorted({one.face for one in episodes}):
        _tiers(file, face, kind, [(i, one, slots[i]) for i, one in enumerate(episodes) if one.face == face])
    file.write(
        (
            '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="emotion" TIME_ALIGNABLE="true" GRAPHIC_REFERENCES="false" '
            'CONTROLLED_VOCABULARY_REF="EmoNet-Face"/>\n'
            f'<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID={_value(kind)} TIME_ALIGNABLE="false" GRAPHIC_REFERENCES="false" '
            'CONSTRAINTS="Symbolic_Association"/>\n'
            f"{_LANGUAGE}{_CONSTRAINT}"
            '<CONTROLLED_VOCABULARY CV_ID="EmoNet-Face">\n'
            '<DESCRIPTION LANG_REF="eng">The 40 emotions of EmoNet-Face, and their groups</DESCRIPTION>\n'
        ).encode()
    )
    for emotion in taxonomy.EMOTIONS:
        value = f'<CVE_VALUE LANG_REF="eng" DESCRIPTION={_value(emotion.group)}>{_text(emotion.name)}</CVE_VALUE>'
        file.write(f'<CV_ENTRY_ML CVE_ID="{emotion.slug}">{value}</CV_ENTRY_ML>\n'.encode())
    file.write(b"</CONTROLLED_VOCABULARY>\n</ANNOTATION_DOCUMENT>\n")


def _tiers(file: BinaryIO, face: Who, kind: str, episodes: list[tuple[int, Episode, list[int]]]) -> None:
    """The two tiers of one face. episodes: each with its number and the numbers of its time slots."""
    who = name_of(face)
    common = f"PARTICIPANT={_value(who)} ANNOTATOR=" + _value("emonet-fast")
    name = _value(f"emotion@{who}")
    file.write(f'<TIER TIER_ID={name} {common} LINGUISTIC_TYPE_REF="emotion">\n'.encode())
    for i, one, (start, end) in episodes:
        attributes = f'ANNOTATION_ID="a{2 * i + 1}" CVE_REF="{one.emotion}"'
        slots = f'TIME_SLOT_REF1="ts{start}" TIME_SLOT_REF2="ts{end}"'
        value = _text(taxonomy.find(one.emotion).name)
        file.write(_annotation("ALIGNABLE_ANNOTATION", f"{attributes} {slots}", value))
    child = f"TIER_ID={_value(f'{kind}@{who}')} {common} PARENT_REF={name}"
    file.write(f"</TIER>\n<TIER {child} LINGUISTIC_TYPE_REF={_value(kind)}>\n".encode())
    for i, one, _ in episodes:
        attributes = f'ANNOTATION_ID="a{2 * i + 2}" ANNOTATION_REF="a{2 * i + 1}"'
        file.write(_annotation("REF_ANNOTATION", attributes, f"{one.value:.4f}"))
    file.write(b"</TIER>\n")


def _annotation(element: str, attributes: str, value: str) -> bytes:
    inner = f"<{element} {attributes}><ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></{element}>"
    return f"<ANNOTATION>{inner}</ANNOTATION>\n".encode()


def _media(source: str, folder: Path) -> str:
    """Where ELAN finds the video: as a local file by its place, and by the way there from the file's folder."""
    kind = kind_of(source)
    if not source or kind in ("stdin", "camera") or (kind == "file" and not path_of(source).is_file()):
        return ""
    relative = ""
    if kind == "file":
        path = Path(os.path.realpath(path_of(source)))
        url = path.as_uri()
        way = os.path.relpath(path, os.path.realpath(folder))
        relative = f"RELATIVE_MEDIA_URL={_value(quote(way if way.startswith('..') else f'./{way}'))} "
    else:
        url = quote(source, safe="/:?&=%#@+,;~!$'()*[]")
    mime = guess_type(urlsplit(url).path)[0] or "video/*"
    return f"<MEDIA_DESCRIPTOR MEDIA_URL={_value(url)} {relative}MIME_TYPE={_value(mime)}/>\n"


def _text(text: str) -> str:
    return escape(_clean(text))


def _value(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """Without signs that no XML may hold: they become their escapes."""
    return _NO_XML.sub(lambda found: visible(found.group()), text)
