"""Asks a server of `emonet-fast serve` for scores: pictures in, `Scores` out, as `Scorer` takes and gives them."""

import asyncio
import io
import json
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from .arithmetic import EMOTIONS
from .decode import decode
from .errors import EmonetError
from .optional import need
from .options import MAX_BYTES, Options
from .records import Float64Array, Picture, Status
from .scores import Scores
from .scores.parts import FACE_COLUMNS, QUALITY_COLUMNS
from .sources.memory import Memory

if TYPE_CHECKING:
    import httpx
    import pyarrow

_ARROW = "application/vnd.apache.arrow.stream"
# Pictures, and their bytes, of one request.
_TOGETHER, _BYTES = 16, 8 << 20
# Tries of a request that the server refuses for now, and the longest wait between two.
_TRIES, _LONGEST_WAIT = 10, 30.0
# The files of a request; what it is answered with; seconds to wait, answered with None; last of all the scores.
_Ask: TypeAlias = list[tuple[str, tuple[str, bytes]]] | float
_Talk: TypeAlias = "Generator[_Ask | Scores, httpx.Response | None, None]"


class ServerError(EmonetError):
    """A server cannot be reached, or refuses.

    Args:
        text: what it said.
        status: of HTTP; None where it was not reached.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """Scores pictures on a server.

    Args:
        url: of the server.
        token: its secret; None where it asks for none.
        faces: "none" or "detect"; None as the server was started.
        timeout: seconds until an answer begins.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        faces: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        make = need("httpx", "emonet_fast.client").Client
        self._http: httpx.Client = make(base_url=url, headers=_headers(token), timeout=timeout)
        self._faces = faces

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __call__(self, images: Iterable[object], *, embeddings: bool = False) -> Scores:
        """Score pictures. A picture that cannot be read gets a status, a reason and NaN scores.

        Args:
            images: as `Scorer` takes them. Their names stay here.
            embeddings: ask for them too, [N, hidden] float32.

        Raises:
            InputError: when `images` is no row of pictures.
            ServerError: when the server cannot be reached, refuses, or stays full.
        """
        talk, answer = _talk(images), None  # type: tuple[_Talk, httpx.Response | None]
        with _reached():
            while True:
                ask = talk.send(answer)
                if isinstance(ask, Scores):
                    return ask
                if isinstance(ask, float):
                    time.sleep(ask)
                else:
                    answer = self._http.post("/v1/score", params=_query(self._faces, embeddings), files=ask)


