"""The steps of one certification of int8, in the order of time.

The float32 network scores the proof's pictures; a recipe for all layers is chosen by others; by a third set layers
go back to float; the engine that is left scores the proof's pictures, once; both engines take turns for their speed.
Each step leaves its result in a folder of the cache: a stopped run goes on.
"""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ... import taxonomy
from ..._version import __version__
from ...checkpoint.spec import Checkpoint
from ...engines.calibrating import Int8Calibrated, calibrate_int8, walked_of
from ...engines.fidelity import INT8_RMS, INT8_SPEARMAN, INT8_TOP1, Fidelity, measure
from ...engines.pictures import PictureSets
from ...engines.report import FORMAT, REPORT_VERSION, FidelityReport, Place, compared
from ...errors import EmonetError, InputError
from ...files import write_whole, writing
from ...graph.int8 import RECIPE_VERSION, Int8Recipe, load_recipe, save_recipe
from ...process import Stopwatch
from ...records import Float32Array
from ...text import counted
from ...thumbnails import encoded, thumbnail
from ..base import Outputs
from .observe import means_of
from .sides import Sides

_log = logging.getLogger("emonet_fast")

# How close int8 is to come on the pictures of the search: of two strongest emotions that lie close together, errors of
# this size change the order on three or four pictures of a hundred, and the bar is at three (docs/int8-recipe.md).
_AIM = 0.02
# What the search puts into float, step by step, in parts of the tower's multiplications: in bf16 the values first or
# what follows attention, then the other of them, then as much of the queries and keys. A product in bf16 takes twice
# the time of one in int8, one in float32 four times: a step adds an eleventh to the time of all products either way.
_SHARES = {"bf16": (0, 1 / 11, 2 / 11, 3 / 11), "fp32": (0, 1 / 33)}
_STEP_COST = 1 / 11
_STEPS = ("reference", "means", "recipe", "search", "proof", "speed")
# The pictures differ by less than float32's own rounding, see gate_fp32.
_NO_SPREAD = 1e-3


