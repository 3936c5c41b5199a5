"""The contract of every decoder: pictures in, batches of the network's input out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..records import Decoded, Picture

# A row and its pixels (a crop, or the network's input); None where it has none.
Row: TypeAlias = tuple[Decoded, Any]
# Times a stage by its name.
Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
# A batch of more rows is handed on, however few of them have pixels: a folder of broken files still streams.
MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one engine call.

    Args:
        places: where these rows stand in Prepared.rows.
        pixels: [n, 3, S, S] uint8: a numpy array, or anything with `__dlpack__` on the GPU.
        on_device: whether the pixels lie on the GPU.
    """

    places: tuple[int, ...]
    pixels: Any
    on_device: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Consecutive rows in the order of the pictures, and the network's input of those that have pixels."""

    rows: tuple[Decoded, ...]
    parts: tuple[Part, ...]


# Makes the parts of a batch of the places and the pixels of those rows that have pixels.
MakeParts: TypeAlias = Callable[[tuple[int, ...], list[Any]], tuple[Part, ...]]


class FaceLocator(Protocol):
    """Gives pictures the boxes of their faces. A decoder calls it; faces.PictureFaces fulfils it."""

    @property
    def name(self) -> str:
        """What finds the faces, for the reason of a row without a face."""
        ...

    @property
    def needs_pixels(self) -> bool:
        """Whether faces are looked for in decoded pictures; else a picture gets its boxes before it is decoded."""
        ...

    def locate(self, pictures: Sequence[Picture], pixels: Sequence[Any]) -> list[Picture]:
        """The same pictures with `faces` and `boxes`.

        Pixels are [H, W, 3] uint8 RGB, upright: numpy arrays, or torch tensors on the GPU. None come where the locator
        does not need them.
        """
        ...


class Decoder(Protocol):
    """Pictures to batches.

    Attributes:
        name: for the run's summary.
        reads_ahead: whether it decodes beside its caller, into buffers that it uses again. Then the thread that hands
            batches to the engine takes them from the decoder.
    """

    name: str
    reads_ahead: bool

    def batches(
        self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """Batches of at most batch_size rows with pixels. Never raises for bad data.

        Each picture, encoded or as pixels, is decoded once. It gives one row, or one for each of its boxes, in order.
        With keep_rgb rows carry their pixels before the resize. Memory does not grow with the number of pictures.
        Buffers and threads end with the iteration.
        """
        ...

    def note(self) -> str:
        """Which decoder has read how many pictures so far, for people; "" where one has read all."""
        ...


def stacked(places: tuple[int, ...], pixels: list[Any]) -> tuple[Part, ...]:
    """A batch's rows [3, S, S] on the host as its one part."""
    return (Part(places, np.stack(pixels)),)


def grouped(rows: Iterable[Row], batch_size: int, parts: MakeParts = stacked) -> Iterator[Prepared]:
    """Rows to batches of exactly batch_size rows with pixels; the last batch may be shorter."""
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


def _prepared(group: list[Row], parts: MakeParts) -> Prepared:
    places = tuple(i for i, row in enumerate(group) if row[1] is not None)
    pixels = [row[1] for row in group if row[1] is not None]
    return Prepared(tuple(row[0] for row in group), parts(places, pixels) if pixels else ())
