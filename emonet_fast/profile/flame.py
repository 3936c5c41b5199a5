"""A flame graph of the run by pyinstrument (extra `profile`), which samples the stack and slows the run little."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..files import write_whole
from ..optional import need

INTERVAL = 0.001  # seconds between two samples
SUFFIXES = (".html", ".json")
_PACKAGE = Path(__file__).parents[1]


class Flame:
    """A sampler of the stack, and the file that it writes: F.html, or F.json for speedscope.

    Raises OptionError when the name has another ending, and MissingPackageError when pyinstrument is not installed.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise OptionError(f"{path} came for the flame graph; expected a name that ends in {' or '.join(SUFFIXES)}")
        self.path = path
        pyinstrument = need("pyinstrument", "the flame graph")
        self._profiler: Any = pyinstrument.Profiler(interval=INTERVAL, async_mode="disabled")

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Sample during a `with` block."""
        self._profiler.start(target_description="emonet-fast profile")
        try:
            yield
        finally:
            self._profiler.stop()

    def write(self) -> list[Path]:
        """Write the file, whole or not at all, and return it. A run too short for a sample gives an empty graph."""
        session = self._profiler.last_session
        session.sys_prefixes = [place for one in session.sys_prefixes for place in libraries(Path(one), _PACKAGE)]
        if self.path.suffix.lower() == ".json":
            renderers = need("pyinstrument.renderers", "the flame graph")
            text = self._profiler.output(renderers.SpeedscopeRenderer())
        else:
            text = without_fetches(self._profiler.output_html())
        write_whole(self.path, text.encode("utf-8"))
        return [self.path]


def libraries(prefix: Path, package: Path) -> Iterator[str]:
    """The places below a prefix of Python's that are not the package's: pyinstrument hides what lies in a prefix."""
    if not package.is_relative_to(prefix):
        yield str(prefix)
    elif package != prefix:
        for place in prefix.iterdir():
            yield from libraries(place, package)


def without_fetches(page: str) -> str:
    """pyinstrument's page without the fonts that it would fetch from a server."""
    return re.sub(r"https://fonts\.(googleapis|gstatic)\.com[^\"'\s<>)]*", "data:text/css,", page)
