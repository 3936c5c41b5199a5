"""Pictures of many requests to rows, and rows to the engine's batches: two queues, filled and emptied by threads.

    taken pictures -> decode, faces, crop, resize (threads) -> rows with pixels -> the engine (threads) -> outputs

Pictures wait encoded: a decoded row takes half a megabyte, so that only a few are made ahead of the engine. A batch is
put together at the moment in which an engine is free. What a request no longer wants leaves both queues.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..backends.base import DeviceBackend
from ..decoders.flow import by_pillow, located, resized, step_fault, with_known_boxes
from ..errors import BackendError
from ..faces import PictureFaces
from ..options import ServeOptions
from ..process import available_cores
from ..records import Decoded, Float32Array, Picture, UInt8Array
from ..scorer import Scorer
from .metrics import Metrics


class FullError(Exception):
    """More pictures came than may wait. `seconds`: when there should be room."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full; try again in {seconds} s")
        self.seconds = seconds


@dataclass(slots=True)
class TakenRow:
    """A row on its way: what was decoded, and what the engine gave, [D] raw and [hidden] embedding."""

    decoded: Decoded
    raw: Float32Array | None = None
    embedding: Float32Array | None = None


@dataclass(eq=False, slots=True)
class Taken:
    """The pictures of one request, and their rows as they come.

    Args:
        pictures: in the order sent; one or more.
        faces: finds the faces of each; None scores whole pictures, or the boxes that they have.
        finished: called once, by any thread, when every row is there. Not called for what was cancelled.
    """

    pictures: Sequence[Picture]
    faces: PictureFaces | None
    finished: Callable[[], object]
    rows: list[list[TakenRow]] = field(init=False)
    left: int = field(init=False)  # pictures that are not decoded, and rows that are not scored
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.rows, self.left = [[] for _ in self.pictures], len(self.pictures)

    def result(self, heads: int, hidden: int) -> tuple[list[Decoded], Float32Array, Float32Array]:
        """The N rows in order, [N, heads] raw and [N, hidden] embeddings, NaN where the engine gave nothing."""
        rows = [row for picture in self.rows for row in picture]
        raw = np.full((len(rows), heads), np.nan, np.float32)
        embeddings = np.full((len(rows), hidden), np.nan, np.float32)
        for i, row in enumerate(rows):
            if row.raw is not None and row.embedding is not None:
                raw[i], embeddings[i] = row.raw, row.embedding
        return [row.decoded for row in rows], raw, embeddings


@dataclass(eq=False, slots=True)
class _Ready:
    """A row that waits for the engine, since `since` (time.monotonic())."""

    taken: Taken
    row: TakenRow
    pixels: UInt8Array
    since: float


