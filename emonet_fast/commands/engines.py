"""Options that say what computes: weights, engine, certificate, exported model, and the faces that are looked for."""

from pathlib import Path
from typing import Any

from ..options import (
    BACKENDS,
    DECODERS,
    EXPORT_FORMATS,
    EXPORT_INPUTS,
    EXPORT_PRECISIONS,
    PRECISIONS,
    ExportOptions,
    FaceOptions,
    Options,
)
from .parts import ENGINE, FACES, INPUT, OUTPUT, PATH, Decorator, number_or_word, together

checkpoint = ENGINE(
    "--checkpoint -c C",
    "Take these weights: 'large' or 'small' (from the hub), a packed file, or a folder with encoder/ and heads/.",
    required=True,
)
packed_with = ENGINE("--checkpoint -c C", "Pack the heads with this checkpoint's encoder, into packed.safetensors.")
_hub = {
    "revision": ENGINE("--revision REV", "Take this branch, tag or commit of the hub.", show_default="the pinned one"),
    "cache_dir": ENGINE(
        "--cache-dir DIR",
        "Keep engines and packed weights in this folder.",
        type=PATH,
        default=None,
        show_default="see doctor",
    ),
}
hub_options = together("options", Options, **_hub)
cache_options = together("options", Options, cache_dir=_hub["cache_dir"])
_engine = dict(
    device=ENGINE("--device D", "Compute on cpu, cuda or cuda:N; auto takes a GPU where there is one."),
    backend=ENGINE("--backend", "Compute by this engine; auto takes cuda on a GPU, openvino on a CPU.", BACKENDS),
    precision=ENGINE(
        "--precision",
        "Compute in this precision; auto takes int8 where a fidelity report of these weights on this processor passes, "
        "else bf16 where the device has it, else fp32.",
        PRECISIONS,
    ),
    recipe=ENGINE(
        "--recipe F", "Compute int8 by this recipe of `calibrate --output`.", type=PATH, show_default="the newest"
    ),
    accept_fidelity=ENGINE(
        "--accept-fidelity", "Use int8 although its fidelity report misses the bars; outputs say so.", is_flag=True
    ),
    batch_size=ENGINE(
        "--batch-size N", "Score this many pictures in one call of the engine.", type=int, show_default="by device"
    ),
    threads=ENGINE("--threads N", "Use this many CPU threads for an engine.", type=int, show_default="all cores"),
    streams=ENGINE(
        "--streams auto|N",
        "Score N batches at once on a CPU, each on its share of the threads; auto takes what pays for the pictures.",
        type=number_or_word,
    ),
    decoder=ENGINE("--decoder", "Decode pictures by this; dali needs the extra `dali`.", DECODERS),
    trust_engine=ENGINE(
        "--trust-engine F",
        "Let backend tensorrt load this engine file. An engine is a program that runs with your rights: name a file "
        "only when you know who made it.",
        type=PATH,
    ),
    **_hub,
    exif=INPUT("--exif/--no-exif", "Turn pictures upright by their EXIF orientation first."),
    max_pixels=INPUT("--max-pixels N", "Do not decode pictures with more pixels; their rows get a status."),
    max_bytes=INPUT("--max-bytes N", "Do not decode files with more bytes; their rows get a status."),
    max_memory=INPUT("--max-memory N", "Do not decode pictures that take more bytes of memory, by their header."),
    max_seconds=INPUT("--max-seconds X", "Do not decode pictures that take longer, by their structure."),
)


def engine_options(*without: str) -> Decorator:
    """Options that give a command `options`, an Options. without: the fields that would change nothing there."""
    # Any cache_dir will do here: its option has no default of its own, and a user without a home has no such folder.
    defaults = Options(cache_dir=Path())
    return together("options", Options, defaults, **{k: v for k, v in _engine.items() if k not in without})


_NOT_CERTIFIED = ("batch_size", "decoder", "streams", "trust_engine", "accept_fidelity")
# What is certified, and with what: `options`, an Options of precision "int8" or "fp8".
certified_options = together(
    "options",
    Options,
    Options(cache_dir=Path(), precision="int8"),
    **{k: v for k, v in _engine.items() if k not in _NOT_CERTIFIED}
    | {
        "precision": ENGINE("--precision", "Certify this precision: int8 on a CPU, fp8 on a GPU.", ("int8", "fp8")),
        "recipe": ENGINE("--recipe F", "Prove this recipe of int8 instead of making one.", type=PATH),
    },
)


def _for_int8(**values: Any) -> Options:
    """Options of an export, whose own precision says whether int8 is wanted."""
    chosen = {name: value for name, value in values.items() if value not in (None, False)}
    return Options(**chosen, precision="int8")


# Where reports of int8 are, and which one counts: `options`.
export_proof = together(
    "options",
    _for_int8,
    Options(cache_dir=Path()),
    **{name: _engine[name] for name in ("recipe", "accept_fidelity", "revision", "cache_dir")},
)
# What an exported model is like: `wanted`.
exported = together(
    "wanted",
    ExportOptions,
    ExportOptions(),
    format=OUTPUT("--format", "Write this format.", EXPORT_FORMATS),
    precision=ENGINE(
        "--precision",
        "Write weights in this precision; fp16 computes in float32, int8 needs a report of `calibrate`.",
        EXPORT_PRECISIONS,
    ),
    input=OUTPUT(
        "--input", "Let the model take bytes [N, S, S, 3], or planes [N, 3, S, S] from 0 to 1.", EXPORT_INPUTS
    ),
    batch=OUTPUT(
        "--batch dynamic|N",
        "Let a batch have any number of rows, or just so many.",
        type=number_or_word,
    ),
    outputs=OUTPUT(
        "--outputs NAMES", "Give these outputs: softmax, scores, raw, embedding; some of them, between commas."
    ),
    with_softmax=OUTPUT("--with-softmax", "Give the softmax over the 40 emotions too.", is_flag=True),
)


detector_model = FACES(
    "--detector-model F",
    "Use this ONNX file of YuNet.",
    type=PATH,
    show_default="the packed checkpoint's, else the hub's",
)


_faces = FACES(
    "--faces WHICH",
    "Score whole pictures (none), the faces that YuNet finds (detect), or those of a file (boxes:FILE, as COCO JSON, "
    "parquet or CSV).",
)
_own_faces = FACES(
    "--faces", "Score whole pictures (none), or the faces that YuNet finds (detect).", ("none", "detect")
)


def face_options(defaults: FaceOptions = FaceOptions(), known: bool = True) -> Decorator:  # noqa: B008 - it is frozen
    """Options that give a command `faces`, a FaceOptions. known: whether a file may name the pictures' faces."""
    return together(
        "faces",
        FaceOptions,
        defaults,
        faces=_faces if known else _own_faces,
        model=detector_model,
        margin=FACES(
            "--face-margin X", "Let a crop reach beyond its face on each side by this part of the face's longer side."
        ),
        min_score=FACES("--face-score X", "Leave out faces of which the detector is less sure (0 to 1)."),
        min_face=FACES("--min-face PX", "Leave out faces whose longer side has fewer pixels."),
    )
