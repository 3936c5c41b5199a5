"""The server itself: listens, ends by signals without losing a row, and says where it is."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from ..errors import OptionError
from ..options import ServeOptions
from ..process import signals_to
from .app import make_app
from .limits import is_local, protocols
from .service import Service

# Seconds beyond a request's own limits until a stopping server gives up what hangs.
_GRACE = 5


class Server(uvicorn.Server):
    """Serves until `stop`, a signal, or a fault of the engines.

    Args:
        service: is opened and closed by it.
        listener: bound to its address.
        told: gets the server's URL once it listens.
    """

    def __init__(
        self, service: Service, listener: socket.socket, told: Callable[[str], None] = lambda url: None
    ) -> None:
        self.service, self._listener, self._told = service, listener, told
        settings = service.settings
        http, stream = protocols(settings)
        config = uvicorn.Config(
            make_app(service),
            http=http,
            ws=stream,
            lifespan="on",
            log_config=None,  # the command line has set logging up
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws_max_size=settings.max_body,
            ws_per_message_deflate=False,  # pictures are compressed already
            timeout_keep_alive=int(settings.patience) + 1,
            timeout_graceful_shutdown=int(settings.deadline + settings.patience) + _GRACE,
        )
        super().__init__(config)

    def serve_forever(self) -> None:
        """Run. Raises what kept the engines from being opened."""
        asyncio.run(self.serve([self._listener]))
        if self.service.failure is not None:
            raise self.service.failure

    def stop(self) -> None:
        """Take no new work, finish what was taken, and end; by any thread, and in signal handlers."""
        self.service.stopping = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told(url_of(self._listener))

    async def on_tick(self, counter: int) -> bool:
        # Streams end by themselves, as uvicorn would cut them off before their last answer.
        if self.service.failure is not None or (self.service.stopping and not self.service.streams):
            self.should_exit = True
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM, Ctrl-C and SIGHUP stop the server; a second one does not wait for what hangs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: object) -> None:
            self.should_exit = self.force_exit = self.service.stopping
            self.stop()

        with signals_to(handle, lambda before: before != signal.SIG_IGN):
            yield


def listen(settings: ServeOptions, token: str | None) -> socket.socket:
    """A socket bound to the address. Raises OptionError where it is taken, or reached by others without a token."""
    if token is None and not is_local(settings.host):
        raise OptionError(
            f"host is {settings.host!r}, which other machines reach; expected a token too, by --token-file or in "
            "EMONET_FAST_TOKEN"
        )
    try:
        # Not socket.create_server: its sockets do not name TCP, and asyncio would let answers wait for 40 ms (Nagle).
        family, kind, number, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise OptionError(f"{settings.host} port {settings.port} cannot be used: {error.strerror or error}") from None


def url_of(listener: socket.socket) -> str:
    """Where a server is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(service: Service, told: Callable[[str], None]) -> None:
    """Serve until a signal comes. told: gets the server's URL once it listens.

    Raises OptionError where the address cannot be used, and what kept the engines from being opened.
    """
    listener = listen(service.settings, service.access.token)
    with listener:
        Server(service, listener, told).serve_forever()
