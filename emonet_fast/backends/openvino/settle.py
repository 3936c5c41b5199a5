"""Settles the precision on a CPU: int8 where its fidelity report passes, or whatever a user asks for by name."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...checkpoint.spec import Checkpoint
from ...engines.calibrating import Progress
from ...engines.pictures import DRAWN, PictureSets, int8_pictures
from ...engines.report import FidelityReport, Place
from ...engines.reports import ReportStore
from ...errors import BackendError
from ...graph.int8 import recipe_hash
from ...graph.version import GRAPH_VERSION, INT8_VERSION
from ...optional import import_openvino
from ...options import Options
from ...process import instructions
from .certify import Certify, logged
from .engine import capabilities, choose_precision, device_name

_log = logging.getLogger("emonet_fast")


@dataclass(frozen=True, slots=True)
class Settled:
    """What an engine computes in.

    Args:
        precision: "fp32", "bf16" or "int8".
        recipe: of int8, a file of the cache.
        proof: see Backend.proof.
    """

    precision: str
    recipe: Path | None = None
    proof: Mapping[str, str] = field(default_factory=dict)


def settle(checkpoint: Checkpoint, options: Options) -> Settled:
    """Settle the precision of these options. Named int8 without a report is calibrated and proven first: minutes.

    Raises BackendError when int8 misses its bars and `accept_fidelity` is not set, or the processor lacks a precision;
    and what Certify raises.
    """
    if options.precision not in ("auto", "int8"):
        return Settled(choose_precision(options.precision))
    store = ReportStore(options.cache_dir)
    if options.precision == "auto":
        report = store.find(place_of(checkpoint))
        if report is not None and serves_auto(report):
            return _int8(store, report)
        return Settled(choose_precision("auto"))
    if "INT8" not in capabilities():
        raise BackendError(f"precision int8 was asked for, but OpenVINO has none for {device_name()}; use 'auto'")
    report = find_report(checkpoint, options)
    if report is None:
        _log.warning(
            "there is no fidelity report of int8 for these weights on this processor: calibrating and proving it now, "
            "once, on pictures %s; this takes minutes (`emonet-fast calibrate --images DIR` takes your own)",
            DRAWN,
        )
        report = certify(checkpoint, options, lambda: int8_pictures(checkpoint), logged())
    if not report.gate.passed and not options.accept_fidelity:
        raise BackendError(
            f"int8 is refused for these weights on this processor: it {report.verdict()}; its page is "
            f"{store.page_path(report)}. Use precision 'auto', calibrate on pictures like yours "
            "(`emonet-fast calibrate --images DIR`), or accept it as it is by --accept-fidelity"
        )
    return _int8(store, report)


def find_report(checkpoint: Checkpoint, options: Options) -> FidelityReport | None:
    """The report that counts for these options; None without any. Raises CheckpointError for a bad `recipe` file."""
    recipe = None if options.recipe is None else recipe_hash(options.recipe, checkpoint)
    return ReportStore(options.cache_dir).find(place_of(checkpoint), recipe)


def certify(
    checkpoint: Checkpoint, options: Options, pictures: Callable[[], PictureSets], progress: Progress
) -> FidelityReport:
    """Calibrate and prove int8 for these options; see Certify."""
    plain = choose_precision("auto")
    place, threads, cache_dir = place_of(checkpoint), options.threads, options.cache_dir
    return Certify(checkpoint, place, plain, threads, cache_dir, options.recipe, progress)(pictures)


def serves_auto(report: FidelityReport) -> bool:
    """Whether precision "auto" takes int8 by this report: it passes with no bar unproved, and int8 was the faster."""
    return report.gate.passed and not report.gate.unproved and report.speedup > 1


def place_of(checkpoint: Checkpoint) -> Place:
    """What reports of this checkpoint hold for here."""
    version = import_openvino().get_version()
    return Place(checkpoint.weights_hash, f"{GRAPH_VERSION}.{INT8_VERSION}", version, processor())


def processor() -> str:
    """The processor as reports name it: with what OpenVINO can use of it, and the instructions that it has."""
    return " ".join([device_name(), *instructions()])


def _int8(store: ReportStore, report: FidelityReport) -> Settled:
    return Settled("int8", store.recipe_path(report.recipe), report.proof())
