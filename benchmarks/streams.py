"""Whether several streams score more pictures a second than one: the table of docs/scaling.md.

    python -m benchmarks.streams --checkpoint C [--precision fp32 bf16] [--streams 1 2 ...] [--rounds 5]

All numbers of streams take turns on the same JPEGs, 1024 x 1024, decoding included, in one process; the memory of each
is that of a process of its own. Scores of all must be the same bits. On two cores and 27 layers 4 minutes a precision.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measurements
from benchmarks.pictures import encoded, photograph
from benchmarks.ratios import ratio
from benchmarks.run import SHALLOW
from benchmarks.run import checkpoint as shallow
from benchmarks.timer import CPU, compare
from emonet_fast import Scorer
from emonet_fast.options import PRECISIONS
from emonet_fast.process import available_cores, memory_mb
from emonet_fast.sources.memory import Memory

# Pictures of a turn for each stream of the side with most: their last ones leave streams idle.
A_STREAM = 3


def opened(checkpoint: str, precision: str, streams: int) -> Scorer:
    return Scorer(checkpoint, device="cpu", precision=precision, streams=streams).open()


def scored(scorer: Scorer, pictures: list[bytes]) -> Any:
    """Raw scores of the pictures, as they would come to a file."""
    return np.concatenate([batch.scores.raw for batch in scorer.batches(Memory(pictures, 1 << 28))])


def portraits(count: int) -> list[bytes]:
    return [encoded(photograph(1024, 1024, i), quality=80) for i in range(count)]


def measured(checkpoint: str, precision: str, streams: list[int], rounds: int) -> dict[str, Any]:
    """Figures of one precision, by number of streams."""
    scorers = {n: opened(checkpoint, precision, n) for n in streams}
    pictures = portraits(A_STREAM * max(streams))
    first = scored(scorers[streams[0]], pictures)
    for n, scorer in scorers.items():
        if not np.array_equal(scored(scorer, pictures), first):
            sys.exit(f"{n} streams gave other scores than {streams[0]}")
    calls = {str(n): [partial(scored, scorer, pictures)] for n, scorer in scorers.items()}
    times = compare(calls, CPU, rounds=rounds, warmup=0)
    sides = []
    for n, scorer in scorers.items():
        taken, base = times[str(n)], times[str(streams[0])]
        sides.append(
            {
                "streams": n,
                "seconds_a_picture": round(taken.median / len(pictures), 5),
                "ratio": ratio(base.seconds, taken.seconds, paired=True).record(),
                "memory_mb": memory_of(checkpoint, scorer.backend.precision, n),
            }
        )
    layers = scorers[streams[0]].checkpoint.vision.num_hidden_layers
    chosen = scorers[streams[0]].backend.precision
    return {
        "precision": chosen,
        "layers": layers,
        "cores": available_cores(),
        "pictures": len(pictures),
        "sides": sides,
    }


def memory_of(checkpoint: str, precision: str, streams: int) -> dict[str, float]:
    """Memory in MB of a process that has scored with so many streams."""
    command = [sys.executable, "-m", "benchmarks.streams", "--checkpoint", checkpoint, "--precision", precision]
    done = subprocess.run([*command, "--memory", str(streams)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="one of one layer is made where none is named")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["auto"])
    parser.add_argument("--streams", nargs="+", type=int, help="the first is the baseline (1, 2, 4, ... cores)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    checkpoint = options.checkpoint or str(shallow("small", SHALLOW))
    if options.memory:
        with opened(checkpoint, options.precision[0], options.memory) as scorer:
            scored(scorer, portraits(2 * options.memory))
            print(json.dumps(memory_mb()))
        return
    powers = [2**i for i in range(available_cores().bit_length())]
    for precision in options.precision:
        found = measured(checkpoint, precision, options.streams or powers, options.rounds)
        print(json.dumps(found))
        measurements.keep("streams", {f"{found['precision']}, {found['layers']} layers": found})


if __name__ == "__main__":
    main()
