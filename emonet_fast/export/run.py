"""Writes an exported model: the file or folder, and the check beside it, all of them or nothing."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import helper

from .._version import __version__
from ..arithmetic import missing_note
from ..backends.openvino.settle import find_report
from ..checkpoint.spec import Checkpoint
from ..engines.reports import ReportStore
from ..errors import BackendError, OptionError
from ..files import PendingFile, check_new_folder, check_space, new_folder, target_of, writing
from ..graph.exported import Graph, export_graph
from ..graph.int8 import Int8Recipe, load_recipe
from ..graph.onnx_file import fits, weights_size, write_beside, write_inside
from ..optional import import_openvino, openvino_core
from ..options import ExportOptions, Options
from ..sources.folder import hash_of
from ..text import counted, counted_parts
from .describe import KEY, document, model_info
from .expected import (
    FLOAT32_ERROR,
    Expected,
    Progress,
    as_input,
    check_pixels,
    expected_outputs,
    tolerances_of_half,
    write_expected,
)

CHECK = ".check.npz"
_DATA = ".data"
# In a folder of OpenVINO's format.
MODEL, WEIGHTS = "model.xml", "model.bin"


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that was written.

    Args:
        files: all of it, the model first, the check last.
        about: what it says of itself, see describe.document.
    """

    files: tuple[Path, ...]
    about: Mapping[str, Any]


def files_of_export(output: Path, options: ExportOptions) -> tuple[Path, ...]:
    """Every file that an export may write: the model, its weights where they are beside it, and the check.

    Raises OptionError for an output whose name says another kind.
    """
    if options.format == "openvino":
        if output.suffix.lower() in (".onnx", ".xml", ".bin"):
            raise OptionError(f"output is {str(output)!r}; expected a folder's name: openvino is written as a folder")
        return output / MODEL, output / WEIGHTS, output / f"model{CHECK}"
    if output.suffix.lower() != ".onnx":
        raise OptionError(f"output is {str(output)!r}; expected a name ending in .onnx for the format {options.format}")
    return output, output.with_name(output.name + _DATA), output.with_name(output.name + CHECK)


def export(
    checkpoint: Checkpoint, output: Path, wanted: ExportOptions, options: Options, progress: Progress = lambda *_: None
) -> Exported:
    """Write a packed checkpoint as a model of another format, and its check beside it.

    Weights go through memory one at a time. All files appear whole, or nothing does.

    Args:
        output: a file ending in .onnx, or for OpenVINO a new folder.
        options: where reports of int8 are, which recipe is taken, and whether a report that fails is accepted.

    Raises:
        OptionError: an output is asked for that these weights cannot give, or `output` has the wrong kind of name.
        BackendError: int8 without a fidelity report that passes.
        EmonetError: fp16 misses its bars, or the disk refuses.
    """
    files = files_of_export(output, wanted)
    _check_outputs(checkpoint, wanted)
    recipe, proof, tolerances = _settled(checkpoint, wanted, options)
    if wanted.format == "openvino":
        check_new_folder(output)
    graph = export_graph(
        checkpoint,
        wanted.names,
        floats=wanted.input == "float",
        batch=None if wanted.batch == "dynamic" else wanted.batch,
        recipe=recipe,
        half=wanted.precision == "fp16",
    )
    copies = 2 if wanted.format == "openvino" else 1
    check_space(output.parent, copies * weights_size(graph), "the exported model")
    pixels = check_pixels(checkpoint)
    outputs = expected_outputs(checkpoint, pixels, progress)
    if wanted.precision == "fp16":
        tolerances = tolerances_of_half(checkpoint, pixels, outputs, progress)
    about = document(checkpoint, wanted, proof, tolerances)
    graph.model.producer_version = __version__
    said = {KEY: json.dumps(about)} | {
        f"model_info {key}": value for key, value in model_info(checkpoint, wanted).items()
    }
    helper.set_model_props(graph.model, said)
    expected = Expected(as_input(pixels, wanted), {name: outputs[name] for name in wanted.names}, about)
    if wanted.format == "openvino":
        _write_openvino(graph, output, expected, model_info(checkpoint, wanted), progress)
        return Exported(files, about)
    return Exported(_write_onnx(graph, files, expected, progress), about)


def _check_outputs(checkpoint: Checkpoint, wanted: ExportOptions) -> None:
    """Raise OptionError where these weights cannot give an output that is asked for."""
    meaning = {"scores", "softmax"} & set(wanted.names)
    if meaning and checkpoint.neutral_means is None:
        raise OptionError(
            f"{' and '.join(sorted(meaning))} came as outputs, and {checkpoint.path} has no neutral means; take "
            "--outputs raw,embedding"
        )
    missing = missing_note(checkpoint.names)
    if "softmax" in meaning and missing:
        raise OptionError(f"softmax came as an output, and {checkpoint.path} has {missing[0]}")


