"""Who may ask, and how much: errors with a status, tokens, origins, bytes held, connections that take too long."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..options import ServeOptions
from ..text import one_line

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LOCAL = ("localhost", "127.0.0.1", "::1")


class RefusedError(Exception):
    """A request is not answered as it wanted.

    Args:
        status: of HTTP.
        text: what came, what was expected, what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(one_line(text))
        self.status, self.headers = status, headers or {}


def busy(status: int, text: str, seconds: int = 1) -> RefusedError:
    """A refusal for now, with the seconds after which a client should try again."""
    return RefusedError(status, text, {"Retry-After": str(seconds)})


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Args:
        token: what `Authorization: Bearer` must have, or `Basic` as its password, which browsers ask for; None takes
            everybody who asks for this machine by a local name: a web page that has got a foreign name for it does not.
        origins: of other web pages that may ask, such as "https://example.org".
    """

    token: str | None
    origins: tuple[str, ...] = ()

    def check(self, headers: Headers) -> None:
        """Raise RefusedError for a request that may not be answered: 401 without the token, 403 for a foreign page."""
        host = headers.get("host", "")
        if self.token is None:
            if _parts(f"//{host}").hostname not in _LOCAL:
                raise RefusedError(403, "without a token this server answers to localhost and 127.0.0.1 alone")
        elif not hmac.compare_digest(_secret(headers.get("authorization", "")), self.token.encode()):
            raise RefusedError(
                401,
                "a token is needed: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="emonet-fast", Basic realm="emonet-fast"'},
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and _parts(origin).netloc != host:
            raise RefusedError(403, "pages of that origin may not ask; --cors names those that may")


def _parts(url: str) -> SplitResult:
    """Of an address; none of one that cannot be, such as http://[::1."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _secret(authorization: str) -> bytes:
    """The token of a header, or the password of a browser's user; b"" where there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""


class Held:
    """Bytes of requests that are held at once; of the event loop's thread alone. most: the limit."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> None:
        """Raises RefusedError (429) where there is no room now."""
        if size > self._left:
            raise busy(429, "too many bytes of other requests are held; try again later")
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


def protocols(options: ServeOptions) -> tuple[type[H11Protocol], type[WebSocketsSansIOProtocol]]:
    """The protocols of a connection for HTTP and WebSocket: it is one of max_connections, and may not be too slow.

    uvicorn has a limit for idle connections between requests, but none for those that never end a request's head, nor
    for those that do not read their answers. Both have `patience` seconds.
    """

    class Impatient(asyncio.Protocol):
        transport: asyncio.Transport
        loop: asyncio.AbstractEventLoop
        _full: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._full = self.loop.call_later(options.patience, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._full is not None:
                self._full.cancel()

    class PatientProtocol(Impatient, H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > options.max_connections:
                transport.write(_FULL)
                transport.close()
                return
            self._watch()

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():
                super().data_received(data)
                self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._forget()
            super().handle_websocket_upgrade(event)

        def _watch(self) -> None:
            upgraded = self not in self.connections
            if upgraded or (self.cycle is not None and not self.cycle.response_complete):
                self._forget()
            elif self._late is None:
                self._late = self.loop.call_later(options.patience, self.transport.abort)

        def _forget(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    class PatientStream(Impatient, WebSocketsSansIOProtocol):
        pass

    return PatientProtocol, PatientStream
