"""Two runs of pytest-benchmark compared by their ratios, never by their times.

    python -m benchmarks.compare OLD.json NEW.json [--baseline NAME] [--loss 0.1] [--ratios OUT.json]

Each benchmark is divided into the baseline of its own group in its own run: "so many times as fast as the baseline,
here and today". Two such ratios can be compared though the runs come from different machines; times cannot.

The baseline of a group is the benchmark whose `extra_info` says "baseline": true (benchmarks/suites writes it; in your
own: `benchmark.extra_info["baseline"] = True`), or the one that --baseline names, by its name, its function's name, its
parameters' id or its extra_info "side". Ungrouped benchmarks of one file are a group. An extra_info "beside" names
another side of the group to be divided by instead, or, empty, leaves the benchmark out.

A ratio is that of the 5% quantiles of both sides' rounds: what disturbs a machine only ever adds time. Intervals are
95% by bootstrap of the rounds (ratios.py). A benchmark is `worse` when its ratio fell by more than --loss
and the interval of that change lies wholly below 1; `unclear` when it fell so far and the interval does not.

Exit status: 0; 1 where something is worse, or has vanished, or (--strict) is unclear; 2 where nothing can be compared.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ratios import Ratio, draws, interval, ratio

LOSS = 0.10
# Of the rounds' times: what disturbs a machine only ever adds time, so the quickest rounds say most of the code. Over 6
# runs of a hundred rounds the largest spread of a ratio was 5.7% by this quantile, 6.7% by the quartile or the median.
QUIET = 0.05


class InputError(ValueError):
    """A file that cannot be compared; the text says why."""


@dataclass(frozen=True)
class Measured:
    """One benchmark of one run beside its baseline.

    Args:
        name: of the benchmark.
        group: its case.
        baseline: seconds of the baseline's rounds.
        seconds: of its own rounds.
        paired: whether round i of both was taken side by side.
    """

    name: str
    group: str
    baseline: tuple[float, ...]
    seconds: tuple[float, ...]
    paired: bool

    @property
    def ratio(self) -> Ratio:
        return ratio(self.baseline, self.seconds, paired=self.paired, quantile=QUIET)


@dataclass(frozen=True)
class Change:
    """new / old of one benchmark's ratio: below 1 it got slower against its baseline. verdict: see the file's head."""

    name: str
    group: str
    old: Ratio
    new: Ratio
    value: float
    low: float
    high: float
    verdict: str


def read(path: Path) -> dict[str, Any]:
    """A `--benchmark-json` file.

    Raises:
        InputError: when it is none, or holds no rounds (`--benchmark-save` leaves them out).
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        benchmarks = document["benchmarks"]
        for one in benchmarks:
            if not one["stats"].get("data"):
                raise InputError(f"{path}: {one['name']} has no rounds; write the file by --benchmark-json")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no file of pytest-benchmark: {type(error).__name__}: {error}") from error
    return dict(document)


