"""Gathers what calibration needs to know of the float32 network, by OpenVINO: on any CPU, without PyTorch."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...checkpoint.layers import layer_names
from ...checkpoint.spec import Checkpoint
from ...engines.observations import Observations, ObservedLayer
from ...optional import import_openvino, openvino_core
from ...records import UInt8Array
from .build import build_in_process, compile_options

PicturesDone = Callable[[int, int], None]  # (pictures done, pictures in all)


def observe(
    checkpoint: Checkpoint, pixels: UInt8Array, progress: PicturesDone | None = None, *, layers: bool = False
) -> Observations:
    """Run the float32 network over pixels [n, 3, S, S] uint8; with `layers`, gather what its layers take and give, too.

    Compiling takes about 15 s at full depth. Then each picture takes what it takes in float32; with `layers` twice
    that, and 2.4 GB of memory for the covariances. Raises BackendError when OpenVINO cannot compile the network.
    """
    ov = import_openvino()
    with tempfile.TemporaryDirectory(prefix="emonet-fast-") as folder:
        build = build_in_process(checkpoint.path, "observed", "fp32", 1, Path(folder))
        blob = np.frombuffer(build.engine.read_bytes(), np.uint8)
    options = {**compile_options("fp32"), "WEIGHTS_PATH": str(checkpoint.path)}
    request = openvino_core().import_model(ov.Tensor(blob), "CPU", options).create_infer_request()
    vision, outputs, streams = checkpoint.vision, [], []
    gathered = {name: ObservedLayer(vision.tokens) for name in layer_names(vision.num_hidden_layers)} if layers else {}
    for i in range(len(pixels)):
        values = request.infer({"pixels": pixels[i : i + 1]}, share_outputs=True)
        outputs.append([np.array(values[name]) for name in ("embedding", "raw")])
        for name, layer in gathered.items():
            layer.add(values[f"{name}/input"][0], float(values[f"{name}/power"]))
        if layers:
            streams.append([float(values[f"{block}/stream"]) for block in range(vision.num_hidden_layers)])
        if progress is not None:
            progress(i + 1, len(pixels))
    embedding, raw = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    return Observations(embedding, raw, gathered, tuple(np.mean(streams, axis=0).tolist()) if layers else ())
