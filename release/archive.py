"""A source archive with the same bytes from every build of the same files."""

import gzip
import io
import tarfile
from pathlib import Path


def normalise(archive: Path, time: int) -> None:
    """Write a .tar.gz again, without what differs from build to build: order, times, owners and modes.

    setuptools keeps SOURCE_DATE_EPOCH in wheels, but not in source archives.

    Args:
        archive: is replaced.
        time: of every file, in seconds since 1970.
    """
    plain = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            fresh = tarfile.TarInfo(member.name)
            fresh.type, fresh.size, fresh.mtime = member.type, member.size, time
            fresh.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(fresh, old.extractfile(member) if member.isfile() else None)
    archive.write_bytes(gzip.compress(plain.getvalue(), mtime=time))
