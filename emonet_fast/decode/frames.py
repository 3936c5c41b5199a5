"""How many frames a file has, counted without decoding any and never beyond a hundred."""

from itertools import islice

from PIL import ImageFile

from .tags import directories

MOST = 100
_STEPS = 1_000_000  # blocks of a GIF that are looked at


def frames_note(image: ImageFile.ImageFile, data: bytes) -> str:
    """The row's note on the frames after the first one; "" where there is none."""
    if image.format == "GIF":
        count = _gif_frames(data)
    elif image.format == "TIFF":
        count = _tiff_frames(data)
    else:
        count = int(getattr(image, "n_frames", 1))
    if count == 0:
        return "first frame; the others are damaged"
    return f"first of {count if count <= MOST else f'more than {MOST}'} frames" if count > 1 else ""


def _tiff_frames(data: bytes) -> int:
    """Directories, MOST + 1 at most; 0 where the one after the first is missing or damaged."""
    found = list(islice(directories(data), MOST + 1))
    return 0 if len(found) == 1 and found[0].following else len(found)


def _gif_frames(data: bytes) -> int:
    """Frames, MOST + 1 at most; 0 where the file ends within one after the first."""
    at, count = 13 + palette_bytes(data, 10), 0
    for _ in range(_STEPS):
        kind = data[at : at + 1]
        if kind == b"!":
            at += 2
        elif kind == b",":
            count += 1
            if count > MOST:
                return count
            at += 11 + palette_bytes(data, at + 9)
        elif kind == b"\0":  # Pillow passes over what is no block
            at += 1
            continue
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
        if at >= len(data):
            return 0 if count > 1 else count
        at += 1
    return count


def palette_bytes(data: bytes, flags: int) -> int:
    """Bytes of the palette that the flags at that place announce."""
    return 3 << (data[flags] & 7) + 1 if flags < len(data) and data[flags] & 128 else 0
