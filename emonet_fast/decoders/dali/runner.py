"""Runs a pipeline some runs ahead, and takes a failed run apart: one bad picture fails all of its run.

DALI's error names the sample, and the pipeline is no longer valid. It is built anew and run without the named pictures
(where none is named, halves are tried): a good picture has the same pixels as in a run without failures.
"""

import logging
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import BackendError
from ...records import UInt8Array
from .pipeline import Definition, build, inputs
from .triage import Sample

_log = logging.getLogger("emonet_fast")
_NAMED = re.compile(r"[Ff]ailed to decode sample #(\d+)")
# What DALI raises for a run that failed; anything else is a fault of ours.
_DALI_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, MemoryError)


@dataclass(frozen=True, slots=True)
class Output:
    """One DALI output: its pictures' places in the run, and DALI's TensorList, which keeps the memory."""

    places: tuple[int, ...]
    tensors: Any

    def on_host(self) -> list[UInt8Array]:
        """Each picture's array [h, w, 3], which keeps its memory. A list's `at` copies, its tensors do not."""
        on_cpu = self.tensors.as_cpu()
        return [np.asarray(on_cpu[i]) for i in range(len(on_cpu))]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outputs of a run (mostly one), and the places of samples that DALI cannot decode."""

    outputs: tuple[Output, ...]
    failed: tuple[int, ...]


class Runner:
    """One pipeline; runs are started some ahead, and finished in the same order. Not thread-safe.

    Outputs become ready on the CUDA stream of that handle; None is the CPU.
    """

    def __init__(self, definition: Definition, stream: int | None = None) -> None:
        self.definition = definition
        self.rebuilt = 0
        self._stream = stream
        self._pipe: Any = None
        # Kept until their run is done: DALI reads the bytes where they lie, and a failure runs them again.
        self._started: deque[tuple[Sequence[Sample], Any]] = deque()

    def start(self, samples: Sequence[Sample]) -> None:
        """Hand over a run of 1 to batch_size samples; returns at once. Raises BackendError when DALI does not work."""
        arrays = inputs(samples)
        self._started.append((samples, arrays))
        self._feed(arrays)

    def finish(self) -> RunResult:
        """Wait for the oldest run, and take it apart if it failed."""
        samples, _arrays = self._started.popleft()  # the arrays are kept until the run is done
        try:
            return RunResult((self._output(range(len(samples))),), ())
        except _DALI_ERRORS as error:
            _log.debug("a DALI run of %d failed: %s", len(samples), error)
            result = self._apart(samples, str(error))
        for _, arrays in self._started:
            self._feed(arrays)
        return result

    def close(self) -> None:
        """Free the pipeline; runs under way are lost."""
        self._started.clear()
        self._pipe = None

    def _feed(self, arrays: Any) -> None:
        if self._pipe is None:
            try:
                self._pipe = build(self.definition)
            except RuntimeError as error:
                raise BackendError(f"DALI's pipeline cannot be built: {error}; use decoder 'pillow'") from error
        for name, values in arrays.items():
            self._pipe.feed_input(name, values)
        self._pipe.schedule_run()

    def _output(self, places: Iterable[int]) -> Output:
        return Output(tuple(places), self._pipe.outputs(cuda_stream=self._stream)[0])

    def _apart(self, samples: Sequence[Sample], error: str) -> RunResult:
        """The result of a failed run without the pictures that fail it."""
        self._forget()
        outputs: list[Output] = []
        bad, waiting = _split(list(range(len(samples))), error)
        while waiting:
            places = waiting.pop()
            arrays = inputs([samples[i] for i in places])
            try:
                self._feed(arrays)
                outputs.append(self._output(places))
            except _DALI_ERRORS as again:
                self._forget()
                worse, rest = _split(places, str(again))
                bad, waiting = bad + worse, waiting + rest
        outputs.sort(key=lambda output: output.places)
        return RunResult(tuple(outputs), tuple(sorted(bad)))

    def _forget(self) -> None:
        """A pipeline that failed is not valid any more, DALI says: the next run builds a new one."""
        self._pipe = None
        self.rebuilt += 1


def _split(places: list[int], error: str) -> tuple[list[int], list[list[int]]]:
    """Places of the pictures that caused an error, and the others in groups to try again.

    The error names the pictures. Where it names none, the only picture caused it, or halves are tried.
    """
    named = {places[int(at)] for at in _NAMED.findall(error) if int(at) < len(places)}
    if named:
        rest = [i for i in places if i not in named]
        return sorted(named), [rest] if rest else []
    if len(places) == 1:
        return places, []
    half = len(places) // 2
    return [], [places[half:], places[:half]]
