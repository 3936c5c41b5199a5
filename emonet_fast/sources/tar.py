"""The members of a tar in their order, and the gaps where bytes are no member. Reading goes on to the file's end.

As in GNU tar, two zero blocks end an archive and a lone one does not. But what follows is read too: archives that were
joined, and members behind a damaged header or a hole of zeros. A gap says what was passed over, so nothing is lost in
silence.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, cast

from .folder import open_file, reason_of, stat_file

_BLOCK = 512
_BUFFER = 1 << 18  # bytes; zeros are passed over by so many at once
_MAX_HEADER = 1 << 18  # bytes of a long name or pax record, which tarfile reads whole
_MAX_KEYS = 100  # of the pax record that stands for all members; pictures need none of it
_EXTENDED = (b"x", b"g", b"X", b"L", b"K")  # header types that carry such a record
_GZIP = b"\x1f\x8b"
# Blocks that writers fill up to: each its last one (tar's -b), mostly 20. See _ends_an_archive.
_RECORDS = (1, 20, 64, 128, 256, 512, 1024, 2048)
# Bytes that may be unzipped again for the targets of hard links, beside twice what was read: each is looked for from
# the archive's start.
_FREE_AGAIN = 1 << 30
_FAR = 1 << 62  # no file is so long; a place that no seek takes


@dataclass(frozen=True, slots=True)
class Gap:
    """A place that is no member.

    Args:
        reason: what may be lost there, for people; "" for the end of an archive that another one follows.
    """

    reason: str


class _ZerosError(tarfile.HeaderError):
    """A block of zeros stands where a header is expected."""


class _EndError(tarfile.HeaderError):
    """The file ends where a header is expected. part: the bytes of a cut block."""

    def __init__(self, part: bytes) -> None:
        super().__init__("ends inside a header")
        self.part = part


class _Header(tarfile.TarInfo):
    """A member header that refuses impossible sizes."""

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        """What tarfile does with a header that it has read, also with one behind a header's record; to be overridden.

        `frombuf` would not do: Python 3.14.8 reads headers by another name of it.
        """
        if self.size < 0 or (self.type in _EXTENDED and self.size > _MAX_HEADER):
            raise tarfile.HeaderError(f"a header claims {self.size:,} bytes")
        return cast(Self, super()._proc_member(archive))  # type: ignore[misc]


class Tar(tarfile.TarFile):
    """An archive that is read once from its beginning, unzipped where it begins as gzip. A context manager.

    tarfile's own stream mode ("r|*") is not used: after a forged size of 2**63 it reads an ended file for hours. Raises
    OSError or ValueError where there is no such file.
    """

    tarinfo = _Header
    fileobj: io.BufferedReader
    members: list[tarfile.TarInfo]
    pax_headers: dict[str, str]

    def __init__(self, path: str) -> None:
        self._path, size = path, stat_file(path).st_size
        with open_file(path) as file:
            self._zipped = file.read(2) == _GZIP
        self._size = None if self._zipped else size
        self._again: io.BufferedReader | None = None
        self._unzipped_again = 0
        self._damage, self._damaged_at = "", 0
        super().__init__(fileobj=self._open(), mode="r")

    def _open(self) -> io.BufferedReader:
        # Closed by __exit__. A GzipFile serves as a raw stream, too.
        raw = open_file(self._path, buffering=0)
        if self._zipped:
            unzipped = gzip.GzipFile(fileobj=raw)
            unzipped.myfileobj = cast(io.FileIO, raw)  # which it closes at its end
            return io.BufferedReader(unzipped, _BUFFER)
        return io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER)

    def __exit__(self, *error: object) -> None:
        self.fileobj.close()
        if self._again is not None:
            self._again.close()

    def next(self) -> None:
        """Nothing: TarFile would read a header at its start, and take a damaged one for the end. See `walk`."""
        return

    def walk(self) -> Iterator[tarfile.TarInfo | Gap]:
        """Headers of members in order, and gaps. Raises what it likes (zlib.error, EOFError) for damaged gzip."""
        begun = zeros = 0  # where the present archive begins, and how many zero blocks lie before this place
        while True:
            at = self.offset
            try:
                if at >= _FAR:
                    raise _EndError(b"")
                member = self._member(at)
            except _ZerosError:
                more = 1 + self._zero_blocks_ahead()
                zeros, self.offset = zeros + more, at + more * _BLOCK
                continue
            except _EndError as end:
                gap = self._gap_at_end(begun, zeros, at, end.part)
                if gap:
                    yield Gap(gap)
                return
            except (tarfile.TarError, ValueError, RecursionError) as error:
                reason = f"{_zero_bytes(zeros)} where a header is expected" if zeros else reason_of(error)
                self.lose(reason, at - zeros * _BLOCK)
                self.offset = max(at + _BLOCK, -(-self.fileobj.tell() // _BLOCK) * _BLOCK)
                continue
            if self._damage:
                yield Gap(f"{self._damage}; {at - self._damaged_at:,} bytes were passed over")
                self._damage = ""
            elif zeros and _ends_an_archive(zeros, at - begun):
                yield Gap("")
                begun = at
            elif zeros:
                yield Gap(f"{_zero_bytes(zeros)} where a member could be")
            zeros = 0
            # Memory would grow with the shard, and each member would get a copy of what stands for all.
            self.members = []
            if len(self.pax_headers) > _MAX_KEYS:
                self.pax_headers = {}
            yield member
            if not self.holds(member):
                self.lose(f"unexpected end of data in {member.name!r}", at)
                self.offset = max(at + _BLOCK, member.offset_data)  # behind the records that belong to its header

    def _member(self, at: int) -> tarfile.TarInfo:
        """The member whose header begins at the byte `at`, with the records that belong to it.

        Raises tarfile.HeaderError, _ZerosError where zeros stand there, and _EndError where the file ends.
        """
        self.fileobj.seek(at)
        block = self.fileobj.read(_BLOCK)
        if len(block) < _BLOCK:
            raise _EndError(block)
        if not any(block):
            raise _ZerosError("zeros")
        if not block[148:156].strip(b" \0").isdigit():  # the checksum; quick, as a whole gap is searched for headers
            raise tarfile.HeaderError("damaged header (bad checksum)")
        try:
            header = self.tarinfo.frombuf(block, self.encoding or "utf-8", self.errors)
        except tarfile.HeaderError as error:
            raise tarfile.HeaderError(f"damaged header ({error})") from None
        header.offset = at
        member = header._proc_member(self)
        if member.size < 0:  # by a pax record
            raise tarfile.HeaderError(f"a header claims {member.size:,} bytes")
        return member

    def lose(self, reason: str, at: int) -> None:
        """Note that from the byte `at` on something is damaged; the next member ends the gap."""
        if not self._damage:
            self._damage, self._damaged_at = reason, at

    def holds(self, member: tarfile.TarInfo) -> bool:
        """Whether the file is as long as the member claims; a zipped one always may be."""
        return self._size is None or member.offset_data + (0 if member.sparse else member.size) <= self._size

    def data(self, member: tarfile.TarInfo, start: int, stop: int) -> bytes:
        """Bytes start to stop of a member that `walk` has just given; fewer where the archive ends."""
        if member.sparse:
            file = self.extractfile(member)
            return file.read(stop)[start:] if file is not None else b""
        self.fileobj.seek(member.offset_data + start)
        return self.fileobj.read(stop - start)

    def data_before(self, offset: int, size: int) -> bytes:
        """Bytes of an earlier member, for a hard link. Raises ReadError where a zipped archive is too large for it."""
        if not self._zipped:
            self.fileobj.seek(offset)
            return self.fileobj.read(size)
        if self._again is None:
            self._again = self._open()
        place = self._again.tell()
        self._unzipped_again += size + offset - (place if place <= offset else 0)
        if self._unzipped_again > _FREE_AGAIN + 2 * self.offset:
            raise tarfile.ReadError("too much must be unzipped again for it; unzip the archive")
        self._again.seek(offset)
        return self._again.read(size)

    def _zero_blocks_ahead(self) -> int:
        ahead = self.fileobj.peek(1)
        return (len(ahead) - len(ahead.lstrip(b"\0"))) // _BLOCK

    def _gap_at_end(self, begun: int, zeros: int, end: int, part: bytes) -> str:
        """What may be missing at the file's end; "" where it ends as an archive does."""
        if self._damage:
            rest = (
                "" if self._size is None else f"; {self._size - self._damaged_at:,} bytes to the end were passed over"
            )
            return self._damage + rest
        if any(part):
            return "ends inside a header"
        if not end and not part:
            return "an empty file"
        if not zeros:
            return "ends without the end-of-archive mark: truncated, or not written to its end"
        return "" if zeros == 1 or _ends_an_archive(zeros, end - begun) else f"{_zero_bytes(zeros)} at its end"


def _ends_an_archive(zeros: int, size: int) -> bool:
    """Whether a run of zero blocks is the mark that ends an archive of `size` bytes: two, up to the end of a record."""
    return zeros >= 2 and any(size // _BLOCK % record == 0 and zeros <= record + 1 for record in _RECORDS)


def _zero_bytes(blocks: int) -> str:
    return "a lone zero block" if blocks == 1 else f"{blocks * _BLOCK:,} zero bytes"
