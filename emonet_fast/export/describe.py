"""What an exported model says of itself: a JSON document, and the keys that other programs look for."""

from collections.abc import Mapping
from typing import Any

from .._version import __version__
from ..arithmetic import EMOTIONS
from ..cards import credits_of
from ..checkpoint.spec import Checkpoint
from ..graph.exported import output_width
from ..graph.version import GRAPH_VERSION, INT8_VERSION
from ..options import ExportOptions

KEY = "emonet_fast"
FORMAT = "emonet-fast exported model"
# Raise it when a reader of older exports would misread a newer one.
EXPORT_VERSION = 1


def document(
    checkpoint: Checkpoint, options: ExportOptions, proof: Mapping[str, str], tolerances: Mapping[str, float]
) -> dict[str, Any]:
    """Describe an exported model; docs/export.md lists the fields.

    Args:
        proof: what is known of its precision, see Backend.proof.
        tolerances: how far a runtime may be from the outputs of the check.
    """
    preprocess = checkpoint.preprocess
    n = None if options.batch == "dynamic" else options.batch
    side = preprocess.size
    floats = options.input == "float"
    return {
        "format": FORMAT,
        "version": EXPORT_VERSION,
        "package_version": __version__,
        "graph_version": f"{GRAPH_VERSION}.{INT8_VERSION}",
        "checkpoint": checkpoint.source,
        "checkpoint_hash": checkpoint.weights_hash,
        "encoder_hash": checkpoint.stated_encoder,
        "untrained": checkpoint.untrained,
        "licence": licence(checkpoint),
        "precision": options.precision,
        **proof,
        "input": {
            "name": "pixels",
            "dtype": "float32" if floats else "uint8",
            "layout": "NCHW" if floats else "NHWC",
            "shape": [n, 3, side, side] if floats else [n, side, side, 3],
            "colours": "RGB",
            "range": [0, 1] if floats else [0, 255],
        },
        "resize": {"width": side, "height": side, "filter": preprocess.resample, "keep_aspect": False, "by": "Pillow"},
        "normalisation": {
            "inside": True,
            "rescale_factor": preprocess.rescale_factor,
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
        },
        "outputs": [
            {
                "name": name,
                "dtype": "float32",
                "shape": [n, output_width(checkpoint, name)],
                "columns": columns(checkpoint, name),
            }
            for name in options.names
        ],
        "neutral_means": None if checkpoint.neutral_means is None else dict(checkpoint.neutral_means),
        "l2_normalise": checkpoint.l2_normalise,
        "tolerances": dict(tolerances),
    }


def columns(checkpoint: Checkpoint, output: str) -> list[str] | None:
    """The names of an output's columns; None for those of an embedding."""
    known = {"softmax": list(EMOTIONS), "embedding": None}
    return known.get(output, list(checkpoint.names))


def licence(checkpoint: Checkpoint) -> str:
    """What is known of the weights' licences."""
    if checkpoint.untrained:
        return "none: untrained weights, drawn at random"
    return (
        "; ".join(credits_of(checkpoint.source))
        or f"not known here; see the source of the weights: {checkpoint.source}"
    )


def model_info(checkpoint: Checkpoint, options: ExportOptions) -> dict[str, str]:
    """What OpenVINO's Model API and DL Streamer read, by their keys.

    Sources: Model API's docs/source/guides/model-configuration.md and ClassificationModel; DL Streamer's
    docs/user-guide/dev_guide/model_info_xml.md and model_api_converters.cpp. Both take the first output for logits,
    and pictures as BGR. DL Streamer calls its converter `label`, where Model API wants the name of its class: it looks
    at every key with `model_type` in it, and the last one counts.
    """
    labels = columns(checkpoint, options.names[0]) or []
    # DL Streamer parts labels at these signs, Model API at spaces
    words = [label.translate(str.maketrans(",; ", "___")) for label in labels]
    info = {
        "model_type": "Classification",
        "model_type_dlstreamer": "label",
        "labels": " ".join(words),
        "multilabel": "False",
        "output_raw_scores": "False" if options.names[0] == "softmax" else "True",
        "topk": str(min(5, len(words))),
        "resize_type": "standard",
        "reverse_input_channels": "True",
        "embedded_processing": "False",
    }
    # bytes become the numbers from 0 to 1 that the input takes
    return info | (
        {"mean_values": "0.0 0.0 0.0", "scale_values": "255.0 255.0 255.0"} if options.input == "float" else {}
    )


def card_words(model: str, about: Mapping[str, Any]) -> tuple[str, str]:
    """What a model card says was done to the weights, and how the file is used.

    Args:
        model: name of the file that a runtime opens.
        about: its document.
    """
    values = {
        "fp32": "Their values are unchanged",
        "fp16": "They are rounded to float16",
        "int8": f"Layers are int8 by the recipe {about.get('recipe')} "
        f"({about.get('fidelity') or about.get('accepted_fidelity')})",
    }[about["precision"]]
    changes = (
        f"{values}; normalisation and neutral means are inside, the encoder's text tower is left out. The metadata "
        f"`{KEY}` tells input, resize and labels."
    )
    opened, run = (
        (f'openvino.Core().compile_model("{model}", "CPU")', 'model({"pixels": pictures})')
        if model.endswith(".xml")
        else (f'onnxruntime.InferenceSession("{model}")', 'model.run(None, {"pixels": pictures})')
    )
    taken = about["input"]
    shape = ", ".join("N" if side is None else str(side) for side in taken["shape"])
    first, last = taken["range"]
    return changes, f"model = {opened}\n{run}  # [{shape}] {taken['dtype']}, RGB from {first} to {last}"
