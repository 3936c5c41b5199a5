"""A strict reader of WebVTT (https://www.w3.org/TR/webvtt1/, section 4): what breaks a rule of it raises."""

import html
import re
from dataclasses import dataclass

_TIME = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMES = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}")
_TAG = re.compile(r"<(v)(?:\.[^\s<>&.]+)*[ \t]([^<>&\n]+)>")
_ESCAPES = re.compile(r"&(?:amp|lt|gt|lrm|rlm|nbsp);")


@dataclass(frozen=True)
class Cue:
    start: int  # milliseconds
    end: int
    voice: str
    text: str


def read(data: bytes) -> tuple[list[Cue], list[str]]:
    """The cues and the comments of a file."""
    text = data.decode("utf-8")  # which raises for other bytes
    assert "\0" not in text
    assert "\r" not in text
    signature, _, body = text.partition("\n")
    assert re.fullmatch(r"WEBVTT(?:[ \t][^\n]*)?", signature)
    assert "-->" not in signature
    assert body.startswith("\n"), "an empty line follows the signature"
    cues: list[Cue] = []
    notes: list[str] = []
    for block in re.split(r"\n{2,}", body.strip("\n")) if body.strip("\n") else []:
        if re.match(r"NOTE(?=[ \t\n]|$)", block):
            assert "-->" not in block
            notes.append(block[5:])
            continue
        lines = block.split("\n")
        if "-->" not in lines[0]:
            assert lines.pop(0)  # an identifier
        times = _TIMES.fullmatch(lines[0])
        assert times, lines[0]
        start, end = _ticks(times.groups()[:4]), _ticks(times.groups()[4:])
        assert end > start, f"{lines[0]}: the end must be after the start"
        assert not cues or start >= cues[-1].start, f"{lines[0]} starts before the cue before it"
        cues.append(Cue(start, end, *_payload("\n".join(lines[1:]))))
    return cues, notes


def _ticks(groups: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, ticks = (int(group or 0) for group in groups)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ticks


def _payload(text: str) -> tuple[str, str]:
    assert text, "a cue without text"
    assert "-->" not in text
    tag = _TAG.match(text)
    bare = text[tag.end() :] if tag else text
    assert "<" not in bare
    assert ">" not in bare
    assert "&" not in _ESCAPES.sub("", bare)
    return (tag[2] if tag else ""), html.unescape(bare)
