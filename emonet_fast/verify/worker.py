"""One side of `verify` in a process of its own, so that its memory can be told from the other side's.

It speaks JSON lines. The first line in is the order; each next line is the number of a picture to score, or null to
finish. Each line out answers one line in.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..backends.base import Outputs
from ..optional import need
from ..options import Options
from ..process import Stopwatch, memory_mb
from ..records import UInt8Array

# Scores one picture [H, W, 3] uint8 RGB, preprocessing included.
Score = Callable[[UInt8Array], Outputs]


@dataclass(frozen=True, slots=True)
class Order:
    """What a side is, and where it finds its pictures.

    Args:
        side: "reference" or "engine".
        where: the checkpoint, as of `Scorer`.
        options: of the engine; the reference takes `precision`, `revision`, `cache_dir` and `threads`.
        pictures: the folder of `<number>.npy`, [H, W, 3] uint8 RGB each. `<name>.npz` with the outputs goes there too.
    """

    side: str
    where: str
    options: Options
    pictures: Path

    @property
    def name(self) -> str:
        """The side and its precision, which are unique in a run."""
        return f"{self.side} {self.options.precision}"

    def as_json(self) -> dict[str, Any]:
        """The order for the way to its process."""
        options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items()}
        return {"side": self.side, "where": self.where, "options": options, "pictures": str(self.pictures)}

    @classmethod
    def from_json(cls, order: dict[str, Any]) -> "Order":
        """The order that `as_json` was made of."""
        return cls(order["side"], order["where"], Options(**order["options"]), Path(order["pictures"]))


def _engine(order: Order) -> Score:
    from ..scorer import Scorer

    scorer = Scorer(order.where, options=order.options).open()

    def score(picture: UInt8Array) -> Outputs:
        scores = scorer([picture], embeddings=True)
        assert scores.embeddings is not None  # noqa: S101 - for the type checker: the line above asks for them
        return Outputs(scores.embeddings, scores.raw)

    return score


def _reference(order: Order) -> Score:
    from ..backends.reference import Reference
    from ..checkpoint import open_checkpoint, resolve_published

    # A published encoder also holds a text tower, which is left out on purpose: transformers must not list its tensors.
    quiet = need("transformers.utils.logging", "verify")
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    options = order.options
    if options.threads is not None:
        need("torch", "verify").set_num_threads(options.threads)
    checkpoint = open_checkpoint(order.where, options.cache_dir, revision=options.revision)
    published = resolve_published(order.where, options.cache_dir, revision=options.revision)
    if published is None:
        reference = Reference.from_packed(checkpoint, options.precision)
    else:
        reference = Reference.from_published(published, checkpoint.names, checkpoint.l2_normalise, options.precision)
    return lambda picture: reference.score([picture])


def serve(lines: IO[str], answers: IO[str]) -> None:
    """Carry out the order that `lines` begins with, and write the outputs of its pictures at the end."""

    def answer(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    order = Order.from_json(json.loads(lines.readline()))
    watch = Stopwatch()
    with watch("open"):
        score = _engine(order) if order.side == "engine" else _reference(order)
    answer({"open_seconds": watch.seconds.pop("open")})
    outputs: dict[int, Outputs] = {}
    for line in lines:
        number = json.loads(line)
        if number is None:
            break
        picture = np.load(order.pictures / f"{number}.npy")
        with watch("score"):
            outputs[number] = score(picture)
        answer({"seconds": watch.seconds.pop("score")})
    ordered = [outputs[number] for number in sorted(outputs)]
    np.savez(
        order.pictures / f"{order.name}.npz",
        embedding=np.concatenate([output.embedding for output in ordered]),
        raw=np.concatenate([output.raw for output in ordered]),
    )
    answer({"memory": memory_mb()})


if __name__ == "__main__":
    # What libraries print goes to standard error, so that it does not mix with the answers.
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, private)
