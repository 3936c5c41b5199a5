"""What an input holds beside its rows: passed over, counted by kind, and said at the end of a run."""

import re
from collections.abc import Mapping
from pathlib import PurePath

# How many first bytes decide about a file whose name tells nothing.
HEAD = 64
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,9}")
_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|II\+\0|MM\0\+"
    rb"|....ftyp(avi[fs]|hei[cfmsx]|hev[cmsx]|mif1|msf1)|\xff\x0a|\0\0\0\x0cJXL "
    # Two letters make no picture: the header's size and the pixels' proportions must follow.
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|P[1-6]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s",
    re.DOTALL,
)
NO_COLUMN, NO_ROWS = "table without a picture column", "table without rows"
NO_FILES, NO_MEMBERS = "folder without files", "tar without members"
LINK, SPECIAL, END = "symbolic link", "special member", "end of an archive within a tar"
_NOUNS = {NO_COLUMN: "table", NO_ROWS: "table", NO_FILES: "folder", NO_MEMBERS: "tar"}
_NOUNS |= {LINK: "link", SPECIAL: "member", END: "end"}
_SEVERAL = {kind: kind.replace(noun, f"{noun}s", 1) for kind, noun in _NOUNS.items()}  # suffixes have no plural
_FINDERS = "of Finder's (._*, __MACOSX)"
_SHOWN = 8


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case; "" where there is none, or something that is none, as `.jpg?w=64`."""
    suffix = PurePath(name).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def kind_of(name: str) -> str:
    """The kind that a file is counted as when it is passed over: its suffix, mostly."""
    return _FINDERS if is_finders(name) else suffix_of(name) or "without suffix"


def is_finders(name: str) -> bool:
    """Whether a path is that of macOS' own notes on a file: `._a.jpg`, and all below a folder `__MACOSX`."""
    if "._" not in name and "__MACOSX" not in name:  # nearly always, and a listing may have millions
        return False
    path = PurePath(name)
    return path.name.startswith("._") or "__MACOSX" in path.parts


def tells_nothing(name: str) -> bool:
    """Whether the first bytes must say if a file is a picture, as its name does not."""
    return is_finders(name) or not suffix_of(name)


def starts_as_picture(head: bytes) -> bool:
    """Whether a file that begins with these bytes, HEAD of them, is a picture."""
    return _PICTURE.match(head) is not None


def skipped_text(skipped: Mapping[str, int]) -> str:
    """Such as "skipped: 3 .heic, 1 .mp4", the most frequent kinds first; "" where nothing was skipped."""
    kinds = sorted(((n, kind) for kind, n in skipped.items() if n), key=lambda one: (-one[0], one[1]))
    texts = [f"{n:,} {_SEVERAL.get(kind, kind) if n > 1 else kind}" for n, kind in kinds[:_SHOWN]]
    if len(kinds) > _SHOWN:
        texts.append(f"{sum(n for n, _ in kinds[_SHOWN:]):,} others")
    return "skipped: " + ", ".join(texts) if texts else ""
