"""Texts for people: those from outside (file names, reasons) made safe to show, widths in terminal columns, counts."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# Joiners change how neighbours are drawn and nothing else: emoji and several scripts need them.
_JOINERS = "\u200c\u200d"
_HARMFUL = frozenset({"Cc", "Cf", "Zl", "Zp"})
_SURROGATE = re.compile("[\ud800-\udfff]")
# Characters of a message at most: what it quotes may be a whole file.
_LONGEST = 1000

# A URL within a message; pathlib leaves one stroke of its two.
_URL = re.compile(r"(?<=[a-z][a-z0-9+.-]:)(//?)([^\s'\"]+)", re.I)
# User and password; the second form has characters in its password that end the host elsewhere.
_USER = re.compile(r"(?<=://)(?:[^/?#]*@|[^@/?#\[]*:(?!\d*(?:[/?#]|$)).*@)", re.DOTALL)
_HIDDEN = "pass|pwd|token|secret|key|sig|auth|cred|session|sid|jwt|code|user|login|account|streamid|policy|hmac|ticket"
_VALUE = re.compile(rf"(?<![\w.-])([\w.-]*(?:{_HIDDEN})[\w.-]*=)[^&;#/~\s]+", re.I)
_PART = re.compile(rf"(?<=/)((?:{_HIDDEN})\w*/)[^/?#]+", re.I)
_OPAQUE = re.compile(r"(?<=[?&;=#])[\w%+.~-]{24,}=*(?=$|[&;#\s])")


def utf8_text(text: str) -> str:
    """`text` as every file format can hold it: bytes of a file name that are not UTF-8 become `\\xNN`.

    Python keeps such bytes as lone surrogates. Neither Parquet nor readers of JSON accept those.
    """
    return _SURROGATE.sub(_visible_surrogate, text)


def _visible_surrogate(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """Returns `text` as one line for a terminal.

    Control characters are as in `visible`, URLs as in `without_secrets`, and a long middle is left out.
    """
    text = _URL.sub(lambda url: url[1] + without_secrets(f"://{url[2]}").removeprefix("://"), text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    return visible(text.strip())


def without_secrets(text: str) -> str:
    """A name or message as it may be shown and written: without the user names, passwords and tokens of URLs in it.

    The user and password go, values become *** where they are called like a secret (`?token=`, `/token/`) or are long
    and say nothing to a reader. The names of local files stay as they are.
    """
    before, mark, url = text.partition("://")
    if not mark:
        return text
    url = _PART.sub(r"\1***", _VALUE.sub(r"\1***", _USER.sub("", mark + url)))
    return before + _OPAQUE.sub("***", url)


def visible(text: str) -> str:
    """Returns `text` with every control character as its escape: `\\x1b`, `\\u202e`, `\\n`.

    These lose their force: terminal escapes, line breaks, bidirectional overrides and isolates, zero-width and
    other format characters but the two joiners, and the lone surrogates that stand for bytes of a file name
    that are not UTF-8. A backslash stays one backslash: the text is for eyes, not for reading back.
    """
    if text.isprintable():
        return text
    harmful = {c for c in text if unicodedata.category(c) in _HARMFUL and c not in _JOINERS}
    return utf8_text(text.translate({ord(c): c.encode("unicode_escape").decode("ascii") for c in harmful}))


def counted(number: int, noun: str, several: str = "") -> str:
    """Returns "1 row", "0 rows", "2 rows". several: the words for others than 1, as of "row has": "rows have"."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names and how many more."""
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def listed_have(names: Iterable[str]) -> str:
    """Returns "awe has", "awe, anger have"."""
    known = list(names)
    return f"{listed(known)} {'has' if len(known) == 1 else 'have'}"


def value_text(value: float, kind: str) -> str:
    """A value of `Scores.top` for people, everywhere the same: softmax in percent, scores with two digits.

    kind: `Scores.value_kind`. A score, from which the neutral mean was taken, has a sign, and so has z, which has one
    digit; a raw score has none.
    """
    if kind != "softmax":
        return format(value, {"score": "+z.2f", "z": "+z.1f"}.get(kind, "z.2f"))
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"


def columns(text: str) -> int:
    """Returns how many terminal columns `text` takes: 2 for wide East Asian signs and emoji, 0 for combining ones."""
    return sum(_char_columns(c) for c in text)


def _char_columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me") or char in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten_end(text: str, width: int) -> str:
    """Returns `text` in at most `width` columns, with "…" for a lost end."""
    if columns(text) <= width:
        return text
    return _head(text, width - 1).rstrip() + "…" if width > 0 else ""


def shorten_middle(text: str, width: int) -> str:
    """Returns `text` in at most `width` columns, with "…" for a lost middle.

    A path's folder and its file name both tell something. The end keeps two thirds, as names differ there.
    """
    if columns(text) <= width:
        return text
    if width < 1:
        return ""
    tail = _head(text[::-1], (width - 1) * 2 // 3)[::-1]
    while tail and _char_columns(tail[0]) == 0:  # a combining sign must not cling to the ellipsis
        tail = tail[1:]
    return _head(text, width - 1 - columns(tail)) + "…" + tail


def pad(text: str, width: int) -> str:
    """Returns `text` followed by spaces, `width` columns in all."""
    return text + " " * (width - columns(text))


def _head(text: str, width: int) -> str:
    used = 0
    for i, char in enumerate(text):
        used += _char_columns(char)
        if used > width:
            return text[:i]
    return text


def duration(seconds: float) -> str:
    """Seconds as a clock shows them: 12:34 or 1:23:45."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted_parts(names: Sequence[str]) -> str:
    """Parts of a tower, such as "0.fc2": their names, or of more than 8 how many blocks have each of them."""
    if len(names) <= 8:
        return ", ".join(names) or "none"
    blocks = Counter(name.partition(".")[2] for name in names)
    return ", ".join(f"{part} of {count} block{'s' * (count > 1)}" for part, count in blocks.items())
