"""From decoded pictures to rows, the same for every decoder: find faces, cut boxes out, resize.

pictures -> (boxes that are known) -> decode -> (faces found in the pixels) -> crop -> resize -> rows
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..checkpoint.spec import Preprocess
from ..decode import decode, size_fault
from ..options import Options
from ..preprocess import crop, resize
from ..quality import look_of
from ..records import Box, Decoded, Photograph, Picture, Status, UInt8Array
from .base import FaceLocator, Row, Timed

# Pictures, and their pixels, that wait together until faces are looked for in them.
_TOGETHER, _TOGETHER_PIXELS = 4, 32_000_000
# Pixels of a photograph's longer side, for the page of a run.
_SHOWN = 480

# Opens a context to work in, such as a CUDA stream, or one that times the work.
Within: TypeAlias = Callable[[], AbstractContextManager[Any]]

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
        size: width and height of the whole upright picture in pixels; None where `pixels` hold all of it.
        owner: must live as long as `pixels` are read.
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
        """Width and height of the whole upright picture in pixels."""
        height, width = self.pixels.shape[:2]
        return self.size or (int(width), int(height))


def by_pillow(picture: Picture, options: Options) -> Whole:
    """Decode a picture by Pillow. Thread-safe; never raises for bad data."""
    done = decode(picture, options)
    return Whole(picture, done.rgb, done.status, done.reason)


def with_known_boxes(pictures: Iterable[Picture], faces: FaceLocator | None) -> Iterable[Picture]:
    """The pictures with their faces' boxes, where the locator knows these without pixels.

    Where it needs pixels, a source's own boxes are dropped: the locator finds others later.
    """
    if faces is None:
        return pictures
    if faces.needs_pixels:
        return (replace(one, boxes=()) if one.boxes else one for one in pictures)
    return (faces.locate([one], [])[0] if one.status == Status.OK else one for one in pictures)


def located(wholes: Iterable[Whole], faces: FaceLocator | None, within: Within = nullcontext) -> Iterator[Whole]:
    """The decoded pictures with their faces' boxes, where the locator needs pixels; else as they are.

    The locator works inside `within`. Only a few pictures are held at a time.
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


def _located(waiting: list[Whole], faces: FaceLocator, within: Within) -> list[Whole]:
    readable = [whole for whole in waiting if whole.pixels is not None]
    try:
        with within():
            pictures = iter(faces.locate([w.picture for w in readable], [w.pixels for w in readable]))
    except MemoryError as error:  # the memory that faces are looked for in is a picture's own
        if len(readable) > 1:
            return [one for whole in waiting for one in _located([whole], faces, within)]
        status, reason = step_fault(error, "look for faces in")
        return [w if w.pixels is None else replace(w, pixels=None, status=status, reason=reason) for w in waiting]
    return [whole if whole.pixels is None else replace(whole, picture=next(pictures)) for whole in waiting]


def crops(
    whole: Whole,
    max_pixels: int,
    faces: FaceLocator | None,
    *,
    keep_rgb: bool = False,
    cut: Callable[[Any, Box], Any] = crop,
    look: Callable[[Any], tuple[Any, Any]] = look_of,
    to_host: Callable[[Any], UInt8Array] = np.asarray,
) -> list[Row]:
    """The rows of one picture, one or one a box, each with its [h, w, 3] pixels before the resize.

    A status refuses boxes of more than max_pixels. `cut` is preprocess.crop and `look` quality.look_of, or the same
    where the pixels lie; `to_host` brings pixels from there. With keep_rgb the rows of faces have their photograph.
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
    row_faces = picture.faces or (None,) * len(picture.boxes)
    if keep_rgb and picture.faces and whole.region is None:
        row = replace(row, photograph=_photograph(to_host(whole.pixels)))
    for key, box, face in zip(picture.row_keys(), picture.boxes, row_faces, strict=True):
        one = replace(row, key=key, face=face)
        fault = _box_fault(box, width, height, max_pixels)
        if fault is not None:
            rows.append((replace(one, status=fault[0], reason=fault[1]), None))
            continue
        moved = Box(box.left - left, box.top - top, box.right - left, box.bottom - top)
        try:
            pixels = cut(whole.pixels, moved)
            if face is not None:
                sharpness, brightness = look(pixels)
                one = replace(one, face=replace(face, sharpness=sharpness, brightness=brightness))
            rows.append((one, pixels))
        except Exception as error:  # whatever it is, it is this row's
            status, reason = step_fault(error, "crop")
            rows.append((replace(one, status=status, reason=reason), None))
    return rows


def _photograph(rgb: UInt8Array) -> Photograph | None:
    """A small copy of a picture; None where memory does not suffice for it."""
    from PIL import Image  # late: a machine that is handed ready batches needs no Pillow

    try:
        image = Image.fromarray(rgb)
        image.thumbnail((_SHOWN, _SHOWN), Image.Resampling.BOX)
    except MemoryError:
        return None
    return Photograph(np.asarray(image), rgb.shape[1], rgb.shape[0])


def _box_fault(box: Box, width: int, height: int, max_pixels: int) -> tuple[Status, str] | None:
    """Status and reason of a box that cannot be cut from a picture of that size; None where it can."""
    sides = f"{box.left},{box.top},{box.right},{box.bottom}"
    if box.inside(width, height) is None:
        return Status.BAD_INPUT, f"the box {sides} touches no pixel of the picture, {width} x {height}"
    fault = size_fault(box.width, box.height, max_pixels)
    return (Status.TOO_LARGE, f"the box {sides} has {fault}") if fault else None


def step_fault(error: Exception, step: str) -> tuple[Status, str]:
    """Status and reason of the row whose own step failed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's, on a GPU
        return Status.TOO_LARGE, f"not enough memory to {step} it"
    return Status.FAILED, f"to {step} it failed: {type(error).__name__}: {str(error)[:200]}"


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
    for row, rgb in crops(whole, options.max_pixels, faces, keep_rgb=keep_rgb):
        if rgb is None:
            rows.append((row, None))
            continue
        try:
            with timed("preprocess"):
                pixels = resize(rgb, spec)
            # A row must not keep the memory of a whole run of DALI's.
            kept = None if not keep_rgb else rgb if whole.owner is None else rgb.copy()
        except Exception as error:  # whatever it is, it is this row's
            status, reason = step_fault(error, "resize")
            rows.append((replace(row, status=status, reason=reason), None))
            continue
        rows.append((replace(row, rgb=kept), pixels))
    return rows


def ahead(
    start: "Callable[[_Item], Future[_Out] | _Out]", items: Iterable[_Item], depth: int, waiting: Within = nullcontext
) -> Iterator[_Out]:
    """The result of each item in order, with at most `depth` (1 or more) items under way.

    `start` begins the work on an item in another thread, or gives its result at once. Results are waited for inside
    `waiting`.
    """
    under_way: deque[Future[_Out] | _Out] = deque()
    for item in items:
        under_way.append(start(item))
        if len(under_way) >= depth:
            yield _done(under_way.popleft(), waiting)
    while under_way:
        yield _done(under_way.popleft(), waiting)


def _done(work: "Future[_Out] | _Out", waiting: Within) -> _Out:
    if not isinstance(work, Future):
        return work
    with waiting():
        return work.result()
