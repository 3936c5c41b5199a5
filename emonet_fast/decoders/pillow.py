"""The decoder of the default installation: Pillow. Every other decoder must equal it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from ..checkpoint.spec import Preprocess
from ..options import Options
from ..records import Picture
from .base import FaceLocator, Prepared, Row, Timed, grouped
from .flow import Whole, ahead, by_pillow, located, resized, with_known_boxes

_Item = TypeVar("_Item")
_Out = TypeVar("_Out")


class PillowDecoder:
    """Decodes, crops and resizes on the host by Pillow; see Decoder.

    Args:
        spec: size and filter of the network's input.
        options: orientation and limits.
        timed: times the stages "decode" and "preprocess".
        threads: 1 works in the calling thread; more work in threads that live as long as a call of `batches`.
    """

    name = "pillow"
    reads_ahead = False

    def __init__(self, spec: Preprocess, options: Options, timed: Timed, threads: int = 1) -> None:
        self._spec, self._options, self._timed, self._threads = spec, options, timed, threads

    def batches(
        self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """See Decoder.batches."""
        return grouped(self._rows(pictures, keep_rgb, faces), batch_size)

    def note(self) -> str:
        """See Decoder.note."""
        return ""

    def _rows(self, pictures: Iterable[Picture], keep_rgb: bool, faces: FaceLocator | None) -> Iterator[Row]:
        def finish(whole: Whole) -> list[Row]:
            return resized(whole, self._spec, self._options, keep_rgb, self._timed, faces)

        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(self._threads, "decode")) if self._threads > 1 else None
            if faces is not None and faces.needs_pixels:
                # Whole pictures wait here, not small rows, so that fewer may wait.
                wholes = located(_each(pool, self._whole, pictures, self._threads), faces)
                ready = _each(pool, finish, wholes, self._threads)
            else:
                known = with_known_boxes(pictures, faces)
                ready = _each(pool, lambda picture: finish(self._whole(picture)), known, 2 * self._threads)
            for rows in ready:
                yield from rows

    def _whole(self, picture: Picture) -> Whole:
        with self._timed("decode"):
            return by_pillow(picture, self._options)


def _each(
    pool: ThreadPoolExecutor | None, work: Callable[[_Item], _Out], items: Iterable[_Item], depth: int
) -> Iterator[_Out]:
    """`work` of each item in order: in the pool's threads, or in this one where there is none."""
    return map(work, items) if pool is None else ahead(lambda item: pool.submit(work, item), items, depth)
