"""Tables at a URL: written here as any other, and put there whole at the end of the run.

Object stores show a file when all of it has come, so nobody meets half a table. Until it is there, it stays here.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import EmonetError, OptionError
from ..sources.remote import is_remote, plain_errors, system_of
from ..text import without_secrets
from .growing import SUFFIX


class Deliveries:
    """The outputs of a run that lie elsewhere.

    Args:
        names: outputs as the user named them, paths and URLs.
        inputs: what is read, which no output may replace.

    Attributes:
        paths: where each output is written; a URL's in a folder for temporary files.
        urls: the URL of each such path, without secrets.

    Raises:
        OptionError: for a web address, a URL that is given twice or is an input, or where nothing can be written.
        MissingPackageError: without the package of a scheme.
    """

    def __init__(self, names: Sequence[str], inputs: Iterable[object] = ()) -> None:
        there = [name for name in names if is_remote(name)]
        read = [text for text in inputs if isinstance(text, str) and is_remote(text)]
        for i, url in enumerate(there):
            if url in there[:i] or any(url == text or fnmatchcase(url, text) for text in read):
                raise OptionError(f"output {without_secrets(url)} is an input or another output too; name another one")
            _try(url)
        self._folder = Path(tempfile.mkdtemp(prefix="emonet-fast-")) if there else None
        self._targets: dict[Path, str] = {}
        self.paths = tuple(self._local(i, name) for i, name in enumerate(names))
        self.urls = {path: without_secrets(url) for path, url in self._targets.items()}

    def _local(self, number: int, name: str) -> Path:
        if not is_remote(name):
            return Path(name)
        assert self._folder is not None  # noqa: S101 - made for the first URL
        place = self._folder / str(number)
        place.mkdir()
        self._targets[place / name.rpartition("/")[2]] = name
        return next(reversed(self._targets))

    def put(self, *, early: bool) -> tuple[list[str], list[str]]:
        """Put the tables that are whole to their URLs. Returns what was put, and why others were not.

        early: the run was cut short: it then never replaces an older file.
        """
        done, faults = [], []
        for path, url in self._targets.items():
            try:
                if path.exists():
                    _put(path, url, early)
                    done.append(self.urls[path])
            except (EmonetError, OSError, ValueError) as error:
                faults.append(f"{self.urls[path]}: {error}; the table is here: {path}")
            if path.with_name(path.name + SUFFIX).exists():
                faults.append(f"{self.urls[path]}: its rows are here, see `emonet-fast recover`: {path}{SUFFIX}")
        if self._folder is not None and not faults:
            shutil.rmtree(self._folder, ignore_errors=True)
        return done, faults


def _try(url: str) -> None:
    """Raise OptionError where no file can be written: found out by an empty one, before anything is scored."""
    if urlsplit(url).scheme.lower() in ("http", "https"):
        raise OptionError(
            f"nothing can be written to {without_secrets(url)}: the web takes no files; take s3:// or gs://"
        )
    system, path = system_of(url)
    try:
        with plain_errors():
            system.pipe_file(path + SUFFIX, b"")
            system.rm_file(path + SUFFIX)
    except OSError as error:
        raise OptionError(f"nothing can be written to {without_secrets(url)}: {error}") from None


def _put(path: Path, url: str, early: bool) -> None:
    """Put a table, and before it what lies beside it. Raises EmonetError or OSError."""
    system, target = system_of(url)
    with plain_errors():
        if early and system.exists(target):
            raise EmonetError("the run ended early, and an older file is there, which stays")
        for file in sorted(path.parent.iterdir(), key=lambda file: (file == path, file.name)):
            place = f"{target.rpartition('/')[0]}/{file.name}"
            if not file.name.endswith((SUFFIX, ".tmp")):
                system.put_file(str(file), place)
                if system.info(place)["size"] != file.stat().st_size:
                    raise EmonetError("it has another size there than here")
