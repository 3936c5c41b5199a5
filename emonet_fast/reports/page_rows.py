"""The rows of a page of pictures as its script reads them: lines of JSON in a temporary file.

A line is `[key, status, reason, raw, picture, box, photograph]`: raw scores are base64 of little-endian float32,
pictures base64 of WebP; a box is a face's number and its place in parts of its photograph, which comes with the first
face. "" is what is not there.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from ..files import ScratchFile
from ..records import Float32Array
from ..text import visible

# Characters of all pictures of a page, so that one of 10,000 rows stays below 30 MB.
ROOM = 24_500_000
# Bytes of a picture and of a photograph, and what is tried in turn until they have no more: pixels of the longer side
# and quality.
PICTURE = (1_760, ((128, 55), (112, 40), (80, 25), (48, 20)))
_PHOTOGRAPH = (6_000, ((280, 50), (200, 40), (112, 25)))
_IN_MEMORY = 1 << 23
_REASON = 400  # characters of a reason


class PageRows:
    """Takes in lines, and gives them back once. Close it, which removes its file.

    Attributes:
        count: lines so far.
        without: lines whose picture had no room.
        room: characters that further pictures may have. Who puts pictures into the page itself takes theirs from it.
    """

    def __init__(self) -> None:
        self.count = self.without = 0
        self.room = ROOM
        self._file = ScratchFile(_IN_MEMORY)

    def add(
        self,
        texts: tuple[str, str, str],
        raw: Float32Array | None,
        picture: Image.Image | None = None,
        box: Sequence[float] = (),
        photograph: Image.Image | None = None,
    ) -> None:
        """Take in one row.

        Args:
            texts: key, status and reason.
            raw: [D] raw scores; None without scores.
            picture: to be shown small; None where there is none, or the page has it itself.
            box: number of the face, then left, top, width and height as parts of its photograph; () without one.
            photograph: that the row is the first face of.
        """
        key, status, reason = (visible(text) for text in texts)
        numbers = "" if raw is None else base64.b64encode(raw.astype("<f4").tobytes()).decode()
        line: list[Any] = [key, status, reason[:_REASON], numbers, self._small(picture, *PICTURE)]
        line += [list(box) or "", self._small(photograph, *_PHOTOGRAPH)]
        self._file.write((as_json(line) + "\n").encode())
        self.count += 1

    def _small(self, image: Image.Image | None, most: int, tried: Sequence[tuple[int, int]]) -> str:
        if image is None:
            return ""
        data = b""
        for side, quality in tried:
            small = image.convert("RGB")
            small.thumbnail((side, side), Image.Resampling.BOX)
            out = io.BytesIO()
            small.save(out, "WEBP", quality=quality, method=2)  # half the time of the usual 4, for 5% more bytes
            data = out.getvalue()
            if len(data) <= most:
                break
        if len(data) * 4 / 3 > self.room:
            self.without += 1
            return ""
        text = base64.b64encode(data).decode()
        self.room -= len(text)
        return text

    def __iter__(self) -> Iterator[str]:
        for place, line in enumerate(self._file.from_start()):
            yield ("," if place else "") + line.decode()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def as_json(value: Any) -> str:
    """JSON that may stand in an element `script`: no text of it can end that, whatever it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