def measured(run: Mapping[str, Any], baseline: str | None = None) -> dict[str, Measured]:
    """The benchmarks that have a baseline in their group, without the baselines themselves, by group and name.

    Raises:
        InputError: when a group has two baselines.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in run["benchmarks"]:
        groups.setdefault(one.get("group") or str(one["fullname"]).split("::")[0], []).append(one)
    every = {}
    for group, members in groups.items():
        bases = [one for one in members if is_baseline(one, baseline)]
        if len(bases) > 1:
            raise InputError(f"group {group!r} has {len(bases)} baselines: {', '.join(one['name'] for one in bases)}")
        for one in members if bases else ():
            against = None if one is bases[0] else opposite(one, members, bases[0], baseline)
            if against is not None:
                every[f"{group} | {one['name']}"] = beside(group, one, against)
    return every


def opposite(
    one: Mapping[str, Any], members: Sequence[Mapping[str, Any]], base: Mapping[str, Any], baseline: str | None
) -> Mapping[str, Any] | None:
    """What a benchmark is divided by: --baseline, the side its extra_info names, else the baseline; None: nothing."""
    named = (one.get("extra_info") or {}).get("beside")
    if named is None or baseline is not None:
        return base
    return next((m for m in members if named and (m.get("extra_info") or {}).get("side") == named), None)


def is_baseline(one: Mapping[str, Any], baseline: str | None) -> bool:
    info = one.get("extra_info") or {}
    if baseline is None:
        return info.get("baseline") is True
    name = str(one["name"])
    return baseline in (name, name.split("[")[0], one.get("param"), info.get("side"))


def beside(group: str, one: Mapping[str, Any], base: Mapping[str, Any]) -> Measured:
    seconds, baseline = (tuple(float(s) for s in b["stats"]["data"]) for b in (one, base))
    turns = [(b.get("extra_info") or {}).get("turns") for b in (one, base)]
    paired = turns[0] is not None and turns[0] == turns[1] and len(seconds) == len(baseline)
    return Measured(str(one["name"]), group, baseline, seconds, paired)


def changes(old: Mapping[str, Measured], new: Mapping[str, Measured], loss: float = LOSS) -> list[Change]:
    """Of the benchmarks that both runs have, worst first."""
    every = [change(old[key], new[key], loss) for key in old if key in new]
    return sorted(every, key=lambda one: one.value)


def change(old: Measured, new: Measured, loss: float = LOSS) -> Change:
    before, after = old.ratio, new.ratio
    value = after.value / before.value
    # Other draws on either side: with the same seed, equal rounds would be drawn alike.
    drawn = [
        draws(one.baseline, one.seconds, paired=one.paired, quantile=QUIET, seed=seed)
        for seed, one in ((1, new), (2, old))
    ]
    low, high = interval(drawn[0] / drawn[1])
    verdict = "same"
    if value < 1 - loss:
        verdict = "worse" if high < 1 else "unclear"
    elif value > 1 + loss:
        verdict = "better" if low > 1 else "same"
    return Change(new.name, new.group, before, after, value, low, high, verdict)


def table(every: Sequence[Change], gone: Sequence[str], fresh: Sequence[str]) -> str:
    lines = ["| group | benchmark | old | new | new / old | |", "|---|---|---|---|---|---|"]
    for one in every:
        ratios = [f"{r.value:.2f}x ({r.low:.2f}..{r.high:.2f})" for r in (one.old, one.new)]
        shown = f"{one.value:.3f} ({one.low:.3f}..{one.high:.3f})"
        name = one.name.split(" | ")[-1].rstrip("]") if " | " in one.name else one.name
        lines.append(f"| {one.group} | {name} | {' | '.join(ratios)} | {shown} | {one.verdict} |")
    lines += [f"vanished: {name}" for name in gone] + [f"new: {name}" for name in fresh]
    return "\n".join(lines)


def tracked(run: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """For github-action-benchmark's `customBiggerIsBetter`."""
    entries = []
    for key, one in run.items():
        r = one.ratio
        spread = f"{r.low:.3f}..{r.high:.3f}"
        entries.append({"name": key, "unit": "x of its baseline", "value": round(r.value, 4), "range": spread})
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--baseline", help="the baseline's name in every group")
    parser.add_argument("--loss", type=float, default=LOSS, help="share of a ratio that may be lost (%(default)s)")
    parser.add_argument("--strict", action="store_true", help="what is unclear counts as worse")
    parser.add_argument("--ratios", type=Path, help="write NEW's ratios there for github-action-benchmark")
    options = parser.parse_args(arguments)
    try:
        old, new = (measured(read(path), options.baseline) for path in (options.old, options.new))
    except InputError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if options.ratios:
        options.ratios.write_text(json.dumps(tracked(new), indent=1) + "\n", "utf-8")
    every = changes(old, new, options.loss)
    gone = [key for key in old if key not in new]
    if not every:
        print("compare: no benchmark of both files has a baseline in its group (--baseline NAME?)", file=sys.stderr)
        return 2
    print(table(every, gone, [key for key in new if key not in old]))
    bad = {"worse", "unclear"} if options.strict else {"worse"}
    return int(bool(gone) or any(one.verdict in bad for one in every))


if __name__ == "__main__":
    sys.exit(main())
