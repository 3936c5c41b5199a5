"""Pictures that are named neutral, and what heads give for them: the statistics that scores are read against."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint.heads import Layers
from ..errors import DataError, OptionError
from ..records import Float32Array
from ..sources.embeddings import Embeddings
from ..sources.keys import Names
from .stack import scores_of


@dataclass(frozen=True, slots=True)
class Neutral:
    """Which rows of stored embeddings are of neutral pictures: those of a list, or those of a value in a column.

    Args:
        words: as a user gave it.
        keys: names of pictures.
        column: of the embeddings' table.
        value: which its neutral rows have.
    """

    words: str
    keys: tuple[str, ...] = ()
    column: str = ""
    value: str = ""

    @classmethod
    def of(cls, text: str) -> "Neutral":
        """COLUMN=VALUE, or a file with the name of a picture in each line. Raises OptionError for anything else."""
        column, equals, value = text.partition("=")
        if equals and column and not Path(text).exists():
            return cls(text, (), column, value)
        try:
            lines = Path(text).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                f"--neutral {text} came ({error}); expected COLUMN=VALUE, or a file with a picture's name in each line"
            ) from None
        keys = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not keys:
            raise OptionError(f"--neutral {text} is empty; expected a picture's name in each line")
        return cls(text, keys)

    def values(self, embeddings: Embeddings, l2_normalise: bool) -> Float32Array:
        """[n, width] float32 embeddings of the neutral pictures, as heads take them.

        Raises DataError where there is none, or the column is missing.
        """
        embeddings = embeddings.with_columns((self.column,) if self.column else ())
        names = Names(self.keys, endings=False) if self.keys else None
        found = []
        for batch in embeddings.batches():
            if names is None:
                named = [str(value) == self.value for value in batch.columns.column(self.column).to_pylist()]
            else:
                named = [names.find(key) is not None for key in batch.keys]
            rows = batch.values[np.array(named, bool) & batch.ok]
            found.append(normalised(rows) if l2_normalise else rows)
        chosen = np.concatenate(found) if found else np.empty((0, embeddings.width), np.float32)
        if not len(chosen):
            raise DataError(f"no row of the embeddings is neutral by {self.words}; expected at least one")
        return chosen


def normalised(values: Float32Array) -> Float32Array:
    """Rows divided by their L2 norm."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def neutral_statistics(heads: Mapping[str, Layers], values: Float32Array) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each head's raw scores of neutral pictures, in float64."""
    scores = scores_of(heads, values).astype(np.float64)
    return {name: (float(scores[:, h].mean()), float(scores[:, h].std())) for h, name in enumerate(heads)}
