"""Comparisons and leaks from files to results: what the commands call, and what users call."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import bars
from ..errors import DataError, OptionError
from ..evaluate.metrics import BOOTSTRAPS
from ..evaluate.predictions import read_predictions
from ..evaluate.result import Result
from ..files import place_of
from ..optional import need
from ..sources.embeddings import Embeddings
from ..splits import DUPLICATE
from ..targets import Reading, read_targets
from ..text import counted, listed
from .joined import join_predictions, with_truth
from .leaks import LeakSide, leaks_between
from .paired import Draws, agreement, compare
from .tables import comparison_result, leaks_result

_MOST_DRAWS = 10_000


def compare_predictions(
    a: object,
    b: object,
    truth: object = None,
    *,
    values: str = "raw",
    how: Reading = Reading(),  # noqa: B008 - it is frozen
    unit: str | None = None,
    bootstraps: int = BOOTSTRAPS,
    progress: str = "none",
) -> Result:
    """Put two sets of predictions side by side (extra `eval`), of all heads that both have, whatever their names.

    Args:
        a, b: files of `emonet-fast score` or of the published layout, Scores, or tables; as of `evaluate_hq`.
        truth: labels, as of targets.read_targets; None compares A and B alone.
        values: "raw" or "score", which number of each head.
        how: how labels are read.
        unit: what a resample draws: "picture", or a column of persons or sources of the truth; None takes the first
            such column, else pictures.
        bootstraps: resamples of each interval, at most 10,000.
        progress: of bars.SHOWN.

    Raises:
        DataError: when something cannot be read, or nothing joins.
        OptionError: when a setting cannot work.
        MissingPackageError: without scipy.
    """
    need("scipy", "emonet-fast evaluate compare")
    if type(bootstraps) is not int or not 2 <= bootstraps <= _MOST_DRAWS:
        raise OptionError(f"bootstraps is {bootstraps!r}; expected a whole number from 2 to {_MOST_DRAWS}")
    if truth is None and unit not in (None, "picture"):
        raise OptionError(f"unit is {unit!r}, a column of the truth; give the truth too")
    mine, theirs = (read_predictions(one, values, any_heads=True) for one in (a, b))
    joined = join_predictions(mine, theirs, values)
    if truth is not None:
        joined = with_truth(joined, read_targets(truth, how), unit)
    draws = Draws(joined.unit, bootstraps)
    with bars.steps("comparing", "figure", progress) as step:
        compared = [] if truth is None else compare(joined, draws, step)
    if truth is not None and not compared:
        raise DataError(f"{joined.facts['truth']} has no truth that a figure could be made of")
    return comparison_result(joined, draws, agreement(joined, draws), compared)


def find_leaks(
    a: str | Path,
    b: str | Path,
    *,
    column: str | None = None,
    by: Sequence[str] = (),
    threshold: float = DUPLICATE,
    progress: str = "none",
) -> Result:
    """Find what two parts of a data set share: keys, near-duplicates by their embeddings, people and sources.

    Args:
        a, b: stored embeddings: a table of `score --embeddings`, bulk's folder, or .npy.
        column: of the embeddings, as of Embeddings.
        by: columns of both, such as person or source; rows of one label belong together.
        threshold: the cosine from which two rows are one picture.
        progress: of bars.SHOWN.

    Raises:
        DataError: when something cannot be read, is of two encoders, or has no embedding that can be used.
        OptionError: when the threshold cannot be, or a file is in both.
    """
    notes: list[str] = []
    stored = [Embeddings(place, tuple(by), column=column, once=True) for place in (a, b)]
    files = [{place_of(file.path): file.path for file in one.files} for one in stored]
    if twice := files[0].keys() & files[1].keys():
        name = files[1][twice.pop()]
        raise OptionError(f"{name} is in A and in B; expected two parts apart, each row would be its own duplicate")
    stated = [one.encoder for one in stored]
    if all(stated) and stated[0] != stated[1]:
        raise DataError(f"{a} has embeddings of the encoder {stated[0]}, {b} of {stated[1]}: their cosines say nothing")
    mine, theirs = (_part(str(place), one, by, notes) for place, one in zip((a, b), stored, strict=True))
    with bars.steps("looking for duplicates", "row", progress) as step:
        found = leaks_between(mine, theirs, threshold, step)
    return leaks_result(found, mine, theirs, notes)


def _part(name: str, stored: Embeddings, by: Sequence[str], notes: list[str]) -> LeakSide:
    """The rows with an embedding. Others are counted in a note."""
    keys: list[str] = []
    values = np.empty((stored.rows, stored.width), np.float32)
    labels: dict[str, list[object]] = {column: [] for column in by}
    lacking: list[str] = []
    for batch in stored.batches():
        ok = batch.ok
        values[len(keys) : len(keys) + int(ok.sum())] = batch.values[ok]
        lacking += [key for key, good in zip(batch.keys, ok, strict=True) if not good]
        keys += [key for key, good in zip(batch.keys, ok, strict=True) if good]
        for column in by:
            told = batch.columns.column(column).to_pylist()
            labels[column] += [one for one, good in zip(told, ok, strict=True) if good]
    notes += [f"{name}: {note}" for note in stored.notes]
    if lacking:
        notes.append(f"{name}: left out, without an embedding: {counted(len(lacking), 'row')}, {listed(lacking)}")
    if not keys:
        raise DataError(f"{name} has no row with an embedding")
    return LeakSide(name, keys, values[: len(keys)], labels)
