"""The one place where bulk scoring meets the detector of faces: an option to a step of the row pipeline."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ..errors import OptionError
from ..options import Options
from ..records import Picture

# Pictures in, the same pictures in the same order out, with boxes or a status where no face was found.
Finder: TypeAlias = Callable[[Iterable[Picture]], Iterable[Picture]]


def finder(faces: str, options: Options) -> Finder:
    """The step for `faces`: "none" leaves pictures as they are.

    Raises:
        OptionError: "detect" is not to be had in this version.
    """
    if faces == "none":
        return lambda pictures: pictures
    raise OptionError("faces 'detect' is not part of this version; crop the faces out first, and use faces 'none'")
