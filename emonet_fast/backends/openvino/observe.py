"""Gathers what calibration needs to know of the float32 network, by OpenVINO: on any CPU, without PyTorch."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoint.layers import layer_names
from ...checkpoint.spec import Checkpoint
from ...engines.observations import Observations, ObservedLayer
from ...optional import import_openvino, openvino_core
from ...records import Float32Array, UInt8Array
from .build import build_in_process, compile_options

PicturesDone = Callable[[int, int], None]  # (pictures done, pictures in all)


def observe(
    checkpoint: Checkpoint, pixels: UInt8Array, progress: PicturesDone | None = None, *, layers: bool = False
) -> Observations:
    """Run the float32 network over pixels [n, 3, S, S] uint8; with `layers`, gather what its layers take and give, too.

    Compiling takes about 15 s at full depth. Then each picture takes what it takes in float32; with `layers` twice
    that, and 2.4 GB of memory for the covariances. Raises BackendError when OpenVINO cannot compile the network.
    """
    vision, outputs, streams = checkpoint.vision, [], []
    gathered = {name: ObservedLayer(vision.tokens) for name in layer_names(vision.num_hidden_layers)} if layers else {}
    for i, values in enumerate(_outputs(checkpoint, "observed", "fp32", pixels)):
        outputs.append([np.array(values[name]) for name in ("embedding", "raw")])
        for name, layer in gathered.items():
            layer.add(values[f"{name}/input"][0], float(values[f"{name}/power"]))
        if layers:
            streams.append([float(values[f"{block}/stream"]) for block in range(vision.num_hidden_layers)])
        if progress is not None:
            progress(i + 1, len(pixels))
    embedding, raw = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    return Observations(embedding, raw, gathered, tuple(np.mean(streams, axis=0).tolist()) if layers else ())


def means_of(
    checkpoint: Checkpoint, pixels: UInt8Array, precision: str, progress: PicturesDone
) -> dict[str, Float32Array]:
    """The mean [n, in] of each layer's input over the tokens of pixels [n, 3, S, S] uint8, see AveragingWriter.

    precision: "fp32", or "bf16", which tells pictures apart as well. Raises BackendError as observe does.
    """
    names = list(layer_names(checkpoint.vision.num_hidden_layers))
    means: dict[str, list[Float32Array]] = {name: [] for name in names}
    for i, values in enumerate(_outputs(checkpoint, "averaged", precision, pixels)):
        for name, found in means.items():
            found.append(np.array(values[f"{name}/mean"]))
        progress(i + 1, len(pixels))
    return {name: np.concatenate(found) for name, found in means.items()}


def _outputs(checkpoint: Checkpoint, part: str, precision: str, pixels: UInt8Array) -> Iterator[Mapping[str, Any]]:
    """The outputs of a part of the graph for each picture; they are gone with the next one."""
    with tempfile.TemporaryDirectory(prefix="emonet-fast-") as folder:
        build = build_in_process(checkpoint.path, part, precision, 1, Path(folder))
        blob = np.frombuffer(build.engine.read_bytes(), np.uint8)
    options = {**compile_options(precision), "WEIGHTS_PATH": str(checkpoint.path)}
    compiled = openvino_core().import_model(import_openvino().Tensor(blob), "CPU", options)
    request = compiled.create_infer_request()
    for i in range(len(pixels)):
        yield request.infer({"pixels": pixels[i : i + 1]}, share_outputs=True)
