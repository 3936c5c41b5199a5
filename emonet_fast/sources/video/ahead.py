"""Reads a source on a thread of its own: ahead of its reader in a bounded queue, or the newest frame of a live one."""

import threading
from collections import deque
from collections.abc import Iterator

from ...process import Stopwatch
from .frames import Frame, Sound, VideoSource

# Frames that wait for the reader: enough that decoding and scoring overlap, at 4K still below 100 MB.
AHEAD = 4
# Seconds between two looks at `stopped`: a signal handler must take no lock, so it cannot wake who waits.
_POLL = 0.2


class Ahead:
    """The items of a source, read by a thread of its own.

    Of a live source one frame waits, which gives way to a newer one; `source.faults.dropped` counts such frames. Any
    other source waits for its reader. An exception of the source comes out of the iteration. Leaving a loop early does
    not end the thread; `close()` does. Set `stopped`, in a signal handler too, to end the iteration at its next item.
    The seconds of reading go to `watch` as "decode".
    """

    def __init__(self, source: VideoSource, watch: Stopwatch | None = None) -> None:
        self._source, self._size = source, 1 if source.live else AHEAD
        self._watch = watch or Stopwatch()
        self._items: deque[Frame | Sound] = deque()
        self._frames = 0  # of the items; audio packets are small and go with them
        self._changed = threading.Condition()
        self._ended = self.stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="emonet-fast-decode", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            items = iter(self._source)
            while True:
                with self._watch("decode"):
                    item = next(items, None)
                if item is None or not self._put(item):
                    return
        except BaseException as error:
            self._error = error
        finally:
            if self.stopped:  # close() may have stopped waiting for a silent source
                self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Frame | Sound) -> bool:
        with self._changed:
            if isinstance(item, Frame):
                while not self._source.live and self._frames >= self._size and not self.stopped:
                    self._changed.wait(_POLL)
                if self._source.live and self._frames >= self._size:
                    self._items = deque(one for one in self._items if not isinstance(one, Frame))
                    self._frames = 0
                    self._source.faults.dropped += 1
                self._frames += 1
            self._items.append(item)
            self._changed.notify_all()
            return not self.stopped

    def __iter__(self) -> Iterator[Frame | Sound]:
        while True:
            with self._changed:
                while not self._items and not self._ended and not self.stopped:
                    self._changed.wait(_POLL)
                if not self._items or self.stopped:
                    break
                item = self._items.popleft()
                self._frames -= isinstance(item, Frame)
                self._changed.notify_all()
            yield item
        if self._error is not None and not self.stopped:
            raise self._error

    def close(self) -> None:
        """End the thread, then the source. Waits for the packet that is being read."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=15.0)
        if not self._thread.is_alive():
            self._source.close()