class AsyncClient:
    """As Client, for programs that use asyncio: `await client(images)`; takes and raises as Client does."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        faces: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        make = need("httpx", "emonet_fast.client").AsyncClient
        self._http: httpx.AsyncClient = make(base_url=url, headers=_headers(token), timeout=timeout)
        self._faces = faces

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __call__(self, images: Iterable[object], *, embeddings: bool = False) -> Scores:
        """See Client."""
        talk, answer = _talk(images), None  # type: tuple[_Talk, httpx.Response | None]
        with _reached():
            while True:
                ask = talk.send(answer)
                if isinstance(ask, Scores):
                    return ask
                if isinstance(ask, float):
                    await asyncio.sleep(ask)
                else:
                    answer = await self._http.post("/v1/score", params=_query(self._faces, embeddings), files=ask)


def _headers(token: str | None) -> dict[str, str]:
    return {"Accept": _ARROW} | ({} if token is None else {"Authorization": f"Bearer {token}"})


def _query(faces: str | None, embeddings: bool) -> dict[str, str]:
    fields = "raw,score,softmax,embedding" if embeddings else "raw,score,softmax"
    return {"fields": fields} | ({} if faces is None else {"faces": faces})


@contextmanager
def _reached() -> Iterator[None]:
    """Turns errors of the connection inside a `with` block into ServerError."""
    httpx = need("httpx", "emonet_fast.client")
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerError(f"the server did not answer ({type(error).__name__}: {error}); is it there?") from None


def _talk(images: Iterable[object]) -> _Talk:
    """What is asked, and what comes of the answers: the same for both clients."""
    parts: list[Scores] = []
    group: list[Picture] = []
    size = 0
    for picture in map(_encoded, Memory(images, MAX_BYTES)):
        data = picture.data if isinstance(picture.data, bytes) else b""
        if group and (len(group) == _TOGETHER or size + len(data) > _BYTES):
            parts.append((yield from _group(group)))
            group, size = [], 0
        group.append(picture)
        size += len(data)
    if group:
        parts.append((yield from _group(group)))
    # Without pictures the columns are those of one that is empty.
    yield Scores.concat(parts) if parts else (yield from _group([Picture("", None, Status.EMPTY)])).select([])


def _group(pictures: list[Picture]) -> "Generator[_Ask, httpx.Response | None, Scores]":
    files = [("pictures", (str(i), one.data if isinstance(one.data, bytes) else b"")) for i, one in enumerate(pictures)]
    for _ in range(_TRIES):
        answer = yield files
        assert answer is not None  # noqa: S101 - only a wait has none
        if answer.status_code == 200:
            return _scores_of(answer.content, pictures)
        try:
            text = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = answer.reason_phrase
        refusal = ServerError(f"the server answered {answer.status_code}: {text}", answer.status_code)
        if answer.status_code not in (429, 503):
            raise refusal
        yield min(float(answer.headers.get("retry-after", "1")), _LONGEST_WAIT)
    raise refusal


def _encoded(picture: Picture) -> Picture:
    """The picture as bytes: what is no file becomes a PNG of the pixels that `Scorer` would take."""
    if picture.status != Status.OK or isinstance(picture.data, bytes):
        return picture
    done = decode(picture, Options(cache_dir=Path()))
    if done.rgb is None:
        return Picture(picture.key, None, done.status, done.reason)
    file = io.BytesIO()
    Image.fromarray(done.rgb).save(file, "PNG", compress_level=1)
    return replace(picture, data=file.getvalue(), reason=done.reason)


def _scores_of(content: bytes, pictures: list[Picture]) -> Scores:
    """The scores of an answer, with the names, and the faults, that the pictures have here."""
    import pyarrow as pa

    with pa.ipc.open_stream(content) as reader:
        table: pyarrow.Table = reader.read_all()
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    names = tuple(n.removeprefix("raw_") for n in table.column_names if n.startswith("raw_"))
    keys, states, reasons = [], [], []
    for key, status, reason in zip(*(table[n].to_pylist() for n in ("key", "status", "reason")), strict=True):
        number, mark, rest = key.partition("::")
        own = pictures[int(number)]
        failed = own.status != Status.OK
        keys.append(own.key + mark + rest)
        states.append(own.status if failed else Status(status))
        reasons.append(own.reason if failed else reason or own.reason)

    def columns(prefix: str, of: Iterable[str]) -> Float64Array:
        there, unknown = set(table.column_names), np.full(len(keys), np.nan)
        found = [table[prefix + n].to_numpy() if prefix + n in there else unknown for n in of]
        return np.stack(found, 1).astype(np.float64)

    embeddings = None
    if "embedding" in table.column_names:
        width = table.schema.field("embedding").type.list_size
        unknown = [np.nan] * width
        embeddings = np.array([one or unknown for one in table["embedding"].to_pylist()], np.float32)
    return Scores(
        raw=columns("raw_", names).astype(np.float32),
        score=columns("score_", names),
        softmax=columns("softmax_", EMOTIONS),
        names=names,
        keys=tuple(keys),
        status=tuple(states),
        reason=tuple(reasons),
        embeddings=embeddings,
        notes=tuple(json.loads(metadata.pop("notes", "[]"))),
        metadata=metadata,
        faces=columns("", (*FACE_COLUMNS, *QUALITY_COLUMNS)) if "face_x" in table.column_names else None,
    )
