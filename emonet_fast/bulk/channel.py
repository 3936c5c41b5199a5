"""Bounded queues between the stages of a pipeline, which know how long each side waited for the other."""

import threading
from collections import deque
from typing import Generic, TypeVar

from ..process import Stopwatch

T = TypeVar("T")


class ClosedError(Exception):
    """The other side has ended: nothing more will come, or nothing more is wanted."""


class Channel(Generic[T]):
    """First in, first out, between one thread that puts and one that gets.

    It holds at most `items` items, whose weights (bytes) sum to at most `weight`; one item always fits, however heavy.
    `waited` has the seconds that the sides "put" and "get" have waited so far, `aborted` whether abort() was called.
    """

    def __init__(self, items: int, weight: int | None = None) -> None:
        self.waited = Stopwatch("put", "get")
        self._items, self._weight = items, weight
        self._held: deque[tuple[T, int]] = deque()
        self._heavy = 0
        self.aborted = self._ended = False
        self._changed = threading.Condition()

    def put(self, item: T, weight: int = 0) -> None:
        """Add an item; waits while there is no room. Raises ClosedError after abort()."""
        with self._changed:
            if self._full(weight) and not self.aborted:
                with self.waited("put"):
                    self._changed.wait_for(lambda: self.aborted or not self._full(weight))
            if self.aborted:
                raise ClosedError
            self._held.append((item, weight))
            self._heavy += weight
            self._changed.notify_all()

    def get(self) -> T:
        """The next item; waits for it. Raises ClosedError after abort(), and after close() once all was taken."""
        with self._changed:
            if not self._held and not self.aborted and not self._ended:
                with self.waited("get"):
                    self._changed.wait_for(lambda: self._held or self.aborted or self._ended)
            if self.aborted or not self._held:
                raise ClosedError
            item, weight = self._held.popleft()
            self._heavy -= weight
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake both sides with ClosedError and let go of what is held."""
        with self._changed:
            self.aborted = True
            self._held.clear()
            self._changed.notify_all()

    def _full(self, weight: int) -> bool:
        if not self._held:
            return False
        return len(self._held) >= self._items or (self._weight is not None and self._heavy + weight > self._weight)
