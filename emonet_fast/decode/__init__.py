"""A Picture to upright RGB pixels, or to a status and a reason, by Pillow: the definition for every other decoder.

Files in the order of data: formats (who reads which bytes), cost (time and memory, known before decoding), frames
(how many there are), upright (orientation), rgb (pixels and notes), picture (all of it, for one picture). `switches`
keeps what a program has set in Pillow away from the results.
"""

from .cost import size_fault
from .formats import FORMATS, Format
from .picture import Header, decode, read_header
from .upright import TURNS, orientation_of

__all__ = [
    "FORMATS",
    "TURNS",
    "Format",
    "Header",
    "decode",
    "orientation_of",
    "read_header",
    "size_fault",
]
