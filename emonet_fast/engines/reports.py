"""Fidelity reports on disk, each with its page and the recipe that it proves, beside the engines."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from ..errors import EmonetError
from ..files import writing
from ..trust import foreign, make_trusted_folder, mark_used, write_own
from .report import FidelityReport, Place, read_report

_log = logging.getLogger("emonet_fast")


class ReportStore:
    """The folder `engines` of a cache: `fidelity-*.json` beside `fidelity-*.html`, and `int8-<hash>.safetensors`.

    As of every thing in the cache, only what nobody else can have written is used. A recipe's name is its hash, so that
    a later one never takes its place: a begun bulk run finds the recipe that it began with.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / "engines"

    def recipe_path(self, recipe: str) -> Path:
        """Where the recipe of a hash lies, or would lie."""
        return self.folder / f"int8-{recipe[:32]}.safetensors"

    def page_path(self, report: FidelityReport) -> Path:
        """Where the HTML page of a report lies."""
        return self.path(report).with_suffix(".html")

    def everything(self) -> list[FidelityReport]:
        """All sound reports, the newest first. Of one that is not the log says why it is not used."""
        found = []
        for path in sorted(self.folder.glob("fidelity-*.json")) if self.folder.is_dir() else ():
            try:
                fault = foreign(path)
                if fault is not None:
                    raise ValueError(fault)
                found.append(read_report(path.read_bytes()))
            except FileNotFoundError:
                continue  # removed meanwhile
            except (OSError, ValueError) as error:
                again = "make it again with `emonet-fast calibrate`"
                _log.warning("the fidelity report %s is refused: %s; %s", path, error, again)
        return sorted(found, key=lambda report: report.created, reverse=True)

    def find(self, place: Place, recipe: str | None = None) -> FidelityReport | None:
        """The report that counts in a place: the newest that passes, else the newest; None without any.

        recipe: the hash of the one recipe that is asked for. A report whose recipe is gone does not count.
        """
        here = [r for r in self.everything() if r.place == place and recipe in (None, r.recipe) and self._has_recipe(r)]
        found = next((report for report in here if report.gate.passed), here[0] if here else None)
        if found is not None:
            for path in (self.path(found), self.recipe_path(found.recipe)):
                mark_used(path)
        return found

    def store(self, report: FidelityReport, recipe: Path, page: bytes) -> Path:
        """Store a report with its page and its recipe, whose file, on the same disk, is moved here.

        The report comes last and makes the others count. Returns its file. Raises EmonetError when the disk refuses;
        nothing new is left here then, and the recipe's file is where it was.
        """
        path, weights = self.path(report), self.recipe_path(report.recipe)
        shown, new = path.with_suffix(".html"), not path.exists()
        try:
            write_own(shown, page)
            with writing(weights):
                recipe.replace(weights)
            write_own(path, report.as_bytes())
        except BaseException:
            if weights.exists() and not recipe.exists():
                weights.replace(recipe)
            if new:
                shown.unlink(missing_ok=True)
            raise
        return path

    def check(self) -> None:
        """Raise EmonetError where nothing could be stored here."""
        try:
            make_trusted_folder(self.folder)
        except OSError as error:
            raise EmonetError(
                f"cannot write {self.folder}: {error.strerror or error}; choose another cache folder (--cache-dir)"
            ) from error

    def path(self, report: FidelityReport) -> Path:
        """Where a report lies."""
        text = json.dumps({**asdict(report.place), "recipe": report.recipe}, sort_keys=True)
        return self.folder / f"fidelity-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def _has_recipe(self, report: FidelityReport) -> bool:
        path = self.recipe_path(report.recipe)
        try:
            fault = foreign(path)
        except FileNotFoundError:
            fault = "there is none"
        except OSError as error:
            fault = str(error)
        if fault is not None:
            _log.warning("the int8 recipe %s is not used: %s", path, fault)
        return fault is None
