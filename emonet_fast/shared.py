"""What threads share: a thing that is opened once and closed when none of them is in it, a setting that some hold."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from .errors import BackendError

T = TypeVar("T")


class Shared(Generic[T]):
    """Holds what is open. A copy by pickle holds nothing, and opens its own. release: frees what was open."""

    def __init__(self, release: Callable[[T], None]) -> None:
        self._release = release
        self._changed = threading.Condition()
        self._held: T | None = None
        self._closing = False
        self._users: Counter[int] = Counter()  # threads that are in a `use`, with how many

    def __reduce__(self) -> tuple[Any, ...]:
        return Shared, (self._release,)

    def open(self, make: Callable[[], T]) -> T:
        """What is open; made by the first thread that asks, while the others wait."""
        with self._changed:
            if self._held is None:
                self._held = make()
            return self._held

    @property
    def held(self) -> T | None:
        """What is open now; None where nothing is."""
        return self._held

    @contextmanager
    def use(self, make: Callable[[], T], known: T | None = None) -> Iterator[T]:
        """What is open, for a `with` block whose end `close` waits for.

        known: what this work began with. Raises BackendError when that was closed since.
        """
        me = threading.get_ident()
        with self._changed:
            # A thread that is in a use already must get on, or `close` would wait for ever.
            self._changed.wait_for(lambda: not self._closing or me in self._users)
            if known is not None and self._held is not known:
                raise BackendError("the scorer was closed while its batches were being taken; begin again")
            held = self.open(make)
            self._users[me] += 1
        try:
            yield held
        finally:
            with self._changed:
                self._users[me] -= 1
                if not self._users[me]:
                    del self._users[me]
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for the other threads' uses, then free what is open; later uses open it again."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._closing)
            self._closing = True
            try:
                self._changed.wait_for(lambda: not set(self._users) - {me})
                held, self._held = self._held, None
                if held is not None:
                    self._release(held)
            finally:
                self._closing = False
                self._changed.notify_all()


class HeldSetting:
    """A setting of the whole process that is changed as long as at least one piece of work, of any thread, holds it.

    change: gives a `with` block that changes the setting; the first one to hold it enters, the last one to end leaves.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change, self._changed = change, ExitStack()
        self._lock, self._holders = threading.Lock(), 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the setting while this lasts."""
        with self._lock:
            if self._holders == 0:
                self._changed.enter_context(self._change())
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._changed.close()
