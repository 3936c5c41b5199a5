"""MP4s that FFmpeg could not read as they come, from a web server or a pipe: read whole into a temporary file first.

FFmpeg needs an MP4's index (`moov`) first. Where it comes last, and nothing can jump there, as in a pipe and at some
servers, all is kept in a temporary file without a name.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from itertools import chain
from urllib import request
from urllib.parse import quote, unquote, urlsplit

from ...errors import InputError
from ...options import MAX_DOWNLOAD
from ...text import without_secrets
from .structure import WITHOUT_INDEX, At, media_before_index

_CHUNK = 1 << 18
_UNKNOWN = 1 << 62  # the size of what a server sends without saying how much it is
# Without a handler of other schemes, redirections lead to http and https alone.
_HANDLERS = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPRedirectHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPErrorProcessor,
)
_PLAYLISTS = (".m3u8", ".m3u", ".mpd")


@dataclass(frozen=True, slots=True)
class Download:
    """How files are kept that must be read whole first.

    Args:
        limit: bytes of a file, at most.
        told: called with the bytes that came and those of the whole file, None where that is unknown until the last
            call. An exception of it ends the download. None tells nobody.
    """

    limit: int = MAX_DOWNLOAD
    told: Callable[[int, int | None], None] | None = None


def ask(url: str, download: Download, timeout: float) -> tuple[int | None, bool]:
    """Ask for a file at an http or https URL, and download it where FFmpeg could not read it.

    timeout: seconds that the server may stay silent. Returns the descriptor of the downloaded file, which is the
    caller's to close, None where FFmpeg can read from the server, or shall say what is wrong there; and whether the
    server ends the file by hanging up. Raises InputError where it is silent, or where the file is above the limit, does
    not come whole, cannot be kept or has no index; what `download.told` raises.
    """
    if urlsplit(url).path.lower().endswith(_PLAYLISTS):
        return None, False
    begin = bytearray()
    try:
        response = _opened(url, timeout)
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else _UNKNOWN
        parts = response.status == 206 or response.headers.get("Accept-Ranges") == "bytes"
        media_end = 0 if parts else media_before_index(_reader(response.read, begin), size)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            raise _refused(url, f"nothing came for {timeout:g} seconds") from None
        return None, False
    with response:
        if not media_end:
            return None, size == _UNKNOWN and not response.chunked
        if media_end >= size:
            raise _refused(url, WITHOUT_INDEX)
        chunks = chain([bytes(begin)], _chunks(url, response, timeout))
        return _kept(url, chunks, None if size == _UNKNOWN else size, media_end, download), False


def from_pipe(read: Callable[[int], bytes], name: str, download: Download) -> tuple[int | None, bytes]:
    """Look at what `read` gives, and keep it where FFmpeg could not read it as it comes.

    Returns the descriptor of the file, as `ask` does; where that is None, the first bytes, which were read already.
    Raises InputError as `ask`; what `read` raises.
    """
    begin = bytearray()
    media_end = media_before_index(_reader(read, begin), _UNKNOWN)
    if not media_end:
        return None, bytes(begin)
    if media_end >= _UNKNOWN:
        raise _refused(name, WITHOUT_INDEX)
    return _kept(name, chain([bytes(begin)], iter(partial(read, _CHUNK), b"")), None, media_end, download), b""


def _refused(name: str, why: str) -> InputError:
    return InputError(f"{without_secrets(name)} cannot be opened as video: {why}")


def _opened(url: str, timeout: float) -> HTTPResponse:
    """The server's answer. A password is sent where the server asks for it, and to no other server."""
    parts = urlsplit(quote(url, safe="%!#$&'()*+,/:;=?@[]~"))
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    passwords = request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, plain, unquote(parts.username or ""), unquote(parts.password or ""))
    opener = request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    if parts.username is not None:
        opener.add_handler(request.HTTPBasicAuthHandler(passwords))
        opener.add_handler(request.HTTPDigestAuthHandler(passwords))
    opener.addheaders = [("User-Agent", "emonet-fast"), ("Range", "bytes=0-")]
    response: HTTPResponse = opener.open(plain, timeout=timeout)
    return response


def _reader(read: Callable[[int], bytes], begin: bytearray) -> At:
    """A file near its beginning, all of which goes into `begin`."""

    def at(offset: int, count: int) -> bytes:
        while len(begin) < offset + count and (data := read(offset + count - len(begin))):
            begin.extend(data)
        return bytes(begin[offset : offset + count])

    return at


def _chunks(url: str, response: HTTPResponse, timeout: float) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except TimeoutError:
        raise _refused(url, f"nothing came for {timeout:g} seconds") from None
    except (OSError, HTTPException) as error:
        raise _refused(url, f"the server hung up ({error})") from None


def _kept(name: str, chunks: Iterable[bytes], size: int | None, least: int, download: Download) -> int:
    """Descriptor of a temporary file of all chunks, which are `size` bytes, or at least `least`."""
    too_large = (
        "its index (moov) is at its end, and can only be reached by reading it whole first; it has more than "
        f"{download.limit:,} bytes (--max-download, max_download in Python)"
    )
    done, told = 0, download.told or (lambda done, size: None)
    try:
        with tempfile.TemporaryFile() as file:
            for chunk in chunks:
                done += len(chunk)
                if max(done, size or least) > download.limit:
                    raise _refused(name, too_large)
                file.write(chunk)
                told(done, size)
            file.flush()
            if size is None:
                told(done, done)
            if done < (size or least):
                raise _refused(name, f"it ended after {done:,} of {size or least:,} bytes")
            return os.dup(file.fileno())
    except OSError as error:
        why = f"{error.strerror}; TMPDIR names another folder"
        raise _refused(name, f"it cannot be kept in {tempfile.gettempdir()} ({why})") from None
