"""From decoded pictures to rows, the same for every decoder: find faces, cut boxes out, resize.

pictures -> (boxes that are known) -> decode -> (faces found in the pixels) -> crop -> resize -> rows
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..checkpoint.spec import Preprocess
from ..decode import decode
from ..options import Options
from ..preprocess import crop, resize
from ..records import Box, Decoded, Picture, Status
from .base import FaceLocator, Row, Timed

# Pictures, and their pixels, that wait together until faces are looked for in them.
_TOGETHER, _TOGETHER_PIXELS = 4, 32_000_000

_Item = TypeVar("_Item")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Whole:
    """One decoded picture, or why there is none.

    Args:
        picture: what was decoded, with its boxes as far as they are known.
        pixels: [h, w, 3] uint8 RGB, upright: a numpy array, or a torch tensor on the GPU; None unless status is OK.
        status: see Decoded.
        reason: see Decoded.
        region: the part of the picture that `pixels` holds; None for all of it.
        size: width and height of the upright picture in pixels, where region is given.
        owner: what must live as long as `pixels` are read.
    """

    picture: Picture
    pixels: Any
    status: Status = Status.OK
    reason: str = ""
    region: Box | None = None
    size: tuple[int, int] | None = None
    owner: object = None

    @property
    def width_height(self) -> tuple[int, int]:
        """Of the upright picture, in pixels."""
        height, width = self.pixels.shape[:2]
        return self.size or (int(width), int(height))


def by_pillow(picture: Picture, options: Options) -> Whole:
    """Decode a picture by Pillow. Thread-safe; never raises for bad data."""
    done = decode(picture, exif=options.exif, max_pixels=options.max_pixels, max_bytes=options.max_bytes)
    return Whole(picture, done.rgb, done.status, done.reason)


def with_known_boxes(pictures: Iterable[Picture], faces: FaceLocator | None) -> Iterable[Picture]:
    """The pictures with their faces' boxes, where the locator knows these without pixels.

    Boxes that a source gave give way to those that the locator finds later.
    """
    if faces is None:
        return pictures
    if faces.needs_pixels:
        return (replace(one, boxes=()) if one.boxes else one for one in pictures)
    return (faces.locate([one], [])[0] if one.status == Status.OK else one for one in pictures)


def located(
    wholes: Iterable[Whole],
    faces: FaceLocator | None,
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[Whole]:
    """The decoded pictures with their faces' boxes, where the locator needs pixels; else as they are.

    Args:
        wholes: in order; only a few are held at a time.
        faces: see Decoder.batches.
        within: opens the context in which the locator works, such as a CUDA stream.
    """
    if faces is None or not faces.needs_pixels:
        yield from wholes
        return
    waiting: list[Whole] = []
    pixels = 0
    for whole in wholes:
        waiting.append(whole)
        if whole.pixels is not None:
            width, height = whole.width_height
            pixels += width * height
        if len(waiting) >= _TOGETHER or pixels >= _TOGETHER_PIXELS:
            yield from _located(waiting, faces, within)
            waiting, pixels = [], 0
    yield from _located(waiting, faces, within)


def _located(
    waiting: list[Whole], faces: FaceLocator, within: Callable[[], AbstractContextManager[Any]]
) -> list[Whole]:
    readable = [whole for whole in waiting if whole.pixels is not None]
    with within():
        pictures = iter(faces.locate([w.picture for w in readable], [w.pixels for w in readable]))
    return [whole if whole.pixels is None else replace(whole, picture=next(pictures)) for whole in waiting]


def crops(whole: Whole, max_pixels: int, faces: FaceLocator | None, cut: Callable[[Any, Box], Any] = crop) -> list[Row]:
    """The rows of one picture, one or one a box, each with its [h, w, 3] pixels before the resize.

    Args:
        whole: the decoded picture.
        max_pixels: larger boxes are refused by a status.
        faces: what gave the picture its boxes.
        cut: preprocess.crop, or the same where the pixels lie.
    """
    picture = whole.picture
    row = Decoded(picture.key, None, whole.status, whole.reason, origin=picture.origin)
    if whole.pixels is None:
        # What cannot be read has one row where faces were to be found, however many a file names in it.
        keys = picture.row_keys() if faces is None else (picture.key,)
        return [(replace(row, key=key), None) for key in keys]
    if picture.faces == ():
        finder = "" if faces is None else f" by {faces.name}"
        return [(replace(row, status=Status.NO_FACE, reason=f"no face found{finder}"), None)]
    if not picture.boxes:
        return [(row, whole.pixels)]
    width, height = whole.width_height
    left, top = (whole.region.left, whole.region.top) if whole.region else (0, 0)
    rows: list[Row] = []
    for key, box, face in zip(
        picture.row_keys(), picture.boxes, picture.faces or (None,) * len(picture.boxes), strict=True
    ):
        one = replace(row, key=key, face=face)
        fault = box_fault(box, width, height, max_pixels)
        if fault is not None:
            rows.append((replace(one, status=fault[0], reason=fault[1]), None))
            continue
        moved = Box(box.left - left, box.top - top, box.right - left, box.bottom - top)
        rows.append((one, cut(whole.pixels, moved)))
    return rows


def box_fault(box: Box, width: int, height: int, max_pixels: int) -> tuple[Status, str] | None:
    """Status and reason of a box that cannot be cut from a picture of that size; None where it can."""
    sides = f"{box.left},{box.top},{box.right},{box.bottom}"
    if box.inside(width, height) is None:
        return Status.BAD_INPUT, f"the box {sides} touches no pixel of the picture, {width} x {height}"
    pixels = box.width * box.height
    if pixels > max_pixels:
        return Status.TOO_LARGE, f"the box {sides} has {pixels:,} pixels; max_pixels allows {max_pixels:,}"
    return None


def resized(
    whole: Whole,
    spec: Preprocess,
    options: Options,
    keep_rgb: bool,
    timed: Timed = lambda stage: nullcontext(),
    faces: FaceLocator | None = None,
) -> list[Row]:
    """The rows of one picture on the host, each with the network's input [3, S, S] uint8. Thread-safe."""
    rows: list[Row] = []
    for row, rgb in crops(whole, options.max_pixels, faces):
        if rgb is None:
            rows.append((row, None))
            continue
        with timed("preprocess"):
            pixels = resize(rgb, spec)
        rows.append((replace(row, rgb=rgb if keep_rgb else None), pixels))
    return rows


def ahead(
    start: "Callable[[_Item], Future[_Out] | _Out]",
    items: Iterable[_Item],
    depth: int,
    waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[_Out]:
    """What was started for each item, in order, with at most `depth` items under way.

    Args:
        start: begins the work on an item in another thread; or gives its result at once.
        items: read as far ahead as `depth` says.
        depth: 1 or more.
        waiting: opens the context in which a result is waited for, to time that.
    """
    under_way: deque[Future[_Out] | _Out] = deque()
    for item in items:
        under_way.append(start(item))
        if len(under_way) >= depth:
            yield _done(under_way.popleft(), waiting)
    while under_way:
        yield _done(under_way.popleft(), waiting)


def _done(work: "Future[_Out] | _Out", waiting: Callable[[], AbstractContextManager[Any]]) -> _Out:
    if not isinstance(work, Future):
        return work
    with waiting():
        return work.result()
