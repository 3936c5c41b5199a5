"""A request's body to pictures: multipart files, raw bytes, or JSON with base64. In memory alone, and bounded."""

import asyncio
import base64
import binascii
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..options import ServeOptions
from ..records import Picture
from ..sources.folder import UniqueKeys
from ..text import counted, utf8_text
from .limits import Held, RefusedError

_EXPECTED = "expected multipart/form-data, application/json, application/octet-stream or image/*"
_JSON = 'expected {"pictures": [{"key": "a.jpg", "data": "<base64>"}, ...]}, key may be left out'
_LONGEST_KEY = 1000
# What follows a body that is too large is read and thrown away for so long: a client that still sends would not see
# the answer.
_LINGER = 2.0


class _InMemory(MultiPartParser):
    """Starlette's parser, without the temporary files that it puts large parts into."""

    spool_max_size = sys.maxsize


class Body:
    """The body of one request, whose bytes count in `held` until `close`."""

    def __init__(self, request: Request, options: ServeOptions, held: Held) -> None:
        self._request, self._options, self._held = request, options, held
        self._size = 0

    def close(self) -> None:
        self._held.give_back(self._size)
        self._size = 0

    async def pictures(self) -> list[Picture]:
        """The pictures in their order. A file's name is its key, and nothing else.

        Raises RefusedError: 413 for too many bytes or files, 415 for another content, 422 for content that is damaged,
        408 where it comes too slowly, 429 where too much is held.
        """
        headers = self._request.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedError(415, "a body with a content encoding came; expected the bytes as they are")
        try:
            async with asyncio.timeout(self._options.patience):
                if kind == "multipart/form-data":
                    named = await self._files()
                elif kind == "application/json":
                    named = await asyncio.to_thread(_of_json, await self._whole(), self._options.max_files)
                elif kind == "application/octet-stream" or kind.startswith("image/"):
                    named = [("", await self._whole())]
                else:
                    raise RefusedError(415, f"content type {kind[:100] or 'none'} came; {_EXPECTED}")
        except TimeoutError:
            text = f"the body did not come within {self._options.patience:g} s"
            raise RefusedError(408, text, {"Connection": "close"}) from None
        if not named:
            raise RefusedError(422, "no picture came; expected one or more")
        unique = UniqueKeys()
        return [Picture(unique(_key(name, i)), data) for i, (name, data) in enumerate(named)]

    async def _files(self) -> list[tuple[str, bytes]]:
        parser = _InMemory(self._request.headers, self._chunks(), max_files=self._options.max_files, max_fields=0)
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many files"):
                raise _too_many(self._options.max_files) from None
            fault = "the multipart body is damaged, or has parts that are no files"
            raise RefusedError(422, f"{fault}: {error.message}") from None
        named = []
        for _, file in form.multi_items():
            assert isinstance(file, UploadFile)  # noqa: S101 - there are no fields
            named.append((file.filename or "", file.file.read()))
            file.file.close()
        return named

    async def _whole(self) -> bytes:
        return b"".join([chunk async for chunk in self._chunks()])

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        most = self._options.max_body
        declared = self._request.headers.get("content-length", "")
        too_large = RefusedError(
            413, f"the body has more than {most:,} bytes; send fewer pictures at once", {"Connection": "close"}
        )
        if declared.isdecimal() and int(declared) > most:
            await self._linger()
            raise too_large
        async for chunk in self._request.stream():
            self._held.take(len(chunk))
            self._size += len(chunk)
            if self._size > most:
                await self._linger()
                raise too_large
            yield chunk

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while (await self._request.receive()).get("more_body", False):
                    pass


def _too_many(most: int) -> RefusedError:
    return RefusedError(413, f"more than {counted(most, 'file')} came; send them in several requests")


def _key(name: str, index: int) -> str:
    if len(name) > _LONGEST_KEY:
        raise RefusedError(422, f"a key of {len(name)} signs came; expected {_LONGEST_KEY} at most")
    return utf8_text(name) or f"#{index}"


def _of_json(body: bytes, max_files: int) -> list[tuple[str, bytes]]:
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(422, f"the body is no JSON; {_JSON}") from None
    pictures = given.get("pictures") if isinstance(given, dict) else None
    if not isinstance(pictures, list):
        raise RefusedError(422, f"the JSON has no list of pictures; {_JSON}")
    if len(pictures) > max_files:
        raise _too_many(max_files)
    named = []
    for i, one in enumerate(pictures):
        key, data = (one.get("key", ""), one.get("data")) if isinstance(one, dict) else ("", one)
        try:
            if not isinstance(key, str) or not isinstance(data, str):
                raise ValueError
            named.append((key, base64.b64decode(data, validate=True)))
        except (binascii.Error, ValueError):
            raise RefusedError(422, f"picture {i} is no base64, or its key is no text; {_JSON}") from None
    return named
