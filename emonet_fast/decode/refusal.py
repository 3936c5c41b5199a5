"""Why a picture has no pixels, on its way to its row."""

import re

from PIL import Image

from ..records import Status

_UNSUPPORTED = re.compile(r"unsupported|not supported|unknown (pixel mode|data organization|compression)", re.I)


class RefusalError(Exception):
    """Why there are no pixels; never leaves this room."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def broken(name: str, error: Exception) -> RefusalError:
    """The status that an error of Pillow means, on data that begin as an image of the format `name` ("": no data)."""
    reason = f"{name}: {text(error)}" if name else text(error)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return RefusalError(Status.TOO_LARGE, reason)
    if isinstance(error, MemoryError):
        return RefusalError(Status.TOO_LARGE, f"{name}: not enough memory for its pixels".removeprefix(": "))
    if _UNSUPPORTED.search(str(error)):
        return RefusalError(Status.NOT_AN_IMAGE, reason)
    return RefusalError(Status.TRUNCATED, reason)


def text(error: Exception) -> str:
    """An error in one line of at most 300 characters."""
    return " ".join(str(error)[:300].split()) or type(error).__name__
