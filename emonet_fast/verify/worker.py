"""One side of `verify` in a process of its own, so that its memory can be told from the other side's.

Speaks JSON lines: the first line in is the order; each next line is the number of a picture to score, or null
to finish. Each line out answers one line in.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from ..backends.base import Outputs
from ..optional import need
from ..options import Options
from ..process import memory_mb
from ..records import UInt8Array


class Side(Protocol):
    """Something that scores one picture [H, W, 3] uint8 RGB, preprocessing included."""

    def score_one(self, picture: UInt8Array) -> Outputs: ...


class _EngineSide:
    def __init__(self, where: str, options: Options) -> None:
        from ..scorer import Scorer

        self.scorer = Scorer(where, options=options).open()

    def score_one(self, picture: UInt8Array) -> Outputs:
        scores = self.scorer([picture], embeddings=True)
        assert scores.embeddings is not None  # noqa: S101 - for the type checker: they were asked for
        return Outputs(scores.embeddings, scores.raw)


class _ReferenceSide:
    def __init__(self, where: str, options: Options) -> None:
        from ..backends.reference import Reference
        from ..checkpoint import open_checkpoint, resolve_published

        # A published encoder's text tower is left out on purpose: no list of it, and no bars of our own process.
        quiet = need("transformers.utils.logging", "verify")
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        if options.threads is not None:
            need("torch", "verify").set_num_threads(options.threads)
        checkpoint = open_checkpoint(where, options.cache_dir, revision=options.revision)
        published = resolve_published(where, options.cache_dir, revision=options.revision)
        if published is None:
            self.reference = Reference.from_packed(checkpoint, options.precision)
        else:
            self.reference = Reference.from_published(
                published, checkpoint.names, checkpoint.l2_normalise, options.precision
            )

    def score_one(self, picture: UInt8Array) -> Outputs:
        return self.reference.score([picture])


def serve(lines: IO[str], answers: IO[str]) -> None:
    """Carry out one order read from `lines`; writes `<pictures>/<side>.npz` at its end."""
    order = json.loads(lines.readline())
    folder = Path(order["pictures"])
    began = time.perf_counter()
    options = Options(**order["options"] | {"precision": order["precision"]})
    side: Side = (_EngineSide if order["side"] == "engine" else _ReferenceSide)(order["where"], options)
    _say(answers, {"open_seconds": time.perf_counter() - began})
    found: dict[int, Outputs] = {}
    for line in lines:
        number = json.loads(line)
        if number is None:
            break
        picture = np.load(folder / f"{number}.npy")
        began = time.perf_counter()
        found[number] = side.score_one(picture)
        _say(answers, {"seconds": time.perf_counter() - began})
    ordered = [found[number] for number in sorted(found)]
    np.savez(
        folder / f"{order['name']}.npz",
        embedding=np.concatenate([one.embedding for one in ordered]),
        raw=np.concatenate([one.raw for one in ordered]),
    )
    _say(answers, {"memory": memory_mb()})


def _say(answers: IO[str], what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


if __name__ == "__main__":
    # what libraries print must not mix with the answers
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, private)
