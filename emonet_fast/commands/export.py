"""`emonet-fast export`: pixels to scores as one model for other people's runtimes, and its check."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..bars import phases
from ..errors import OptionError
from ..options import ExportOptions, Options
from . import engines
from . import options as opt

if TYPE_CHECKING:
    from ..cards import CardFile

_PROOF = ("recipe", "accept_fidelity")  # what int8 alone takes


@opt.command(
    ("One file for ONNX Runtime:", "-c large -o emonet.onnx"),
    ("OpenVINO's own format, with the softmax:", "-c large -o emonet-openvino/ --format openvino --with-softmax"),
    ("Run what was exported in the runtimes that are here:", "--check emonet.onnx"),
)
@opt.ENGINE(
    "--checkpoint -c C",
    "Export these weights: 'large' or 'small' (from the hub), a packed file, or a folder with encoder/ and heads/.",
)
@engines.exported
@engines.export_proof
@opt.card_file
@opt.output("F.onnx|DIR", "Write the model to this file, for OpenVINO to this new folder; its check comes beside it.")
@opt.INPUT("--check F", "Run this exported model on its check's pictures, and compare what comes out.", type=opt.PATH)
def export(
    checkpoint: str | None,
    wanted: ExportOptions,
    options: Options,
    card: "CardFile | None",
    output: Path | None,
    check: Path | None,
) -> None:
    """Write pixels to scores as one model for other runtimes.

    It has normalisation, backbone, heads and neutral means inside, and labels and preprocessing in its metadata;
    pictures are resized outside. int8 needs a fidelity report of `calibrate`. Beside the model comes a check: pictures
    and what the float32 network makes of them.
    """
    if check is None and checkpoint is not None and output is not None:
        _export(checkpoint, output, wanted, options, card)
    elif check is not None and not (checkpoint or output or card) and wanted == ExportOptions():
        options.without_effect(_PROOF, "a check")
        _check(check)
    else:
        raise OptionError("expected either --checkpoint and --output, or --check alone")


def _check(path: Path) -> None:
    from ..export.check import check, check_ran, summary

    with phases("picture") as show:
        expected, results = check(path, show)
    opt.say(summary(expected), *(result.text() for result in results))
    sys.exit(opt.Exit.DONE if check_ran(results) else opt.Exit.MISSED)


def _export(checkpoint: str, output: Path, wanted: ExportOptions, options: Options, card: "CardFile | None") -> None:
    from ..checkpoint import open_checkpoint
    from ..export import card_words, export, files_of_export
    from ..files import check_new_folder, keep_apart

    if wanted.precision != "int8":
        options.without_effect(_PROOF, f"an export in {wanted.precision}")
    files = files_of_export(output, wanted)
    described = card.path if card else None
    inputs = [*opt.files_read(checkpoint, options)]
    if wanted.format == "openvino":
        check_new_folder(output)
        keep_apart(files, inputs)
        opt.try_files(described, inputs=inputs)
    else:
        opt.try_files(*files, described, inputs=inputs)
    with phases("B", units={"check": "layer", "check of float16": "layer"}) as show:
        opened = open_checkpoint(
            checkpoint,
            options.cache_dir,
            revision=options.revision,
            progress=lambda done, total: show("packing", done, total),
        )
        keep_apart([*files, described], [opened.path])
        done = export(opened, output, wanted, options, show)
    if card is not None:
        card.write(output.name, opened, *card_words(done.files[0].name, done.about))
    opt.wrote(*done.files, described)
    if "accepted_fidelity" in done.about:
        opt.say(done.about["accepted_fidelity"])
    if opened.untrained:
        opt.say("untrained weights: the numbers mean nothing")
    opt.say(f"check it by: emonet-fast export --check {output}")
