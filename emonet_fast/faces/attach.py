"""Pictures to pictures with a box a face: what stands between a source and the decoder for `--faces detect`."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..decode import decode
from ..options import Options
from ..records import Face, Picture, Status, UInt8Array
from .crop import MARGIN, face_crop
from .detector import FaceFinder
from .network import BATCH

# Decoded pixels that wait together for the detector, beside the picture that goes over it.
_MAX_WAITING_PIXELS = 32_000_000


class WithFaces:
    """Gives each picture of `pictures` boxes, one a face, by the finder; in order, in bounded memory.

    A picture without any face becomes one with status `no_face`. What cannot be decoded passes unchanged, and the
    decoder says why. Faces are looked for in the upright picture (options.exif), whose pixels are handed on, so that
    nothing is decoded twice; only where decoding left a note, the picture goes on as it came. Iterate once.

    take(key): the face of a row that was handed on, once; None for rows without one. What nobody takes stays: take
    every row's, or none is kept with `keep=False`. seconds: spent in "decode" and "detect".
    """

    def __init__(
        self,
        pictures: Iterable[Picture],
        finder: FaceFinder,
        options: Options,
        *,
        margin: float = MARGIN,
        keep: bool = True,
    ) -> None:
        face_crop(Face(0, 0, 1, 1), margin)  # a margin that cannot work is said at once
        self.finder = finder
        self.seconds = {"decode": 0.0, "detect": 0.0}
        self._pictures, self._options, self._margin, self._keep = pictures, options, margin, keep
        self._faces: dict[str, Face] = {}

    @property
    def metadata(self) -> dict[str, str]:
        """What an output says of how its faces came about."""
        return {"faces": self.finder.name, "face_margin": f"{self._margin:g}"}

    def take(self, key: str) -> Face | None:
        """The face of the row `key`, the first time it is asked for."""
        return self._faces.pop(key, None)

    def __iter__(self) -> Iterator[Picture]:
        waiting: list[tuple[Picture, UInt8Array | None]] = []
        pixels = 0
        for picture in self._pictures:
            given, rgb = self._decoded(picture)
            waiting.append((given, rgb))
            pixels += 0 if rgb is None else rgb.shape[0] * rgb.shape[1]
            if len(waiting) >= BATCH or pixels >= _MAX_WAITING_PIXELS:
                yield from self._found(waiting)
                waiting, pixels = [], 0
        yield from self._found(waiting)

    def _decoded(self, picture: Picture) -> tuple[Picture, UInt8Array | None]:
        began = time.perf_counter()
        settings = self._options
        whole = decode(picture, exif=settings.exif, max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
        self.seconds["decode"] += time.perf_counter() - began
        if whole.rgb is None:
            return picture, None
        return (picture if whole.reason else replace(picture, data=whole.rgb)), whole.rgb

    def _found(self, waiting: list[tuple[Picture, UInt8Array | None]]) -> Iterator[Picture]:
        began = time.perf_counter()
        there = [(picture.key, rgb) for picture, rgb in waiting if rgb is not None]
        faces = iter(self.finder.detect([rgb for _, rgb in there], [key for key, _ in there]))
        self.seconds["detect"] += time.perf_counter() - began
        for picture, rgb in waiting:
            yield picture if rgb is None else self._boxed(picture, next(faces))

    def _boxed(self, picture: Picture, faces: tuple[Face, ...]) -> Picture:
        if not faces:
            return replace(picture, data=None, status=Status.NO_FACE, reason=f"no face found by {self.finder.name}")
        given = replace(picture, boxes=tuple(face_crop(face, self._margin) for face in faces))
        if self._keep:
            self._faces |= dict(zip(given.row_keys(), faces, strict=True))
        return given
