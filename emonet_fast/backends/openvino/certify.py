"""Makes an int8 recipe and proves it: on pictures that it was not chosen by, by the engine that will compute."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._version import __version__
from ...checkpoint.spec import Checkpoint
from ...engines.calibrating import CALIBRATION_VERSION, Progress
from ...engines.pictures import DRAWN, PictureSets
from ...engines.report import FidelityReport, Place
from ...engines.reports import ReportStore
from ...errors import InputError
from ...files import opening
from ...graph.int8 import RECIPE_VERSION, Int8Recipe, load_recipe
from ...records import UInt8Array
from ...reports.fidelity import fidelity_page
from .certifying import Certifying
from .sides import Sides

_log = logging.getLogger("emonet_fast")


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
                    known = self._made(store, sets, facts, folder, given)
                except InputError:  # the same pictures would give it again
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        shutil.rmtree(folder, ignore_errors=True)
        return known

    def _made(
        self, store: ReportStore, sets: PictureSets, facts: dict[str, Any], folder: Path, given: Int8Recipe | None
    ) -> FidelityReport:
        pictures = {"search": sets.search, "proof": sets.proof}
        sides = Sides(self.checkpoint.path, self.threads, folder, self.cache_dir, pictures, self.progress)
        report, recipe = Certifying(self.checkpoint, self.place, self.plain, sides, sets, facts, given).run()
        store.store(report, recipe, fidelity_page(report.facts, report.gate.failures, report.gate.unproved))
        return report

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


def _facts_of(sets: PictureSets) -> dict[str, Any]:
    """What a report says of its pictures."""

    def one(pixels: UInt8Array, drawn: int) -> dict[str, Any]:
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
        source = f"{sets.source} ({drawn} of them {DRAWN})" if drawn else sets.source
        return {"count": len(pixels), "from": source, "sha256": digest}

    return {
        "calibration": one(sets.calibration, sets.drawn),
        "search": one(sets.search, 0),
        "proof": one(sets.proof, 0),
        "left_out": sets.left_out,
    }


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
