"""Stored scores with times, tracks and other columns, and every figure of them by pandas, numpy and scipy alone."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from emonet_fast import taxonomy

from ..population.made import SLUGS, population, scores

GROUPS = [next(d.group for d in taxonomy.EMOTIONS if d.slug == slug) for slug in SLUGS]
WORDS = [taxonomy.slug(name) for name in taxonomy.GROUPS]
AT = {"min": 0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1}


def frame(raw, *, bad=(), means=0.25, **columns):
    """A DataFrame as our files hold it; columns: further ones."""
    table = scores(np.asarray(raw, np.float32), bad=tuple(bad), means=means).to_pandas()
    return table.assign(**columns).copy()


def write(path, table, pieces=1, metadata=True):
    """Parquet of a DataFrame, in so many files. Returns them."""
    facts = scores(population(1)).metadata if metadata else None
    files = []
    for i, part in enumerate(np.array_split(np.arange(len(table)), pieces)):
        files.append(path.with_name(f"{path.stem}{i}.parquet"))
        arrow = pa.Table.from_pandas(table.iloc[part], preserve_index=False)
        pq.write_table(arrow.replace_schema_metadata(facts), files[-1])
    return files


def weights(times, max_gap=np.inf):
    """[n] a sample's weight in a track: the mean of its gaps; NaN where it has none."""
    found = []
    for i in range(len(times)):
        gaps = [times[i] - times[i - 1]] if i else []
        gaps += [times[i + 1] - times[i]] if i + 1 < len(times) else []
        gaps = [gap for gap in gaps if 0 < gap <= max_gap]
        found.append(np.mean(gaps) if gaps else np.nan)
    return np.array(found)


def plain(table, by, unit, column, above, series=("source", "track"), max_gap=np.inf):
    """{labels: {figure: value}} of one column, row by row and track by track."""
    table = (
        table[table["status"] == "ok"].astype({column: np.float64}).copy()
    )  # pandas takes means of float32 in float32
    timed = "seconds" in table
    cells = [*dict.fromkeys([*by, *unit, *(series if timed else ())])]
    if timed:
        pieces = [
            part.assign(weight=weights(part["seconds"].to_numpy(), max_gap))
            for _, part in (table.groupby(cells, dropna=False, sort=False) if cells else [((), table)])
        ]
        joined = pd.concat(pieces)
        table = joined.assign(weight=joined["weight"].fillna(joined["weight"].mean()).fillna(1.0))
    return {
        labels if isinstance(labels, tuple) else (labels,): _figures(part, by, unit, cells, column, above, max_gap)
        for labels, part in (table.groupby(list(by), dropna=False) if by else [((), table)])
    }


def _figures(part, by, unit, cells, column, above, max_gap):
    x = part[column].to_numpy(np.float64)
    timed = "seconds" in part
    out = {"n": len(x), "mean": x.mean(), "sd": x.std(ddof=1) if len(x) > 1 else np.nan}
    out |= {name: np.quantile(x, at) for name, at in AT.items()}
    weight = part["weight"].to_numpy() if timed else np.ones(len(x))
    out["time_mean"] = np.average(x, weights=weight) if timed else np.nan
    out["share_above"] = weight[x > above].sum() / weight.sum()
    steps, top, bottom = [], 0.0, 0.0
    within = [name for name in cells if name not in by]
    for _, one in part.groupby(within, dropna=False) if within else [((), part)]:
        if not timed:
            break
        t, v = one["seconds"].to_numpy(), one[column].to_numpy(np.float64)
        gaps = np.diff(t)
        steps += list(np.abs(np.diff(v))[(gaps > 0) & (gaps <= max_gap)])
        top, bottom = top + ((t - t.mean()) * (v - v.mean())).sum(), bottom + ((t - t.mean()) ** 2).sum()
    out["slope"] = top / bottom if bottom > 0 else np.nan
    out["mean_abs_difference"] = np.mean(steps) if steps else np.nan
    inner = [name for name in unit if name not in by]
    means = x if not unit and not timed else part.groupby(inner, dropna=False)[column].mean() if inner else [x.mean()]
    means = np.asarray(means, np.float64)
    out |= {"units": len(means), "unit_mean": means.mean(), "unit_sd": np.nan, "low": np.nan, "high": np.nan}
    if len(means) > 1:
        out["unit_sd"] = means.std(ddof=1)
        half = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
        out["low"], out["high"] = means.mean() - half, means.mean() + half
    return out


def strongest(table, kind="score"):
    """[n] the word of the group of each row's strongest emotion."""
    values = table[[f"{kind}_{slug}" for slug in SLUGS]].to_numpy(np.float64)
    return np.array([taxonomy.slug(GROUPS[i]) for i in values.argmax(axis=1)])


def transitions(table, cells, max_gap=np.inf):
    """{(from, to): count} of a group's rows."""
    counts = dict.fromkeys(itertools.product(WORDS, WORDS), 0)
    for _, one in table.groupby(list(cells), dropna=False):
        names, gaps = strongest(one), np.diff(one["seconds"])
        for a, b, gap in zip(names, names[1:], gaps, strict=False):
            counts[a, b] += 0 < gap <= max_gap
    return counts
