"""The decoder of the default installation: Pillow. It is the definition.

Beside an engine on the CPU one picture after the other, as the engine uses every core; beside a GPU on several threads.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

from ..checkpoint.spec import Preprocess
from ..decode import decode
from ..options import Options
from ..preprocess import crop, resize
from ..records import Box, Decoded, Picture, Status, UInt8Array
from .base import Prepared, Row, Timed, grouped


class PillowDecoder:
    """See Decoder. threads: 1 works in the calling thread, more in threads that live as long as a call of `batches`."""

    name = "pillow"
    reads_ahead = False

    def __init__(self, spec: Preprocess, options: Options, timed: Timed, threads: int = 1) -> None:
        self._spec, self._options, self._timed, self._threads = spec, options, timed, threads

    def batches(self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool) -> Iterator[Prepared]:
        """See Decoder.batches."""
        if self._threads > 1:
            return grouped(self._ahead(pictures, keep_rgb), batch_size)
        rows = (row for picture in pictures for row in self._rows(picture, keep_rgb))
        return grouped(rows, batch_size)

    def _ahead(self, pictures: Iterable[Picture], keep_rgb: bool) -> Iterator[Row]:
        """The same rows in the same order, with twice as many pictures under way as there are threads."""
        with ThreadPoolExecutor(self._threads, "decode") as pool:
            under_way: deque[Future[list[Row]]] = deque()
            for picture in pictures:
                under_way.append(pool.submit(self._rows, picture, keep_rgb))
                if len(under_way) >= 2 * self._threads:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()

    def note(self) -> str:
        """See Decoder.note."""
        return ""

    def close(self) -> None:
        """See Decoder.close: nothing is kept."""

    def _rows(self, picture: Picture, keep_rgb: bool) -> list[Row]:
        return prepare(picture, self._spec, self._options, keep_rgb, self._timed)


def prepare(
    picture: Picture, spec: Preprocess, options: Options, keep_rgb: bool, timed: Timed = lambda stage: nullcontext()
) -> list[Row]:
    """The rows of one picture: one, or one a box. Thread-safe; never raises for bad data."""
    with timed("decode"):
        whole = decode(picture, exif=options.exif, max_pixels=options.max_pixels, max_bytes=options.max_bytes)
    if not picture.boxes:
        return [_row(whole, whole.rgb, spec, keep_rgb, timed)]
    rows: list[Row] = []
    for key, box in zip(picture.row_keys(), picture.boxes, strict=True):
        if whole.rgb is None:
            rows.append((replace(whole, key=key), None))
            continue
        height, width = whole.rgb.shape[:2]
        fault = box_fault(box, width, height, options.max_pixels)
        if fault is not None:
            rows.append((Decoded(key, None, *fault), None))
        else:
            rows.append(_row(replace(whole, key=key), crop(whole.rgb, box), spec, keep_rgb, timed))
    return rows


def box_fault(box: Box, width: int, height: int, max_pixels: int) -> tuple[Status, str] | None:
    """Status and reason of a box that cannot be cut from a picture of that size; None where it can."""
    if box.inside(width, height) is None:
        return Status.BAD_INPUT, f"the box {_sides(box)} touches no pixel of the picture, {width} x {height}"
    if box.width * box.height > max_pixels:
        return Status.TOO_LARGE, f"the box {_sides(box)} has {box.width * box.height:,} pixels; max_pixels allows " + (
            f"{max_pixels:,}"
        )
    return None


def _sides(box: Box) -> str:
    return f"{box.left},{box.top},{box.right},{box.bottom}"


def _row(decoded: Decoded, rgb: UInt8Array | None, spec: Preprocess, keep_rgb: bool, timed: Timed) -> Row:
    if rgb is None:
        return decoded, None
    with timed("preprocess"):
        pixels = resize(rgb, spec)
    return replace(decoded, rgb=rgb if keep_rgb else None), pixels
