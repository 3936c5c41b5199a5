"""Files elsewhere, by fsspec (extra `remote`): https://, s3://, gs://, hf:// and whatever else is installed for it.

A URL of http or https is one picture, tar or table. Elsewhere folders and patterns are searched, too. Credentials come
from where each store's own tools look for them, never from us.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from ..errors import EmonetError, InputError, MissingPackageError
from ..optional import need
from ..text import without_secrets

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
_WEB = ("http", "https")
# fsspec knows these for files of this machine, which have their own door, or for what is no place.
_NOT_REMOTE = ("file", "local")
# Seconds to connect, without a byte, and of one answer in all.
_CONNECT, _SILENT, _WHOLE = 15, 30, 300
_LONGEST = 300
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created", "Last-Modified")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a store says of a file, named as in os.stat_result.

    Args:
        st_size: bytes.
        st_mtime_ns: when it was last modified, in nanoseconds since 1970; 0 where the store does not say.
    """

    st_size: int
    st_mtime_ns: int


def is_remote(name: object) -> bool:
    """Whether a name is a URL, and no file of this machine."""
    found = _SCHEME.match(name) if isinstance(name, str) else None
    return found is not None and found[1].lower() not in _NOT_REMOTE and not os.path.lexists(cast(str, name))


def file_of(url: str) -> str:
    """The part of a URL that ends in the file's name: without the query of a web address."""
    return urlsplit(url).path if url.lower().startswith(("http:", "https:")) else url


def system_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises InputError for a scheme that nobody knows, MissingPackageError without its package.
    """
    scheme = urlsplit(url).scheme.lower()
    fsspec = need("fsspec", f"{scheme}://")
    options: dict[str, Any] = {}
    if scheme in _WEB:
        timeout = need("aiohttp", f"{scheme}://").ClientTimeout(total=_WHOLE, sock_connect=_CONNECT, sock_read=_SILENT)
        options["client_kwargs"] = {"timeout": timeout}
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise InputError(f"{scheme}:// is unknown; expected a path, or such as https://, s3://, gs://, hf://") from None
    except ImportError as error:
        raise MissingPackageError(f"{error}; install it with: pip install 'emonet-fast[remote]'") from None
    # Not fsspec.url_to_fs: it would take `::`, as of http://[::1]/, for a chain of file systems.
    made = kind(**kind._get_kwargs_from_urls(url) | options, use_listings_cache=False)
    return made, kind._strip_protocol(url)


def stat_remote(url: str) -> FileFacts:
    """Size and time of a file. Raises OSError or ValueError where there is none."""
    system, path = system_of(url)
    with plain_errors():
        info = system.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if info.get("size") is None:
        raise ValueError("the server does not say how long it is")
    return FileFacts(int(info["size"]), _time(next((info[name] for name in _TIMES if info.get(name)), None)))


def open_remote(url: str, *, once: bool = False) -> BinaryIO:
    """A file, open for reading; `once` from its beginning to its end, which every web server can.

    Raises OSError or ValueError where there is none.
    """
    system, path = system_of(url)
    with plain_errors():
        # With a size it asks for none, and block_size 0 is a stream: one request.
        streamed = {"block_size": 0, "size": 1} if once and urlsplit(url).scheme.lower() in _WEB else {}
        return cast(BinaryIO, system.open(path, "rb", **streamed))


def read_remote(url: str, most: int) -> bytes:
    """The first `most` bytes of a file, fewer where it is shorter. Raises OSError or ValueError."""
    with plain_errors(), open_remote(url, once=True) as file:
        parts, rest = [], most
        while rest and (part := file.read(rest)):  # a stream gives what has come
            parts.append(part)
            rest -= len(part)
    return b"".join(parts)


def list_remote(url: str) -> list[tuple[str, bool]] | None:
    """The files that a URL names, sorted, each with whether it lies in a named folder; None where there is none.

    A web address is one file, as nobody can list what a web server has. Raises OSError or ValueError.
    """
    system, path = system_of(url)
    if urlsplit(url).scheme.lower() in _WEB:
        return [(url, False)]
    files: dict[str, bool] = {}
    with plain_errors():
        exists = system.exists(path)
        if not exists and not re.search(r"[*?\[]", path):
            return None
        found = {path: system.info(path)} if exists else system.glob(path, detail=True)
        for name, info in found.items():
            below = info.get("type") == "directory"
            files |= dict.fromkeys(system.find(name) if below else [name], below)
    return sorted((system.unstrip_protocol(name), below) for name, below in files.items())


def _time(moment: object) -> int:
    """A moment in nanoseconds since 1970; 0 where it is not known."""
    if isinstance(moment, str):
        try:
            moment = parsedate_to_datetime(moment) if "," in moment else datetime.fromisoformat(moment)
        except ValueError:
            return 0
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return round(moment * 1e9) if isinstance(moment, int | float) else 0


@contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong inside becomes an OSError without secrets: every store has errors of its own."""
    try:
        yield
    except EmonetError:
        raise
    except Exception as error:
        # fsspec says of every fault of a web server that there is no file; what it was stands behind.
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, FileNotFoundError | None):
            raise FileNotFoundError(errno.ENOENT, "no such file there") from None
        fault = error.__cause__ if isinstance(error, FileNotFoundError) else error
        raise OSError(without_secrets(f"{type(fault).__name__}: {fault}".removesuffix(": "))[:_LONGEST]) from None
