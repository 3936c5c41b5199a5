"""WebDataset shards: .tar, .tar.gz and .tgz, read as a stream, one member in memory at a time.

Member names are labels in keys. Nothing is ever extracted to disk, so `../../etc/x` is a name like any other.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..records import Picture, Status
from ..scores import utf8_text
from .folder import UniqueKeys, is_image_name, reason_of, stat_file, too_many_bytes

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_MAX_HEADER = 1 << 20  # bytes of a long name or pax record, which tarfile reads whole
_EXTENDED = (b"x", b"g", b"X", b"L", b"K")  # header types that carry such a record
_GZIP = b"\x1f\x8b"


def is_shard_name(name: str) -> bool:
    """Whether a file name ends in one of SHARD_SUFFIXES, in upper or lower case."""
    return name.lower().endswith(SHARD_SUFFIXES)


class _Header(tarfile.TarInfo):
    """A member header that refuses impossible sizes and tells its archive why reading ended."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENDED and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header claims {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except Exception as e:
            if isinstance(tarfile, _Shard):
                tarfile.ended_by = e
            raise


class _Shard(tarfile.TarFile):
    """An archive whose damage is an error: tarfile takes a damaged header for the end, and members would be missing."""

    tarinfo = _Header
    ended_by: Exception | None = None
    members: list[tarfile.TarInfo]

    def next_member(self) -> tarfile.TarInfo | None:
        """The next header, or None at the end-of-archive mark. Raises TarError for damage or a missing mark."""
        member = self.next()
        self.members = []  # tarfile keeps every header: memory would grow with the shard
        if member is None:
            # The class of the clean end is not among tarfile's documented names.
            if type(self.ended_by).__name__ in ("EmptyHeaderError", "TruncatedHeaderError"):
                raise tarfile.ReadError("ends without the end-of-archive mark: truncated, or not written to its end")
            if type(self.ended_by).__name__ != "EOFHeaderError":
                raise tarfile.ReadError(f"damaged header ({self.ended_by})")
        elif member.size < 0:  # by a pax record
            raise tarfile.ReadError(f"a header claims {member.size:,} bytes")
        return member


def _open(path: str) -> gzip.GzipFile | io.BufferedReader:
    """The archive's bytes, unzipped where they begin as gzip.

    tarfile's own stream mode ("r|*") is not used: after a forged size of 2**63 it reads an ended file for hours.
    """
    stat_file(path)
    with Path(path).open("rb") as file:
        zipped = file.read(2) == _GZIP
    return gzip.open(path) if zipped else Path(path).open("rb")


def read_shard(path: str, key: str, max_bytes: int) -> Iterator[Picture]:
    """The image members of a tar file in order, with keys `key::member`. Folders, links and devices are skipped.

    A member over max_bytes is TOO_LARGE and is not read. A damaged archive gives the members before the damage, and
    then one UNREADABLE picture with the key `key::<damaged after N images>`.
    """
    unique, count, inside = UniqueKeys(), 0, ""
    try:
        stream = _open(path)
    except (OSError, ValueError) as e:
        yield Picture(key, None, Status.UNREADABLE, reason_of(e))
        return
    try:
        with stream, _Shard(fileobj=stream, mode="r") as shard:
            while (member := shard.next_member()) is not None:
                if not (member.isreg() and is_image_name(member.name)):
                    continue
                inside = f", in or after member {utf8_text(member.name)!r}"
                picture = _read_member(shard, member, f"{key}::{utf8_text(member.name)}", max_bytes)
                count += 1
                yield Picture(unique(picture.key), picture.data, picture.status, picture.reason)
    except Exception as e:  # a damaged archive raises what it likes: TarError, zlib.error, RecursionError
        reason = f"tar archive: {reason_of(e)}{inside}"
        yield Picture(unique(f"{key}::<damaged after {count} images>"), None, Status.UNREADABLE, reason)


def _read_member(shard: _Shard, member: tarfile.TarInfo, key: str, max_bytes: int) -> Picture:
    if member.size > max_bytes:
        return Picture(key, None, Status.TOO_LARGE, too_many_bytes(member.size, max_bytes))
    file = shard.extractfile(member)
    data = file.read() if file is not None else b""
    if len(data) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return Picture(key, data)
