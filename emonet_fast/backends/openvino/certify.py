"""Makes an int8 recipe and proves it: on pictures that it was not chosen by, by the engine that will compute.

In the order of time: the float32 network scores the proof's pictures; a recipe for all layers is chosen by the others;
as many layers go back to float as the gate needs, those that cost most first; both engines take turns for their speed;
recipe, report and page are stored. Each step leaves its result in a folder of the cache: a stopped run goes on.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import taxonomy
from ..._version import __version__
from ...checkpoint.layers import layer_names
from ...checkpoint.spec import Checkpoint
from ...engines.calibrating import CALIBRATION_VERSION, Progress, calibrate_int8
from ...engines.certificate import shortest_prefix
from ...engines.fidelity import INT8_RMS, INT8_SPEARMAN, INT8_TOP1, Fidelity, gate_int8, measure
from ...engines.pictures import DRAWN, PictureSets
from ...engines.report import FORMAT, REPORT_VERSION, FidelityReport, Place, compared
from ...engines.reports import ReportStore
from ...errors import EmonetError, InputError
from ...files import opening, write_whole, writing
from ...graph.int8 import RECIPE_VERSION, Int8Recipe, load_recipe, save_recipe
from ...process import Stopwatch
from ...records import Float32Array, UInt8Array
from ...reports.fidelity import fidelity_page
from ...thumbnails import encoded, thumbnail
from ..base import Outputs
from .observe import means_of
from .side import Side, SideOrder, read_outputs

_log = logging.getLogger("emonet_fast")

# With more of its layers in float, an int8 engine gains little: then it is refused.
_MOST_IN_FLOAT = 0.5
# Pictures that both engines score in turns for their speed, after one that is not timed.
_TIMED = 9
# The pictures differ by less than float32's own rounding, see gate_fp32.
_NO_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class Certify:
    """What is to be certified, and where.

    Args:
        checkpoint: the packed checkpoint.
        place: of the report.
        plain: the precision that "auto" takes without int8, "fp32" or "bf16".
        threads: CPU threads of the engines; None takes all cores.
        cache_dir: of the package.
        recipe: prove this recipe's file as it is; None chooses one.
        progress: is told how far it is.
    """

    checkpoint: Checkpoint
    place: Place
    plain: str
    threads: int | None
    cache_dir: Path
    recipe: Path | None = None
    progress: Progress = lambda *_: None

    def __call__(self, pictures: Callable[[], PictureSets]) -> FidelityReport:
        """Certify by these pictures, and store recipe, report and page, whether the gate holds or not.

        What was measured already, of the same pictures, is read. Raises InputError for pictures that say nothing,
        CheckpointError for a recipe of other weights, BackendError when an engine stops, and EmonetError when the
        cache cannot be written.
        """
        store = ReportStore(self.cache_dir)
        store.check()
        given = None if self.recipe is None else load_recipe(self.recipe, self.checkpoint)
        sets = pictures()
        facts = _facts_of(sets)
        folder = store.folder / f"calibration-{self._key(facts, given)}"
        with opening(folder):
            folder.mkdir(exist_ok=True)
        with _alone(folder):
            known = self._known(store, facts, given)
            if known is None:
                try:
                    known = _Certifying(self, sets, facts, folder, given).report(store)
                except InputError:  # the same pictures would give it again
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        shutil.rmtree(folder, ignore_errors=True)
        return known

    def _key(self, facts: dict[str, Any], given: Int8Recipe | None) -> str:
        what = [
            asdict(self.place),
            facts,
            RECIPE_VERSION,
            CALIBRATION_VERSION,
            __version__,
            None if given is None else given.hash,
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    def _known(self, store: ReportStore, facts: dict[str, Any], given: Int8Recipe | None) -> FidelityReport | None:
        """The report of these pictures, where it is there already."""
        for report in store.everything():
            same = report.place == self.place and report.facts["pictures"] == facts
            made_by = report.facts["versions"]["emonet_fast"] == __version__
            right = report.facts["given"] is (given is not None) and (given is None or given.hash == report.recipe)
            if same and made_by and right and store.recipe_path(report.recipe).exists():
                return report
        return None


@dataclass
class _Certifying:
    """One certification under way."""

    what: Certify
    sets: PictureSets
    pictures: dict[str, Any]
    folder: Path
    given: Int8Recipe | None
    tried: dict[int, Fidelity] = field(default_factory=dict)
    watch: Stopwatch = field(default_factory=lambda: Stopwatch("reference", "recipe", "search", "speed"))

    def report(self, store: ReportStore) -> FidelityReport:
        """Do all steps. Raises as Certify does."""
        pixels = self.folder / "proof.npy"
        with writing(pixels):
            np.save(pixels, self.sets.proof)
        with self.watch("reference"):
            want = self._outputs("fp32", None, "reference.npz", "proof in float32")
        _check_spread(want.raw, self.sets)
        with self.watch("recipe"):
            recipe, order = self._chosen()
        with self.watch("search"):
            kept, got, candidate = self._search(recipe, order, want)
        self._keep_engine(kept)
        engines = self._speed(candidate)
        checkpoint = self.what.checkpoint
        facts = {
            "format": FORMAT,
            "version": REPORT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "precision": "int8",
            "checkpoint": checkpoint.source,
            "untrained": checkpoint.untrained,
            "place": asdict(self.what.place),
            "versions": {"emonet_fast": __version__, "recipe": RECIPE_VERSION, "numpy": np.__version__},
            "bars": {"spearman": INT8_SPEARMAN, "rms": INT8_RMS, "top1": INT8_TOP1},
            "recipe": {
                "hash": kept.hash,
                "layers": checkpoint.vision.num_hidden_layers * 4,
                "float": [n for n in layer_names(checkpoint.vision.num_hidden_layers) if n not in kept.layers],
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
        report = FidelityReport(json.loads(json.dumps(facts), parse_constant=lambda _: None))
        store.store(report, candidate, fidelity_page(report.facts, report.gate.failures, report.gate.unproved))
        return report

    def _outputs(self, precision: str, recipe: Path | None, name: str, phase: str) -> Outputs:
        """What an engine gives for the proof's pictures; read where it is there already."""
        path, count = self.folder / name, len(self.sets.proof)
        with suppress(OSError, ValueError, KeyError):
            return read_outputs(path)
        self.what.progress(phase, 0, count)
        side = self._side(precision, recipe, path, self.folder if precision == "int8" else self.what.cache_dir)
        try:
            for number in range(count):
                side.score(number)
                self.what.progress(phase, number + 1, count)
            side.finish()
        finally:
            side.kill()
        return read_outputs(path)

    def _side(self, precision: str, recipe: Path | None, outputs: Path, cache_dir: Path) -> Side:
        what = self.what
        pixels = self.folder / "proof.npy"
        return Side(SideOrder(what.checkpoint.path, precision, recipe, what.threads, cache_dir, pixels, outputs))

    def _chosen(self) -> tuple[Int8Recipe, list[str]]:
        """The recipe of all layers, and its layers in the order in which they go back to float."""
        if self.given is not None:
            return self.given, []
        path, order = self.folder / "chosen.safetensors", self.folder / "order.json"
        with suppress(OSError, ValueError, EmonetError):
            return load_recipe(path, self.what.checkpoint), json.loads(order.read_text("utf-8"))
        checkpoint, pixels, progress = self.what.checkpoint, self.sets.calibration, self.what.progress
        means = self._means()
        chosen = calibrate_int8(checkpoint, pixels, means, self.folder, progress)
        write_whole(order, json.dumps(chosen.order).encode(), follow=False)
        save_recipe(path, chosen.recipe)
        return chosen.recipe, list(chosen.order)

    def _means(self) -> dict[str, Float32Array]:
        """The means of the layers' inputs over the pictures of calibration; read where they are there already."""
        path = self.folder / "means.npz"
        with suppress(OSError, ValueError), np.load(path) as file:
            return dict(file)
        progress = partial(self.what.progress, "means in float")
        means = means_of(self.what.checkpoint, self.sets.calibration, self.what.plain, progress)
        with writing(path):
            np.savez(path, allow_pickle=False, **means)
        return means

    def _search(self, recipe: Int8Recipe, order: list[str], want: Outputs) -> tuple[Int8Recipe, Outputs, Path]:
        """Give up as few layers as the gate needs. Returns the recipe that is left, its outputs and its file."""
        names = self.what.checkpoint.names
        emotions = [i for i, slug in enumerate(names) if taxonomy.find(slug).is_emotion]
        candidate = self.folder / "candidate.safetensors"
        saved: list[int] = []

        def left(kept: int) -> Int8Recipe:
            given_up = set(order[:kept])
            return replace(recipe, layers={k: v for k, v in recipe.layers.items() if k not in given_up})

        def outputs(kept: int) -> Outputs:
            name = f"int8-{kept}.npz"
            if saved != [kept]:
                save_recipe(candidate, left(kept))
                saved[:] = [kept]
            what = "proof in int8" + (f", {kept} layers in float" if kept else "")
            return self._outputs("int8", candidate, name, what)

        def evaluate(kept: int) -> Fidelity:
            got = outputs(kept)
            self.tried[kept] = measure((want.embedding, want.raw), (got.embedding, got.raw), emotions)
            f = self.tried[kept]
            _log.info(
                "int8 with %d layers in float: RMS error %.2f%% of the spread, lowest Spearman %.4f, top-1 %.1f%%",
                kept, 100 * f.rms_relative, f.spearman_min, 100 * f.top1_agreement,
            )  # fmt: skip
            return f

        kept, most = 0, int(len(order) * _MOST_IN_FLOAT)
        if not gate_int8(evaluate(0)).passed and most:
            length, _ = shortest_prefix(most, evaluate, gate_int8)
            kept = most if length is None else length
        return left(kept), outputs(kept), candidate

    def _keep_engine(self, recipe: Int8Recipe) -> None:
        """Move the engine that was proven to the cache's: what computes is what was measured, and built once."""
        for record in (self.folder / "engines").glob("*.json"):
            if recipe.hash[:16] in record.read_text("utf-8"):
                for path in record.parent.glob(f"{record.stem}.*"):
                    with writing(path):
                        path.replace(self.what.cache_dir / "engines" / path.name)

    def _speed(self, recipe: Path) -> list[dict[str, Any]]:
        """Seconds and memory of the engine without int8 and of the one with it, picture by picture in turns."""
        count = min(_TIMED, len(self.sets.proof))
        sides: list[Side] = []
        try:
            with self.watch("speed"):
                for precision, path in ((self.what.plain, None), ("int8", recipe)):
                    sides.append(
                        self._side(precision, path, self.folder / f"speed-{precision}.npz", self.what.cache_dir)
                    )
                for number in range(count):
                    self.what.progress("speed of both, in turns", number, count)
                    for side in sides:
                        side.score(number)
                self.what.progress("speed of both, in turns", count, count)
                return [side.finish() for side in sides]
        finally:
            for side in sides:
                side.kill()

    def _thumbnail(self, index: int) -> str:
        """A picture of the proof as it was before it was squashed to a square."""
        height, width = self.sets.shapes[index]
        side = max(height, width)
        rgb = Image.fromarray(np.ascontiguousarray(self.sets.proof[index].transpose(1, 2, 0)))
        small = rgb.resize((max(1, 224 * width // side), max(1, 224 * height // side)))
        return encoded(thumbnail(np.asarray(small)))


def _facts_of(sets: PictureSets) -> dict[str, Any]:
    """What a report says of its pictures."""

    def one(pixels: UInt8Array, drawn: int) -> dict[str, Any]:
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        source = f"{sets.source} ({drawn} of them {DRAWN})" if drawn else sets.source
        return {"count": len(pixels), "from": source, "sha256": digest}

    return {
        "calibration": one(sets.calibration, sets.drawn),
        "proof": one(sets.proof, 0),
        "left_out": sets.left_out,
    }


def _check_spread(raw: np.ndarray[Any, Any], sets: PictureSets) -> None:
    """Raise InputError where the pictures' scores hardly differ: nothing can be told from their order."""
    spread = float(raw.std(axis=0).max())
    if not spread > _NO_SPREAD:
        raise InputError(
            f"the {len(raw)} pictures {sets.source} have no spread: no score differs by more than {spread:.1e} between "
            "them; expected different pictures, such as will be scored"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process works in the folder; others wait for it, where the system has such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _log.info("another process calibrates the same: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)  # the other one has removed it
        yield


def logged(every: float = 30.0) -> Progress:
    """A progress that writes a line to the log at the beginning of each phase, and every so many seconds."""
    said: dict[str, float] = {}

    def report(phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - said.get(phase, -every) >= every:
            said[phase] = now
            _log.info("int8: %s, %d of %d", phase, done, total)

    return report
