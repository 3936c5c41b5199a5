"""The engines that one certification compares, and what they gave: read where it is there already."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...files import writing
from ...records import UInt8Array
from ..base import Outputs
from .side import Side, SideOrder, read_outputs

# Pictures that both engines score in turns for their speed, after one that is not timed.
_TIMED = 9

Progress = Callable[[str, int, int], None]  # (what is under way, steps done, steps in all)


@dataclass(frozen=True, slots=True)
class Sides:
    """Opens engines in processes of their own.

    Args:
        weights: the packed checkpoint.
        threads: CPU threads; None takes all cores.
        folder: for pictures and outputs, and for int8 engines until `keep` takes one.
        cache_dir: of the package.
        pictures: [n, 3, S, S] uint8 by the name of their set.
        progress: is told how far it is.
    """

    weights: Path
    threads: int | None
    folder: Path
    cache_dir: Path
    pictures: Mapping[str, UInt8Array]
    progress: Progress

    def outputs(self, of: str, precision: str, recipe: Path | None = None, name: str = "", what: str = "") -> Outputs:
        """What an engine gives for a set of pictures. `name` is that of int8's outputs, `what` is said behind it.

        Raises BackendError when the engine stops.
        """
        path, count = self.folder / f"{of}-{name or precision}.npz", len(self.pictures[of])
        with suppress(OSError, ValueError, KeyError):
            return read_outputs(path)
        phase = f"{of} in {'float32' if precision == 'fp32' else precision}{what}"
        self.progress(phase, 0, count)
        side = self._side(of, precision, recipe, path, self.folder if precision == "int8" else self.cache_dir)
        try:
            for number in range(count):
                side.score(number)
                self.progress(phase, number + 1, count)
            side.finish()
        finally:
            side.kill()
        return read_outputs(path)

    def speed(self, plain: str, recipe: Path) -> list[dict[str, Any]]:
        """Seconds and memory of the engine without int8 and of the one with it, picture by picture in turns."""
        count = min(_TIMED, len(self.pictures["proof"]))
        sides: list[Side] = []
        try:
            for precision, file in ((plain, None), ("int8", recipe)):
                outputs = self.folder / f"speed-{precision}.npz"
                sides.append(self._side("proof", precision, file, outputs, self.cache_dir))
            for number in range(count):
                self.progress("speed of both, in turns", number, count)
                for side in sides:
                    side.score(number)
            self.progress("speed of both, in turns", count, count)
            return [side.finish() for side in sides]
        finally:
            for side in sides:
                side.kill()

    def keep(self, recipe: str) -> None:
        """Move the engine of the recipe with this hash to the cache's: what was measured computes, built once."""
        for record in (self.folder / "engines").glob("*.json"):
            if recipe[:16] in record.read_text("utf-8"):
                for path in record.parent.glob(f"{record.stem}.*"):
                    with writing(path):
                        path.replace(self.cache_dir / "engines" / path.name)

    def _side(self, of: str, precision: str, recipe: Path | None, outputs: Path, cache_dir: Path) -> Side:
        pixels = self.folder / f"{of}.npy"
        if not pixels.exists():
            unfinished = pixels.with_suffix(".tmp.npy")
            with writing(pixels):
                np.save(unfinished, self.pictures[of])
                unfinished.replace(pixels)
        return Side(SideOrder(self.weights, precision, recipe, self.threads, cache_dir, pixels, outputs))
