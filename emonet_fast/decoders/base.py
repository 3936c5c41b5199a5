"""The contract that every decoder fulfils: pictures in, batches of the network's input out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..records import Decoded, Picture

# A row, and its pixels; None where it has none. Which pixels (a crop, or the network's input) the function says.
Row: TypeAlias = tuple[Decoded, Any]
# Times a stage by its name.
Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
# Rows without pixels that may ride in one batch before it is handed on, so that a folder of broken files still
# streams.
MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one engine call.

    Args:
        places: of these rows in Prepared.rows.
        pixels: [n, 3, S, S] uint8, a numpy array; or anything with `__dlpack__` on the GPU.
        on_device: whether the pixels lie on the GPU.
    """

    places: tuple[int, ...]
    pixels: Any
    on_device: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Some consecutive rows.

    Args:
        rows: in the order of the pictures.
        parts: the network's input of those rows that have pixels.
    """

    rows: tuple[Decoded, ...]
    parts: tuple[Part, ...]


class FaceLocator(Protocol):
    """Gives pictures the boxes of their faces. A decoder calls it; faces.PictureFaces fulfils it.

    Attributes:
        name: of what finds the faces, for the reason of a row without one.
        needs_pixels: whether faces are looked for in decoded pictures. Where they are not, a picture gets its boxes
            before it is decoded, so that a decoder can decode just these.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_pixels(self) -> bool: ...

    def locate(self, pictures: Sequence[Picture], pixels: Sequence[Any]) -> list[Picture]:
        """The same pictures with `faces` and `boxes`.

        Args:
            pictures: some pictures that could be read.
            pixels: each picture as decoded, [H, W, 3] uint8 RGB, upright: a numpy array, or a torch tensor on the GPU.
                Where the locator does not need pixels: nothing.
        """
        ...


class Decoder(Protocol):
    """Pictures to batches.

    Attributes:
        name: for the run's summary.
        reads_ahead: it decodes beside its caller, into buffers that it uses again: its batches are taken by the
            thread that hands them to the engine.
    """

    name: str
    reads_ahead: bool

    def batches(
        self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """Batches of at most batch_size rows with pixels. Never raises for bad data.

        Each picture is decoded once, and gives one row, or one for each of its boxes, in order. Memory is bounded by
        the batch size and the pixel limits, not by the number of pictures.

        Args:
            pictures: encoded or as pixels, with boxes or without, in any mix.
            batch_size: of the engine.
            keep_rgb: rows carry their pixels before the resize (Decoded.rgb).
            faces: what gives pictures their boxes; None leaves them as they are.
        """
        ...

    def note(self) -> str:
        """How many pictures which decoder has read so far, for people; "" where that goes without saying."""
        ...

    def close(self) -> None:
        """Free buffers and threads. The decoder opens again at its next use."""
        ...


def stacked(places: tuple[int, ...], pixels: list[Any]) -> tuple[Part, ...]:
    """A batch's rows [3, S, S] on the host as its one part."""
    return (Part(places, np.stack(pixels)),)


def grouped(
    rows: Iterable[Row],
    batch_size: int,
    parts: Callable[[tuple[int, ...], list[Any]], tuple[Part, ...]] = stacked,
) -> Iterator[Prepared]:
    """Rows to batches of exactly batch_size rows with pixels, the last one shorter.

    Args:
        rows: in order.
        batch_size: of the engine.
        parts: makes the parts of the places and the pixels of those rows that have pixels.
    """
    group: list[Row] = []
    readable = 0
    for row in rows:
        group.append(row)
        readable += row[1] is not None
        if readable == batch_size or len(group) >= MAX_ROWS:
            yield _prepared(group, parts)
            group, readable = [], 0
    if group:
        yield _prepared(group, parts)


def _prepared(group: list[Row], parts: Callable[[tuple[int, ...], list[Any]], tuple[Part, ...]]) -> Prepared:
    places = tuple(i for i, row in enumerate(group) if row[1] is not None)
    pixels = [row[1] for row in group if row[1] is not None]
    return Prepared(tuple(row[0] for row in group), parts(places, pixels) if pixels else ())
