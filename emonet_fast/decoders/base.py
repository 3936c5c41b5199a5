"""The contract that every decoder fulfils: pictures in, batches of the network's input out."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from ..records import Decoded, Picture, UInt8Array

# A row and its network input [3, S, S] uint8, None where it could not be read.
Row: TypeAlias = tuple[Decoded, UInt8Array | None]
# Times a stage by its name.
Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
# Rows without pixels that may ride in one batch before it is handed on, so that a folder of broken files still
# streams.
MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one engine call. places: in Prepared.rows.

    pixels: [n, 3, S, S] uint8, a numpy array, or anything with __dlpack__ on the GPU (`on_device`).
    """

    places: tuple[int, ...]
    pixels: Any
    on_device: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Some consecutive rows in order, and the pixels of those that could be read."""

    rows: tuple[Decoded, ...]
    parts: tuple[Part, ...]


class Decoder(Protocol):
    """Pictures to batches.

    name: for the run's summary. reads_ahead: it decodes beside its caller, into buffers that
    it uses again: its batches are taken by the thread that hands them to the engine.
    """

    name: str
    reads_ahead: bool

    def batches(self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool) -> Iterator[Prepared]:
        """Batches of at most batch_size readable rows, all but the last of exactly that where it lies on the host.

        One row a picture, or one a box of it, in order; never raises for bad data. keep_rgb: rows carry their
        picture (Decoded.rgb). Memory is bounded by the batch size and the pixel limits, not by the number of pictures.
        """
        ...

    def note(self) -> str:
        """How many pictures which decoder has read so far, for people; "" where that goes without saying."""
        ...

    def close(self) -> None:
        """Free buffers and threads. The decoder opens again at its next use."""
        ...


def grouped(rows: Iterable[Row], batch_size: int) -> Iterator[Prepared]:
    """Rows to batches of exactly batch_size readable ones, the last one shorter."""
    group: list[Row] = []
    readable = 0
    for row in rows:
        group.append(row)
        readable += row[1] is not None
        if readable == batch_size or len(group) >= MAX_ROWS:
            yield _prepared(group)
            group, readable = [], 0
    if group:
        yield _prepared(group)


def _prepared(group: list[Row]) -> Prepared:
    places = tuple(i for i, row in enumerate(group) if row[1] is not None)
    pixels = [row[1] for row in group if row[1] is not None]
    return Prepared(tuple(row[0] for row in group), (Part(places, np.stack(pixels)),) if pixels else ())


def in_proportion(pixels: UInt8Array, width: int, height: int) -> UInt8Array:
    """[3, S, S] network input as [h, w, 3] in the proportions of a width x height picture, at most S on a side."""
    size = pixels.shape[1]
    factor = size / max(width, height)
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return np.asarray(image.resize(shape, Image.Resampling.BOX))
