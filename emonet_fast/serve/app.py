"""The routes: what each takes and gives, and who is let in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected

from .. import codebook, taxonomy
from ..reliability import reliability
from .answers import ARROW, Wanted, as_arrow, as_json
from .bodies import Body
from .limits import RefusedError
from .openapi import document
from .page import page
from .service import Service
from .stream import stream

_log = logging.getLogger("emonet_fast")
# Probes of an orchestrator, which has no token.
_OPEN = ("/healthz", "/readyz")
# A client has left; nobody reads this status but the figures.
_LEFT = 499
# Answers of more rows are written beside the event loop.
_FEW = 8
# Beside the policy in the page itself: no page may frame it, and the webcam is for it alone.
_PAGE = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self)",
    "Cache-Control": "no-store",
}


def make_app(service: Service) -> Starlette:
    """The application. It opens the service when it starts, and closes it when it ends."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.close)

    routes = _Routes(service)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=service.access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "accept"],
    )
    return Starlette(
        routes=[
            Route("/v1/score", routes.score, methods=["POST"]),
            Route("/v1/taxonomy", routes.taxonomy),
            Route("/v1/codebook", routes.codebook),
            WebSocketRoute("/v1/stream", routes.stream),
            Route("/healthz", routes.health),
            Route("/readyz", routes.ready),
            Route("/metrics", routes.metrics),
            Route("/openapi.json", routes.openapi),
            Route("/", routes.page),
        ],
        middleware=[*([cors] if service.access.origins else []), Middleware(_Door, service=service)],
        exception_handlers={HTTPException: _of_starlette},
        lifespan=lifespan,
    )


async def _of_starlette(request: Request, error: Exception) -> Response:
    """Its own errors, of a path or a method that is none, as ours look."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this one
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class _Door:
    """Lets requests in, counts them, and turns a fault of ours into an answer that tells nothing of the machine."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = int(message["status"])
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            try:
                if scope["path"] not in _OPEN:
                    self._service.access.check(Headers(scope=scope))
                await self._app(scope, receive, counted)
            except RefusedError as error:
                answer = JSONResponse({"error": str(error)}, error.status, error.headers)
                await answer(scope, receive, counted)
            except ClientDisconnect:
                status = _LEFT
            except ClientDisconnected:
                pass
            except Exception as error:
                _log.error("a request failed: %s", type(error).__name__, exc_info=_log.isEnabledFor(logging.DEBUG))
                if status == 500:
                    answer = JSONResponse({"error": "the server has failed; its log says how"}, 500)
                    await answer(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._service.metrics.requests.labels(route, status).inc()
            self._service.metrics.latency.labels(route).observe(time.perf_counter() - began)


class _Routes:
    """One method a route."""

    def __init__(self, service: Service) -> None:
        self._service, self._page = service, page()

    async def score(self, request: Request) -> Response:
        service = self._service
        service.working()
        wanted = Wanted.of(request.query_params, service.baselines)
        service.finder(wanted.faces)
        with closing(Body(request, service.settings, service.held)) as body:
            pictures = await body.pictures()
            gone = asyncio.ensure_future(_until_gone(request))
            try:
                scores = await service.scored(pictures, wanted, gone)
            finally:
                gone.cancel()
        arrow = ARROW in request.headers.get("accept", "")
        write = as_arrow if arrow else as_json
        few = len(scores) <= _FEW
        content = write(scores, wanted) if few else await asyncio.to_thread(write, scores, wanted)
        return Response(content, media_type=ARROW if arrow else "application/json")

    async def stream(self, socket: WebSocket) -> None:
        await stream(socket, self._service)

    async def taxonomy(self, request: Request) -> Response:
        dimensions = [
            {
                "slug": one.slug,
                "name": one.name,
                "group": one.group or None,
                "emotion": one.is_emotion,
                "scale": one.scale,
                "reliability": _agreement(one.slug),
            }
            for one in taxonomy.DIMENSIONS
        ]
        return JSONResponse({"groups": taxonomy.GROUPS, "dimensions": dimensions})

    async def codebook(self, request: Request) -> Response:
        return Response(codebook.to_json(list(codebook.every())), media_type="application/json")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        self._service.working()
        return JSONResponse({"status": "ready"})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document(self._service.settings, self._service.baselines))

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._page, headers=_PAGE)

    async def metrics(self, request: Request) -> Response:
        text, kind = self._service.metrics.text()
        return Response(text, headers={"Content-Type": kind})


def _agreement(slug: str) -> dict[str, object] | None:
    known = reliability().get(slug)
    if known is None:
        return None
    return {"agreement": known.agreement, "alpha": known.alpha, "text": known.text}


async def _until_gone(request: Request) -> None:
    """Ends when the client has closed the connection; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
