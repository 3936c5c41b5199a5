"""Whether what a user named as inputs are stored embeddings, or pictures."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...records import Picture
from ...text import listed
from ..lists import expand
from ..remote import is_remote
from ..table import NoImageColumnError, choose_column, is_table_name, open_table
from . import Embeddings, is_embeddings_name
from .tables import columns_beside
from .vectors import is_vectors

if TYPE_CHECKING:
    import pyarrow


class StoredInputs:
    """Stored embeddings where a run expects pictures: a row each, whose data is the embedding. See `sources.Inputs`.

    Attributes:
        carried: what the tables have beside scores, such as faces and tracks, and in this order each picture's origin;
            None where some file is no table of ours.
        notes: what a reader of the scores must know of the embeddings.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.carried: pyarrow.Schema | None = None
        known = [columns_beside(file) for file in embeddings.files]
        if known[0] and all(known[0].equals(one) for one in known):
            self.carried = known[0]
            embeddings = embeddings.with_columns(known[0].names)
        lost = {name for one in known for name in one.names} if self.carried is None else set[str]()
        note = f"columns that not all inputs have, or of another type, were left out: {listed(sorted(lost))}"
        self.notes = (*embeddings.notes, *([note] if lost else []))
        self.embeddings, self.total = embeddings, embeddings.rows
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Picture]:
        return self.embeddings.pictures()

    def paths(self) -> Iterator[str]:
        """The files that are read."""
        for file in self.embeddings.files:
            yield from (file.path, *([] if file.table is None else [str(file.table)]))


def stored_embeddings(inputs: Sequence[str], image_column: str | None, column: str | None) -> Embeddings | None:
    """The embeddings that inputs hold; None where they are pictures.

    NumPy files and folders of `emonet-fast bulk` hold embeddings, and so do parquet tables without an image column that
    have lists of floats. Where a table has both, its pictures are scored, unless `column` names the embeddings.

    Raises InputError when some inputs hold embeddings and others pictures; and as Embeddings does.
    """
    stored: list[str] = []
    other = ""
    for place in chain.from_iterable(_places(text) for named in inputs for text in expand(str(named))):
        if _holds_embeddings(place, image_column, column):
            stored.append(place)
        else:
            other = other or place
    if (stored and other) or (column is not None and not stored):
        first = f"{stored[0]!r} holds embeddings" if stored else f"the embeddings' column is {column!r}"
        raise InputError(f"{first}, and {other!r} does not; score pictures and embeddings by a command each")
    return Embeddings(stored, column=column) if stored else None


def _places(text: str) -> list[str]:
    """The files that a pattern matches; any other text is itself a place."""
    if os.path.lexists(text) or is_remote(text) or "\0" in text or not glob.has_magic(text):
        return [text]
    return sorted(glob.glob(text, recursive=True)) or [text]  # noqa: PTH207 - as search_glob reads patterns


def _holds_embeddings(place: str, image_column: str | None, column: str | None) -> bool:
    if is_embeddings_name(place):
        return True
    if not is_table_name(place):
        return Path(place, "plan.json").is_file() or (column is not None and Path(place).is_dir())
    if column is not None or image_column is not None:
        return column is not None
    try:
        with open_table(place) as file:
            schema = file.schema_arrow
        choose_column(schema, None, place)
    except NoImageColumnError:
        return any(is_vectors(field.type) for field in schema)
    except Exception:  # the run says what is wrong with it
        return False
    return False
