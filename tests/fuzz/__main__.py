"""`make fuzz MINUTES=10`: more cases than the suite has time for, of all kinds or of those named."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from . import KINDS
from .runner import run, work


class Seeds:
    """Up to `count` seeds from the first one on while there is time, counted, with a line of progress now and then."""

    def __init__(self, kind: str, first: int, count: int, until: float) -> None:
        self.kind, self.first, self.count, self.until = kind, first, count, until
        self.tried = 0

    def __iter__(self) -> Iterator[int]:
        for seed in range(self.first, self.first + self.count):
            if time.monotonic() > self.until:
                return
            yield seed
            self.tried += 1
            if self.tried % 500 == 0:
                print(f"{self.kind}: {self.tried} of {self.count}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[], help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most so long, shared equally by the kinds")
    parser.add_argument("--count", type=int, help="cases of each kind; by default the kind's own number")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], Path(options.worker[1]))
        return
    kinds = options.kinds or list(KINDS)
    failed = False
    for kind in kinds:
        start = time.monotonic()
        share = options.minutes * 60 / len(kinds)
        count = options.count or import_module(f"tests.fuzz.{kind}").COUNT
        seeds = Seeds(kind, options.seed, count, start + share)
        with tempfile.TemporaryDirectory(prefix="emonet-fuzz-") as folder:
            faults = run(kind, seeds, Path(folder))
        for fault in faults:
            print(fault)
        failed = failed or bool(faults)
        taken = f"{seeds.tried} of {count} cases, {len(faults)} faults, {time.monotonic() - start:.0f} s"
        print(f"{kind}: {taken}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