@dataclass
class Certifying:
    """One certification under way.

    Args:
        checkpoint: what is certified.
        place: what the report will hold for.
        plain: the precision that "auto" takes without int8.
        sides: the engines; knows the sets "search" and "proof".
        sets: the pictures.
        pictures: what the report says of them.
        given: a recipe that is to be proven as it is; None chooses one.
    """

    checkpoint: Checkpoint
    place: Place
    plain: str
    sides: Sides
    sets: PictureSets
    pictures: dict[str, Any]
    given: Int8Recipe | None
    tried: dict[int, Fidelity] = field(default_factory=dict)
    watch: Stopwatch = field(default_factory=lambda: Stopwatch(*_STEPS))

    def run(self) -> tuple[FidelityReport, Path]:
        """Do all steps; returns the report and the recipe's file. Raises as Certify does."""
        with self.watch("reference"):
            want = self.sides.outputs("proof", "fp32")
        self._check_spread(want)
        file = self.sides.folder / "candidate.safetensors"
        recipe = self.given
        if recipe is None:
            chosen = self._chosen()
            with self.watch("search"):
                recipe = self._search(chosen, file)
        save_recipe(file, recipe)
        with self.watch("proof"):
            got = self.sides.outputs("proof", "int8", file)
        self.sides.keep(recipe.hash)
        with self.watch("speed"):
            engines = self.sides.speed(self.plain, file)
        return self._report(recipe, want, got, engines), file

    def _chosen(self) -> Int8Calibrated:
        """What calibration gives; read where it is there already."""
        folder = self.sides.folder
        order, *recipes = folder / "order.json", folder / "chosen.safetensors", folder / "floated.safetensors"
        with suppress(OSError, ValueError, TypeError, EmonetError):
            chosen, floated = (load_recipe(path, self.checkpoint) for path in recipes)
            return Int8Calibrated(chosen, floated, tuple(json.loads(order.read_text("utf-8"))))
        with self.watch("means"):
            means, exact = self._all_means()
        with self.watch("recipe"):
            made = calibrate_int8(self.checkpoint, self.sets.calibration, means, exact, folder, self.sides.progress)
            for path, recipe in zip(recipes, (made.recipe, made.floated), strict=True):
                save_recipe(path, recipe)
            write_whole(order, json.dumps(made.order).encode(), follow=False)
        return made

    def _all_means(self) -> tuple[dict[str, Float32Array], dict[str, Float32Array]]:
        """What calibrate_int8 takes as `means` and `exact`: of walked pictures in float32, of others in `plain`."""
        count = len(self.sets.calibration)
        walked = walked_of(count)
        exact = self._means("exact", "fp32", walked)
        others = np.setdiff1d(np.arange(count), walked)
        if not len(others):
            return exact, exact
        rest = self._means("means", self.plain, others)
        return {name: np.concatenate([exact[name], rest[name]]) for name in exact}, exact

    def _means(self, name: str, precision: str, of: npt.NDArray[np.intp]) -> dict[str, Float32Array]:
        """The means of the layers' inputs over pictures of calibration; read where they are there already."""
        path = self.sides.folder / f"{name}.npz"
        with suppress(OSError, ValueError), np.load(path) as file:
            return dict(file)
        progress = partial(self.sides.progress, f"{name} in {precision}")
        means = means_of(self.checkpoint, self.sets.calibration[of], precision, progress)
        with writing(path):
            np.savez(path, allow_pickle=False, **means)
        return means

    def _search(self, chosen: Int8Calibrated, file: Path) -> Int8Recipe:
        """Give up layers, those that cost most for their size first, as far as `settled` finds it worth its time."""
        want = self.sides.outputs("search", "fp32")

        def error(kept: int) -> float:
            save_recipe(file, chosen.with_float(kept))
            what = f", {counted(kept, 'part')} in float" if kept else ""
            got = self.sides.outputs("search", "int8", file, f"int8-{kept}", what)
            f = self.tried[kept] = self._measure(want, got)
            _log.info(
                "int8%s: RMS error %.2f%% of the spread, lowest Spearman %.4f, top-1 %.1f%%, on %d pictures",
                what, 100 * f.rms_relative, f.spearman_min, 100 * f.top1_agreement, f.pictures,
            )  # fmt: skip
            return f.rms_relative

        return chosen.with_float(settled(_lengths(chosen.sizes(), _SHARES[self.plain]), error))

    def _measure(self, want: Outputs, got: Outputs) -> Fidelity:
        emotions = [i for i, slug in enumerate(self.checkpoint.names) if taxonomy.find(slug).is_emotion]
        return measure((want.embedding, want.raw), (got.embedding, got.raw), emotions)

    def _report(self, recipe: Int8Recipe, want: Outputs, got: Outputs, engines: list[dict[str, Any]]) -> FidelityReport:
        checkpoint = self.checkpoint
        facts = {
            "format": FORMAT,
            "version": REPORT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "precision": "int8",
            "checkpoint": checkpoint.source,
            "untrained": checkpoint.untrained,
            "place": asdict(self.place),
            "versions": {"emonet_fast": __version__, "recipe": RECIPE_VERSION, "numpy": np.__version__},
            "bars": {"spearman": INT8_SPEARMAN, "rms": INT8_RMS, "top1": INT8_TOP1},
            "recipe": {
                "hash": recipe.hash,
                "layers": checkpoint.vision.num_hidden_layers * 4,
                "float": recipe.in_float(checkpoint.vision.num_hidden_layers),
            },
            "given": self.given is not None,
            "pictures": self.pictures,
            "engines": engines,
            "tried": [
                {"float": k, "rms": f.rms_relative, "spearman": f.spearman_min} for k, f in sorted(self.tried.items())
            ],
            "seconds": {step: round(seconds, 1) for step, seconds in self.watch.seconds.items()},
            **compared((want.embedding, want.raw), (got.embedding, got.raw), checkpoint.names, self.sets.names),
        }
        for worst in facts["worst"]:
            worst["image"] = self._thumbnail(worst["index"])
        return FidelityReport(json.loads(json.dumps(facts), parse_constant=lambda _: None))

    def _thumbnail(self, index: int) -> str:
        """A picture of the proof as it was before it was squashed to a square."""
        height, width = self.sets.shapes[index]
        side = max(height, width)
        rgb = Image.fromarray(np.ascontiguousarray(self.sets.proof[index].transpose(1, 2, 0)))
        small = rgb.resize((max(1, 224 * width // side), max(1, 224 * height // side)))
        return encoded(thumbnail(np.asarray(small)))

    def _check_spread(self, want: Outputs) -> None:
        """Raise InputError where the pictures' scores hardly differ: nothing can be told from their order."""
        spread = float(want.raw.std(axis=0).max())
        if not spread > _NO_SPREAD:
            raise InputError(
                f"the {len(want.raw)} pictures {self.sets.source} have no spread: no score differs by more than "
                f"{spread:.1e} between them; expected different pictures, such as will be scored"
            )


def settled(steps: Sequence[int], error: Callable[[int], float]) -> int:
    """How many parts stay in float, of these numbers in rising order; `error` gives the RMS error with so many.

    Steps follow while the error is above _AIM. One that gains too little is taken back, and is the last: it has to take
    a larger share of the errors' mean square than it adds to the time of the products. If all multiplications erred
    alike, any that went back to bf16 would do so; these are to be the worst.
    """
    kept, before = 0, np.inf
    for step in steps:
        after = error(step)
        if after**2 > (1 - _STEP_COST) * before**2:
            break
        kept, before = step, after
        if after <= _AIM:
            break
    return kept


def _lengths(sizes: Sequence[int], steps: Sequence[float]) -> list[int]:
    """How many layers of these sizes, in their order, make up each of these shares of all multiplications, at most."""
    shares = np.cumsum([0, *sizes]) / max(sum(sizes), 1)
    return sorted({int(np.searchsorted(shares, share, side="right")) - 1 for share in steps})
