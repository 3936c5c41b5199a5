"""One engine in a process of its own, which scores ready pixels: so its memory and its time are its own.

It speaks JSON lines. The first line in is the order; each next line is the number of a picture to score, or null to
finish. Each line out answers one line in.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np

from ...checkpoint.pack import open_packed
from ...child import Child
from ...errors import EmonetError
from ...process import Stopwatch, memory_mb
from ..base import Outputs
from .backend import OpenVinoBackend


@dataclass(frozen=True, slots=True)
class SideOrder:
    """What a side is.

    Args:
        weights: the packed checkpoint.
        precision: "fp32", "bf16" or "int8".
        recipe: of int8; None for the others.
        threads: CPU threads; None takes all cores.
        cache_dir: where its engines are kept.
        pixels: a file of numpy's, [n, 3, S, S] uint8.
        outputs: where the outputs of the pictures that it scored are written, in the order of their numbers.
    """

    weights: Path
    precision: str
    recipe: Path | None
    threads: int | None
    cache_dir: Path
    pixels: Path
    outputs: Path

    def as_json(self) -> dict[str, Any]:
        """The order for the way to its process."""
        return {k: str(v) if isinstance(v, Path) else v for k in self.__slots__ for v in [getattr(self, k)]}

    @classmethod
    def from_json(cls, order: dict[str, Any]) -> "SideOrder":
        """The order that `as_json` was made of."""
        paths = {k: None if order[k] is None else Path(order[k]) for k in order if k not in ("precision", "threads")}
        return cls(**{**order, **paths})


class Side:
    """The parent's end: opens the engine at once. Raises BackendError when it cannot be opened, or stops."""

    def __init__(self, order: SideOrder) -> None:
        self.order = order
        self.seconds: list[float] = []
        self._child = Child("emonet_fast.backends.openvino.side", f"the engine in {order.precision}", order.as_json())

    def score(self, number: int) -> None:
        """Let it score a picture, and note the seconds."""
        self.seconds.append(float(self._child.ask(number)["seconds"]))

    def finish(self) -> dict[str, Any]:
        """Let it write its outputs. Returns its precision, the median seconds of an image, and its memory in MB.

        The first picture is left out: it touches weights and buffers for the first time.
        """
        memory = self._child.ask(None)["memory"]
        self._child.end()
        return {
            "precision": self.order.precision,
            "seconds": median(self.seconds[1:] or self.seconds),
            "memory_mb": {kind: round(value, 1) for kind, value in memory.items()},
        }

    def kill(self) -> None:
        """End the process if it still runs."""
        self._child.kill()


def read_outputs(path: Path) -> Outputs:
    """The outputs that a side wrote. Raises OSError, ValueError or KeyError where there are none, or not whole ones."""
    with np.load(path) as file:
        return Outputs(file["embedding"], file["raw"])


def serve(lines: IO[str], answers: IO[str]) -> None:
    """Carry out the order that `lines` begins with."""

    def answer(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    order = SideOrder.from_json(json.loads(lines.readline()))
    backend = OpenVinoBackend(
        open_packed(order.weights), order.precision, 1, order.threads, cache_dir=order.cache_dir, recipe=order.recipe
    )
    pixels, watch = np.load(order.pixels, mmap_mode="r"), Stopwatch("score")
    answer({})
    outputs: dict[int, Outputs] = {}
    for line in lines:
        number = json.loads(line)
        if number is None:
            break
        watch.seconds["score"] = 0.0
        picture = np.array(pixels[number : number + 1])
        with watch("score"):
            outputs[number] = backend.run(picture)
        answer({"seconds": watch.seconds["score"]})
    memory = memory_mb()
    ordered = [outputs[number] for number in sorted(outputs)]
    unfinished = order.outputs.with_suffix(".tmp.npz")
    np.savez(
        unfinished,
        embedding=np.concatenate([output.embedding for output in ordered]),
        raw=np.concatenate([output.raw for output in ordered]),
    )
    unfinished.replace(order.outputs)
    answer({"memory": memory})


if __name__ == "__main__":
    # What libraries print goes to standard error, so that it does not mix with the answers.
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, private)
    except (EmonetError, OSError) as error:
        private.write(json.dumps({"error": str(error)}) + "\n")
        private.flush()
