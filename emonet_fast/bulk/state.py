"""Whether an input is still the file that was planned: by its size and its time, and of tables and tars by a hash too.

A table's footer says where each column's pages lie and what is in them. A tar has no such list, so its beginning
counts.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ..sources.folder import open_file, stat_file
from ..sources.shards import is_shard_name
from ..sources.table import is_table_name

Kind = Literal["file", "shard", "table"]
_BEGINNING = 1 << 16


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file is known by.

    Args:
        size: bytes.
        mtime_ns: when it was last modified, in nanoseconds since 1970; 0 where that is not known.
        digest: SHA-256 of a table's footer, or of the first 64 kB of a tar; "" where it was not taken.
    """

    size: int
    mtime_ns: int = 0
    digest: str = ""


def kind_of_state(path: str) -> Kind:
    """What a file's state is taken of, by its name."""
    return "shard" if is_shard_name(path) else "table" if is_table_name(path) else "file"


def state_of(path: str, kind: Kind) -> FileState:
    """The state of a file. Raises OSError where there is none, or it is no regular file."""
    info = stat_file(path)
    digest = ""
    if kind != "file":
        with open_file(path) as file:
            if kind == "shard":
                digest = hashlib.sha256(file.read(_BEGINNING)).hexdigest()
            else:
                file.seek(max(0, info.st_size - 8))
                footer = int.from_bytes(file.read(4), "little")  # its length stands before the last four bytes
                file.seek(max(0, info.st_size - 8 - footer))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileState(info.st_size, info.st_mtime_ns, digest)


def change(planned: FileState, path: str, kind: Kind) -> str:
    """What has changed since the plan was made, in words; "" where nothing has. Raises as `state_of` does."""
    known = planned.mtime_ns != 0  # an older plan knows the sizes of tables and tars alone
    now = state_of(path, kind) if known else FileState(stat_file(path).st_size)
    what = ""
    if now.size != planned.size and (known or planned.size):
        what = f"{now.size} bytes, not {planned.size}"
    elif now.mtime_ns != planned.mtime_ns and known:
        what = f"modified {_moment(now)}, not {_moment(planned)}"
    elif now.digest != planned.digest and known:
        what = "another beginning or footer"
    return f"the file has changed since the plan was made: {what}" if what else ""


def _moment(state: FileState) -> str:
    return datetime.fromtimestamp(state.mtime_ns / 1e9, UTC).isoformat(timespec="milliseconds")
