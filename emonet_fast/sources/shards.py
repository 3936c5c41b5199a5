"""Pictures of WebDataset shards: .tar, .tar.gz and .tgz, read as a stream, one member in memory at a time.

Member names are labels in keys. Nothing is ever extracted to disk, so `../../etc/x` is a name like any other.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

from ..records import Picture, Status
from ..text import utf8_text
from .folder import UniqueKeys, is_image_name, reason_of, too_many_bytes
from .remote import file_of
from .skipped import END, HEAD, LINK, NO_MEMBERS, SPECIAL, is_finders, kind_of, starts_as_picture, tells_nothing
from .tar import Gap, Tar

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
# Where each regular member's bytes lie, by its name: (offset, size), for hard links to it.
_Places: TypeAlias = dict[str, tuple[int, int]]


def is_shard_name(name: str) -> bool:
    """Whether a file name ends in one of SHARD_SUFFIXES, in upper or lower case."""
    return file_of(name).lower().endswith(SHARD_SUFFIXES)


def read_shard(path: str, key: str, max_bytes: int, skipped: Counter[str] | None = None) -> Iterator[Picture]:
    """The image members of a tar file in order, with keys `key::member`.

    A hard link is a member with its target's bytes. Other members are counted in `skipped`, by kind; folders are not. A
    member over max_bytes is TOO_LARGE and is not read. Where the archive is damaged, or bytes are passed over, one
    UNREADABLE picture with the key `key::<damaged after N images>` says so.
    """
    unique, count, inside = UniqueKeys(), 0, ""
    skipped = Counter() if skipped is None else skipped
    places: _Places = {}
    members = 0
    try:
        tar = Tar(path)
    except (OSError, ValueError) as e:
        yield Picture(key, None, Status.UNREADABLE, reason_of(e))
        return
    try:
        with tar:
            for found in tar.walk():
                if isinstance(found, Gap):
                    if found.reason:
                        yield _damaged(unique, key, count, found.reason + inside)
                    else:  # two zeroed blocks look the same: never in silence
                        skipped[END] += 1
                    continue
                members += 1
                name = f"{key}::{utf8_text(found.name)}"
                try:
                    picture = _read(tar, found, name, max_bytes, places, skipped)
                except tarfile.ReadError as e:
                    reason = f"a hard link to {utf8_text(found.linkname)!r}: {e}"
                    picture = Picture(name, None, Status.UNREADABLE, reason)
                if picture is not None:
                    inside = f", in or after member {utf8_text(found.name)!r}"
                    count += 1
                    yield Picture(unique(picture.key), picture.data, picture.status, picture.reason)
    except Exception as e:  # damaged gzip raises what it likes: zlib.error, EOFError, BadGzipFile
        yield _damaged(unique, key, count, reason_of(e) + inside)
        return
    if not members:
        skipped[NO_MEMBERS] += 1


def _damaged(unique: UniqueKeys, key: str, count: int, reason: str) -> Picture:
    key = unique(f"{key}::<damaged after {count} images>")
    return Picture(key, None, Status.UNREADABLE, f"tar archive: {utf8_text(reason)}")


def _read(
    tar: Tar, member: tarfile.TarInfo, key: str, max_bytes: int, places: _Places, skipped: Counter[str]
) -> Picture | None:
    """The picture of a member, or None where it is none, or cut short, which the next gap says.

    Raises ReadError where a hard link's target cannot be read.
    """
    name = member.name
    link = member.islnk()
    if not (member.isreg() or link):
        if not member.isdir():
            skipped[LINK if member.issym() else SPECIAL] += 1
        return None
    place = places.get(member.linkname) if link else (member.offset_data, member.size)
    if place is not None and not member.sparse:
        places[name] = place
    named, head = is_image_name(name) and not is_finders(name), b""
    if not named and place is not None and tells_nothing(name):
        head = _bytes(tar, member, place, 0, min(HEAD, place[1]))
        named = starts_as_picture(head)
    if not named:
        skipped[kind_of(name)] += 1
        return None
    if place is None:
        raise tarfile.ReadError("there is no such member before it")
    if place[1] > max_bytes:
        return Picture(key, None, Status.TOO_LARGE, too_many_bytes(place[1], max_bytes))
    if not link and not tar.holds(member):
        return None
    data = head + _bytes(tar, member, place, len(head), place[1])
    if len(data) != place[1]:
        tar.lose(f"unexpected end of data in {name!r}", member.offset)
        return None
    return Picture(key, data)


def _bytes(tar: Tar, member: tarfile.TarInfo, place: tuple[int, int], start: int, stop: int) -> bytes:
    """Bytes start to stop of a member, or of a hard link's target."""
    if member.islnk():
        return tar.data_before(place[0] + start, stop - start)
    return tar.data(member, start, stop)
