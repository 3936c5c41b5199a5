"""`emonet-fast calibrate`: a low precision made and proven for some weights on this machine."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bars import phases, steps
from ..errors import OptionError
from ..options import Options
from . import engines
from . import options as opt

if TYPE_CHECKING:
    from ..checkpoint.spec import Checkpoint
    from ..engines.report import FidelityReport


@opt.command(
    ("Certify int8 for these weights on this processor:", "-c large"),
    ("On pictures like those that will be scored:", "-c large --images photos/ -o large-int8.safetensors"),
)
@engines.checkpoint
@opt.images("Calibrate and prove on the pictures of this folder.")
@opt.INPUT("--limit N", "Take at most this many pictures of the folder.", type=click.IntRange(16), default=160)
@engines.certified_options
@opt.output(
    "F.safetensors",
    "Copy the recipe to this file, and its report to F.json and F.html.",
    opt.OutputFile(".safetensors"),
)
def calibrate(checkpoint: str, images: Path | None, limit: int, options: Options, output: Path | None) -> None:
    """Make int8 for these weights, and prove it here.

    It is calibrated on some pictures and compared with float32 on others. The report, the recipe and a page are kept
    in the cache; precision auto takes int8 where the report passes. A run that was stopped goes on where it was. On a
    GPU fp8 gets its certificate.
    """
    from ..backends.choose import choose
    from ..checkpoint import open_checkpoint
    from ..sources import Inputs

    companions = [] if output is None else [output, output.with_suffix(".json"), output.with_suffix(".html")]
    pictures_of = () if images is None else Inputs([str(images)], options).paths()
    opt.try_files(*companions, inputs=(*pictures_of, *opt.files_read(checkpoint, options)))
    backend = choose(options).backend  # says what is missing before weights are read
    if backend != "openvino" and output is not None:
        raise OptionError("--output is for int8: the certificate of FP8 stays in the cache")
    with steps("packing") as done:
        opened = open_checkpoint(checkpoint, options.cache_dir, revision=options.revision, progress=done)
    if backend == "openvino":
        report = _int8(opened, images, limit, options)
        written = opt.write_apart(lambda: _copy(report, options, companions))
        sys.exit(written if report.gate.passed else opt.Exit.MISSED)
    _fp8(opened, backend, images, limit, options)


def _int8(opened: "Checkpoint", images: Path | None, limit: int, options: Options) -> "FidelityReport":
    from ..backends.openvino.settle import certify
    from ..engines.pictures import PictureSets, int8_pictures, pictures_of
    from ..engines.reports import ReportStore

    def pictures() -> PictureSets:
        if images is None:
            return int8_pictures(opened)
        found = pictures_of(opened, images, limit, options)
        if found.left_out:
            opt.say(f"{found.left_out} pictures of {images} could not be read or came twice: left out", err=True)
        return found

    try:
        with phases() as show:
            report = certify(opened, options, pictures, show)
    except KeyboardInterrupt:
        opt.say("interrupted: what was measured is kept, and the same command goes on with it", err=True)
        sys.exit(opt.Exit.INTERRUPTED)
    opt.say(*report.text().split("\n"))
    opt.say(f"page: {ReportStore(options.cache_dir).page_path(report)}")
    return report


def _copy(report: "FidelityReport", options: Options, companions: list[Path]) -> list[Path]:
    """Copy recipe, report and page out of the cache."""
    from ..engines.reports import ReportStore
    from ..files import PendingFile

    store = ReportStore(options.cache_dir)
    sources = (store.recipe_path(report.recipe), store.path(report), store.page_path(report))
    for source, target in zip(sources, companions, strict=False):
        with PendingFile(target) as pending, source.open("rb") as file:
            shutil.copyfileobj(file, pending.file)
            pending.finish()
            pending.publish()
    return companions


def _fp8(opened: "Checkpoint", backend: str, images: Path | None, limit: int, options: Options) -> None:
    """Certify FP8 as its first use does, and say with what figures."""
    if backend == "tensorrt":
        from .checkpoint import build_tensorrt

        if images is not None:
            raise OptionError("--images is for OpenVINO and CUDA: TensorRT's FP8 is proven on pictures that are drawn")
        build_tensorrt(opened, options)
        return
    from ..backends.cuda.fp8 import certified
    from ..engines.pictures import pictures_of
    from ..gpu import NoGpu, look

    gpu = look(options.device)
    if isinstance(gpu, NoGpu):
        raise OptionError(f"there is no GPU any more: {gpu.reason}")
    sets = None if images is None else pictures_of(opened, images, limit, options)
    certificate = certified(opened, gpu, options.cache_dir, sets)
    f = certificate.fidelity
    opt.say(
        f"fp8 passes on {f.pictures} pictures: lowest Spearman of a head {f.spearman_min:.4f}, lowest embedding cosine "
        f"{f.cosine_min:.5f}, RMS error {f.rms_relative:.1%} of the spread, top-1 agreement {f.top1_agreement:.1%}",
        f"in bf16 for fidelity: {', '.join(certificate.keep) or 'no layer'}",
    )