def _settled(
    checkpoint: Checkpoint, wanted: ExportOptions, options: Options
) -> tuple[Int8Recipe | None, dict[str, str], dict[str, float]]:
    """The recipe of int8, what is known of the precision, and how far a runtime may be from the float32 network."""
    if wanted.precision != "int8":
        return None, {}, {"error": FLOAT32_ERROR, "cosine": 0.999999}
    report = find_report(checkpoint, options)
    if report is None:
        given = "" if options.recipe is None else f" --recipe {options.recipe}"
        raise BackendError(
            "int8 is exported only where it was proven, and there is no fidelity report of "
            f"{'this recipe' if given else 'it'} for these weights on this processor; make one with "
            f"`emonet-fast calibrate --checkpoint C{given}`, or export fp32"
        )
    if not report.gate.passed and not options.accept_fidelity:
        raise BackendError(
            f"int8 is refused for these weights on this processor: it {report.verdict()}. Calibrate on pictures like "
            "yours (`emonet-fast calibrate --images DIR`), export fp32, or accept it as it is by --accept-fidelity"
        )
    recipe = load_recipe(ReportStore(options.cache_dir).recipe_path(report.recipe), checkpoint)
    if wanted.format == "tensorrt-onnx":
        # a layer whose linears are all float has no quantiser
        unsigned = [name for name, layer in recipe.layers.items() if layer.input_zero and layer.codes]
        if unsigned:
            raise OptionError(
                f"the recipe has {counted(len(unsigned), 'layer')} with a zero point ({counted_parts(unsigned)}), "
                "which TensorRT does not take; export fp32 and let TensorRT compute in bf16"
            )
    return recipe, report.proof(), {"error": report.fidelity.max_error, "cosine": report.fidelity.cosine_min}


def _write_onnx(graph: Graph, files: tuple[Path, ...], expected: Expected, progress: Progress) -> tuple[Path, ...]:
    """Write one file, or two where one would be too large for protobuf; and the check. Returns those written."""
    model, data, check = files
    one = fits(graph)

    def done(count: int, total: int) -> None:
        progress("weights", count, total)

    with ExitStack() as stack:
        pending = [stack.enter_context(PendingFile(path)) for path in ((model,) if one else (model, data))]
        if one:
            write_inside(pending[0].file, graph, done)
        else:
            write_beside(pending[0].file, pending[1].file, data.name, graph, done)
        for file in pending:
            file.finish()
        hashes = {file.path.name: file.hashed()[0] for file in pending}
        last = stack.enter_context(PendingFile(check))
        write_expected(last, Expected(expected.pixels, expected.outputs, {**expected.about, "files": hashes}))
        if not one:  # or whoever is stopped between the renames leaves an older model that reads the new weights
            target_of(model).unlink(missing_ok=True)
        for file in (*reversed(pending), last):
            file.publish()
    if one:
        data.unlink(missing_ok=True)  # of an earlier export of this name, which nothing reads any more
    return (model, check) if one else files


def _write_openvino(
    graph: Graph, output: Path, expected: Expected, info: Mapping[str, str], progress: Progress
) -> None:
    """Write a folder of OpenVINO's format, by way of an ONNX file whose weights OpenVINO maps."""
    ov = import_openvino()
    with new_folder(output) as folder, writing(output):
        temporary = folder / "network.onnx", folder / "network.data"
        with temporary[0].open("wb") as file, temporary[1].open("wb") as data:
            write_beside(file, data, temporary[1].name, graph, lambda done, total: progress("weights", done, 2 * total))
        model = openvino_core().read_model(temporary[0])
        pixels = model.get_parameters()[0]
        pixels.set_layout(ov.Layout(expected.about["input"]["layout"]))
        for key, value in info.items():
            model.set_rt_info(value, ["model_info", key])
        model.set_rt_info(json.dumps(expected.about), [KEY])
        ov.save_model(model, folder / MODEL, compress_to_fp16=False)
        del model, pixels
        size = weights_size(graph)
        if (folder / WEIGHTS).stat().st_size < size:  # OpenVINO says nothing of a full disk
            raise OSError(None, "the disk took only a part of the weights")
        for path in temporary:
            path.unlink()
        progress("weights", 2 * size, 2 * size)
        hashes = {name: hash_of(folder / name) for name in (MODEL, WEIGHTS)}
        with PendingFile(folder / f"model{CHECK}") as pending:
            write_expected(pending, Expected(expected.pixels, expected.outputs, {**expected.about, "files": hashes}))
            pending.publish()
