"""Figures of groups of rows, taken in as the rows come: memory grows with groups, units and tracks, never with rows.

weight of a sample  = mean of its gaps to the samples before and after it in its track; of one that has none: the
                      mean of all gaps; without times every row weighs 1
slope               = sum over tracks of (t - mean t)(x - mean x) / sum over tracks of (t - mean t)^2
mean_abs_difference = mean of |x - x before| over successive samples of a track
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..records import Float64Array
from ..taxonomy import GROUPS

Ids = npt.NDArray[np.intp]
_KINDS = len(GROUPS)


class Sums:
    """Sums [K, width] by an id, for ids from 0 that may be new."""

    def __init__(self, width: int) -> None:
        self.values = np.zeros((0, width))

    def add(self, ids: Ids, rows: Float64Array) -> None:
        if len(ids):
            order = np.argsort(ids, kind="stable")
            starts = starts_of(ids[order])
            which = ids[order][starts]
            self.values = room(self.values, int(which[-1]) + 1)
            self.values[which] += np.add.reduceat(rows[order], starts)


class GroupMoments:
    """Rows, means and sums of products about the means by an id, joined block by block (Chan, Golub and LeVeque 1979).

    Args:
        width: columns.
        with_last: multiply each column with the last one instead of with itself.
    """

    def __init__(self, width: int, with_last: bool = False) -> None:
        self.rows, self.mean, self.products = np.zeros(0), np.zeros((0, width)), np.zeros((0, width))
        self._by = slice(-1, None) if with_last else slice(None)

    def add(self, ids: Ids, x: Float64Array) -> None:
        order = np.argsort(ids, kind="stable")
        ids, x = ids[order], x[order]
        starts = starts_of(ids)
        which, rows = ids[starts], np.diff([*starts, len(ids)]).astype(np.float64)
        mean = np.add.reduceat(x, starts) / rows[:, None]
        apart = x - np.repeat(mean, rows.astype(np.intp), axis=0)
        products = np.add.reduceat(apart * apart[:, self._by], starts)
        self.reach(int(which[-1]) + 1)
        before = self.rows[which]
        both, shift = before + rows, mean - self.mean[which]
        self.products[which] += products + shift * shift[:, self._by] * (before * rows / both)[:, None]
        self.mean[which] += shift * (rows / both)[:, None]
        self.rows[which] = both

    def reach(self, ids: int) -> None:
        """Have room for so many ids."""
        self.rows, self.mean, self.products = (room(a, ids) for a in (self.rows, self.mean, self.products))

    def cut(self, ids: int) -> None:
        """Have exactly so many ids."""
        self.reach(ids)
        self.rows, self.mean, self.products = self.rows[:ids], self.mean[:ids], self.products[:ids]


class Functionals:
    """Takes in rows of groups.

    A cell is the rows of one group, unit and track: within it, samples follow each other in time.

    Args:
        width: V values a row.
        above: what `share_above` is the share above of.
        max_gap: seconds; samples further apart do not follow each other.
        timed: whether the rows have times.
    """

    def __init__(self, width: int, above: float, max_gap: float, timed: bool) -> None:
        self.width, self.timed, self._above, self._max_gap = width, timed, above, max_gap
        self.moments = GroupMoments(width)
        self.cells = GroupMoments(width + 1, with_last=True)  # the last column is time
        # By group: weight, weighted values, weights above, weights by strongest group; of samples and of lone ones.
        self.weighted, self.lone = Sums(1 + 2 * width + _KINDS), Sums(1 + 2 * width + _KINDS)
        # By group: links, absolute differences, links by pairs of strongest groups.
        self.links = Sums(1 + width + _KINDS**2)
        # By cell its last sample, which waits for the next: values, time, gap before, strongest group, group.
        self._last = np.zeros((0, width + 4))

    def add(self, group: Ids, cell: Ids, x: Float64Array, strongest: Ids, seconds: Float64Array | None) -> None:
        """Take in n rows: of groups and cells [n], their values [n, V], strongest groups [n] and times [n]."""
        self.moments.add(group, x)
        time = np.zeros(len(x)) if seconds is None else seconds
        self.cells.add(cell, np.column_stack([x, time]))
        if seconds is None:
            self._weigh(self.weighted, group, x, strongest, np.ones(len(x)))
            return
        order = np.argsort(cell, kind="stable")
        cell, rows = cell[order], np.column_stack([x, time, np.full(len(x), np.nan), strongest, group])[order]
        self._last = room(self._last, int(cell[-1]) + 1, np.nan)
        starts = starts_of(cell)
        waiting = starts[~np.isnan(self._last[cell[starts], self.width])]
        rows, cell = (
            np.insert(rows, waiting, self._last[cell[waiting]], axis=0),
            np.insert(cell, waiting, cell[waiting]),
        )
        self._follow(cell, rows)

    def _follow(self, cell: Ids, rows: Float64Array) -> None:
        """Join samples with the ones after them; rows sorted by cell, each as of `_last`."""
        same, gap = cell[1:] == cell[:-1], np.diff(rows[:, self.width])
        if (same & (gap < 0)).any():
            at = rows[1:][same & (gap < 0)][0, self.width]
            raise DataError(
                f"the row at {at:g} seconds comes after a later one of its video and track; sort the rows by source "
                "and seconds, and give no video twice"
            )
        if not np.isfinite(rows[:, self.width]).all():
            raise DataError("rows with scores have no seconds; expected a time in each, or no column 'seconds'")
        linked = same & (gap > 0) & (gap <= self._max_gap)
        after = np.append(np.where(linked, gap, np.nan), np.nan)
        rows[1:, self.width + 1] = np.where(same, after[:-1], rows[1:, self.width + 1])
        first = np.flatnonzero(linked)
        x, kinds, groups = rows[:, : self.width], rows[:, -2].astype(np.intp), rows[:, -1].astype(np.intp)
        pair = one_hot(kinds[first] * _KINDS + kinds[first + 1], _KINDS**2)
        step = np.abs(x[first + 1] - x[first])
        self.links.add(groups[first], np.column_stack([np.ones(len(first)), step, pair]))
        done = np.append(same, False)
        self._complete(rows[done], after[done])
        self._last[cell[~done]] = rows[~done]

    def _complete(self, rows: Float64Array, after: Float64Array) -> None:
        """Weigh samples of which it is known what follows."""
        gaps = np.column_stack([rows[:, self.width + 1], after])
        known = (~np.isnan(gaps)).sum(axis=1)
        weight = np.nansum(gaps, axis=1) / np.maximum(known, 1)
        for sums, chosen in ((self.weighted, known > 0), (self.lone, known == 0)):
            part = rows[chosen]
            one = weight[chosen] if sums is self.weighted else np.ones(len(part))
            self._weigh(sums, part[:, -1].astype(np.intp), part[:, : self.width], part[:, -2].astype(np.intp), one)

    def _weigh(self, sums: Sums, group: Ids, x: Float64Array, strongest: Ids, weight: Float64Array) -> None:
        one = weight[:, None]
        table = [one, one * x, one * np.where(np.isnan(x), np.nan, x > self._above), one * one_hot(strongest, _KINDS)]
        sums.add(group, np.concatenate(table, axis=1))

    def finish(self, groups: int) -> None:
        """Weigh the last samples. No more rows may come. groups: how many there are."""
        rows = self._last[~np.isnan(self._last[:, self.width])]
        self._complete(rows, np.full(len(rows), np.nan))
        for sums in (self.weighted, self.lone, self.links):
            sums.values = room(sums.values, groups)[:groups]
        self.moments.cut(groups)
        gaps, alone = self.weighted.values[:, 0].sum(), self.lone.values[:, 0].sum()
        followed = self.cells.rows.sum() - alone
        self.weighted.values += self.lone.values * (gaps / followed if followed else 1.0)


def starts_of(ids: Ids) -> Ids:
    """Where each run of equal ids begins."""
    return np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))


def room(array: npt.NDArray[Any], rows: int, fill: float = 0.0) -> npt.NDArray[Any]:
    """The array with at least so many rows, the new ones filled; it doubles, so that growing costs little."""
    if len(array) >= rows:
        return array
    more = np.full((max(rows, 2 * len(array)) - len(array), *array.shape[1:]), fill)
    return np.concatenate([array, more])


def one_hot(places: Ids, width: int) -> Float64Array:
    """[n, width] float64: 1 at each row's place."""
    return np.asarray(places[:, None] == np.arange(width), np.float64)
