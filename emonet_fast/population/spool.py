"""The raw scores of a run in a temporary file, so that the run's own rows can be its population."""

from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..baseline import Baseline
from ..files import ScratchFile
from ..records import Float32Array
from ..scores import Scores
from .measure import measure

# A person seen in fewer rows has no baseline: a spread of so few says nothing.
FEWEST_ROWS = 10
_ROWS = 1 << 16


class Spool:
    """Takes in the rows of a run, and gives baselines of them. Close it, which removes its file.

    Args:
        names: D slugs of the heads.
        metadata: of the scores.

    Attributes:
        rows: rows with scores so far.
    """

    def __init__(self, names: Sequence[str], metadata: Mapping[str, str]) -> None:
        self.rows, self._names, self._metadata = 0, tuple(names), metadata
        self._people: dict[Hashable, int] = {}
        self._codes: list[npt.NDArray[np.int32]] = []
        self._file = ScratchFile()

    def add(self, scores: Scores, people: Sequence[Hashable] = ()) -> None:
        """Take in rows. people: the person of each row; without any, `of_people` has none."""
        ok = np.flatnonzero(scores.ok)
        self.rows += len(ok)
        self._file.write(np.ascontiguousarray(scores.raw[ok]).tobytes())
        if people:
            codes = [self._people.setdefault(people[i], len(self._people)) for i in ok.tolist()]
            self._codes.append(np.array(codes, np.int32))

    def of_all(self) -> Baseline:
        """The baseline of all rows. Raises DataError when there is none."""
        return measure(self._blocks, self._names, self._metadata, ["the run's own rows"])

    def of_people(self) -> dict[Hashable, Baseline]:
        """The baseline of every person who was seen in at least FEWEST_ROWS rows: their own quiet level."""
        if not self.rows or not self._codes:
            return {}
        codes = np.concatenate(self._codes)
        table = np.memmap(self._file.from_start(), np.float32, "r", shape=(self.rows, len(self._names)))
        return {
            person: Baseline.of(table[rows], self._names, self._metadata, ["the person's own rows"])
            for person, code in self._people.items()
            if len(rows := np.flatnonzero(codes == code)) >= FEWEST_ROWS
        }

    def _blocks(self) -> Iterator[Float32Array]:
        width = 4 * len(self._names)
        file = self._file.from_start()
        while data := file.read(_ROWS * width):
            yield np.frombuffer(data, np.float32).reshape(-1, len(self._names))

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
