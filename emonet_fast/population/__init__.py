"""Scores that are stored already: what is usual in them, exactly and in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..baseline import Baseline
from ..records import Float32Array
from .measure import measure
from .stored import StoredScores


def baseline_of(places: Sequence[Path], progress: Callable[[int], None] = lambda rows: None) -> Baseline:
    """The population baseline of stored scores; see docs/baselines.md.

    Args:
        places: files (.parquet, .csv, .jsonl, .xlsx) and folders of `emonet-fast bulk`, all of one checkpoint and
            precision.
        progress: called with the number of rows of each block that was read; long files are read eight times.

    Raises:
        DataError: when a file cannot be read or is not like the others (see `StoredScores`), or no row has scores.
    """
    stored = StoredScores(places)

    def blocks() -> Iterator[Float32Array]:
        for block in stored.blocks():
            yield block
            progress(len(block))

    figures = measure(blocks, stored.names, stored.metadata, [str(place) for place in places])
    return replace(figures, neutral_mean=stored.neutral_mean, left_out=dict(stored.left_out))