class Batcher:
    """Scores the pictures of many requests at once. Thread-safe.

    Args:
        scorers: open, of one checkpoint and the same settings; each has an engine.
        options: how many rows make a batch, how long one waits, and how many pictures may.
        metrics: what happens is counted there.

    Raises:
        OptionError: where `max_batch` is above the engines' batch size.
    """

    def __init__(self, scorers: Sequence[Scorer], options: ServeOptions, metrics: Metrics) -> None:
        first = scorers[0]
        self._scorer, self._options, self._metrics = first, options, metrics
        size = first.backend.batch_size
        self.max_batch = size if options.max_batch == "auto" else options.max_batch
        self._wait = options.max_wait_ms / 1000
        self._pictures: deque[tuple[Taken, int]] = deque()
        self._ready: deque[_Ready] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._decoding = 0
        self.pending = 0  # pictures and rows that were taken and are not done
        metrics.queue.set_function(lambda: self.pending)
        self._pace = 0.1  # seconds of a picture, averaged
        decoders = first.options.threads or available_cores()
        self._ahead = 2 * self.max_batch * len(scorers) + decoders
        work: list[Callable[[], None]] = [self._decode] * decoders
        for one in scorers:
            # One batch is computed while the results of another are fetched, or each stream has its own.
            together = max(1, one.backend.depth + isinstance(one.backend, DeviceBackend))
            work += [partial(self._score, one)] * together
        self._threads = [threading.Thread(target=one, name="emonet-fast-serve", daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    def take(self, taken: Taken) -> None:
        """Queue a request's pictures. Raises FullError where they do not fit, BackendError after `close`."""
        with self._changed:
            if self._closing:
                raise BackendError("the server is stopping")
            if self.pending + taken.left > self._options.max_queue:
                raise FullError(min(60, max(1, round(self.pending * self._pace))))
            self.pending += taken.left
            self._pictures.extend((taken, i) for i in range(len(taken.pictures)))
            self._changed.notify_all()

    def cancel(self, taken: Taken) -> None:
        """Take what nobody waits for any more out of the queues; what is being computed is thrown away later."""
        with self._changed:
            if taken.cancelled or not taken.left:
                return
            taken.cancelled = True
            self.pending -= taken.left
            self._pictures = deque(one for one in self._pictures if one[0] is not taken)
            self._ready = deque(one for one in self._ready if one.taken is not taken)
            self._changed.notify_all()

    def close(self) -> None:
        """Score what was taken, take no more, and end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _done(self, taken: Taken, number: int = 1) -> None:
        """Count pictures or rows of a request as done. Called with the lock held."""
        if taken.cancelled:
            return
        taken.left -= number
        self.pending -= number
        if not taken.left:
            taken.finished()

    def _decode(self) -> None:
        while (one := self._next_picture()) is not None:
            taken, place = one
            rows = self._rows(taken.pictures[place], taken.faces)
            with self._changed:
                self._decoding -= 1
                now = time.monotonic()
                made = [(TakenRow(decoded), pixels) for decoded, pixels in rows]
                taken.rows[place] = [row for row, _ in made]
                waiting = [_Ready(taken, row, pixels, now) for row, pixels in made if pixels is not None]
                if not taken.cancelled:
                    taken.left += len(waiting)
                    self.pending += len(waiting)
                    self._ready.extend(waiting)
                self._done(taken)
                self._changed.notify_all()

    def _next_picture(self) -> tuple[Taken, int] | None:
        """The next picture, as soon as rows may be made; None at the end."""
        with self._changed:
            while not self._pictures or len(self._ready) + self._decoding >= self._ahead:
                if self._closing and not self._pictures:
                    return None
                self._changed.wait()
            self._decoding += 1
            return self._pictures.popleft()

    def _rows(self, picture: Picture, faces: PictureFaces | None) -> list[tuple[Decoded, UInt8Array | None]]:
        """The rows of a picture, each with the network's input [3, S, S]. Never raises."""
        spec, options = self._scorer.checkpoint.preprocess, self._scorer.options
        with self._metrics.decoding.time():
            try:
                known = next(iter(with_known_boxes([picture], faces)))
                whole = next(located([by_pillow(known, options)], faces))
                return resized(whole, spec, options, False, lambda stage: nullcontext(), faces)
            except Exception as error:  # of the detector: it is this picture's
                status, reason = step_fault(error, "prepare")
                return [(Decoded(picture.key, None, status, reason, origin=picture.origin), None)]

    def _score(self, scorer: Scorer) -> None:
        while batch := self._next_batch():
            began = time.perf_counter()
            try:
                outputs, fault = scorer.backend.run(np.stack([one.pixels for one in batch])), None
            except Exception as error:  # whatever it is, the rows that wait behind it must get their turn
                outputs, fault = None, step_fault(error, "score")
            seconds = time.perf_counter() - began
            self._metrics.batch(len(batch), seconds)
            with self._changed:
                self._pace += 0.1 * (seconds / len(batch) - self._pace)
                for i, one in enumerate(batch):
                    if outputs is not None:
                        one.row.raw, one.row.embedding = outputs.raw[i], outputs.embedding[i]
                    elif fault is not None:
                        one.row.decoded = replace(one.row.decoded, status=fault[0], reason=fault[1])
                    self._done(one.taken)

    def _next_batch(self) -> list[_Ready]:
        """The next rows for an engine: as many as it takes, or those that have waited long enough; [] at the end."""
        with self._changed:
            while True:
                if not self._ready:
                    if self._closing and not self._pictures and not self._decoding:
                        return []
                    self._changed.wait()
                    continue
                left = self._ready[0].since + self._wait - time.monotonic()
                more = self._pictures or self._decoding or not self._closing
                if len(self._ready) >= self.max_batch or left <= 0 or not more:
                    break
                self._changed.wait(left)
            batch = [self._ready.popleft() for _ in range(min(len(self._ready), self.max_batch))]
            self._changed.notify_all()
            return batch
