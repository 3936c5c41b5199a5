"""Interlaced frames to whole pictures, one of each, by FFmpeg's filter bwdif."""

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from .frames import Fact
from .graphs import filter_graph

T = TypeVar("T")
_log = logging.getLogger("emonet_fast")
FILTER = "bwdif"


class Deinterlacer(Generic[T]):
    """Puts the frames of one video through bwdif from the first interlaced one on; progressive ones stay as they are.

    The filter looks at the frame before and the one after, so that each frame comes out when the next one is put in.

    Args:
        facts: takes what was done, under "interlaced".
        threads: of the filter.
    """

    def __init__(self, facts: dict[str, Fact], threads: int) -> None:
        self._facts, self._threads = facts, threads
        self._graph: Any = None
        self._kind: Any = None
        self._waiting: deque[tuple[Any, T]] = deque()
        self._refused = False

    def put(self, raw: Any, about: T) -> Iterator[tuple[Any, T]]:
        """Take in a frame and whatever goes with it; gives those that are ready, in their order."""
        interlaced = getattr(raw, "interlaced_frame", None)  # None of NVDEC's pictures, which are progressive
        if self._refused or interlaced is None or (self._graph is None and not interlaced):
            yield from self.end()
            yield raw, about
            return
        kind = (raw.width, raw.height, raw.format.name, raw.colorspace, raw.color_range)
        if kind != self._kind:
            yield from self.end()
            try:
                how = "mode=send_frame:parity=auto:deint=interlaced"
                self._graph, self._kind = filter_graph(raw, (FILTER, how), threads=self._threads), kind
            except (ValueError, OSError) as error:
                self._refused = True
                self._facts["interlaced"] = Fact(f"fields were left combed: this FFmpeg has no {FILTER} ({error})")
                yield raw, about
                return
            self._facts["interlaced"] = Fact(f"fields made whole by FFmpeg's {FILTER}, one picture a frame")
        self._waiting.append((raw, about))
        self._graph.push(raw)
        yield from self._ready()

    def end(self) -> Iterator[tuple[Any, T]]:
        """What the filter still holds."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
        while self._waiting:  # a frame that the filter would not give stays combed rather than lost
            yield self._waiting.popleft()
        self._graph = self._kind = None

    def _ready(self) -> Iterator[tuple[Any, T]]:
        while self._waiting:
            try:
                whole = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            yield whole, self._waiting.popleft()[1]
