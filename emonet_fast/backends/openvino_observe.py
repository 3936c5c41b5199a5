"""What calibration needs to know of the float32 network, by OpenVINO: on any CPU, without PyTorch."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..checkpoint.layers import layer_names
from ..checkpoint.spec import Checkpoint
from ..engines.observations import Observations
from ..records import UInt8Array
from .openvino_build import build_in_process, compile_options

Progress = Callable[[int, int], None]  # (pictures done, pictures in all)


def observe(checkpoint: Checkpoint, pixels: UInt8Array, progress: Progress | None = None) -> Observations:
    """Run the float32 network over pixels [n, 3, S, S] uint8 and gather what graph/observe.py gives.

    Compiles once (about 15 s at full depth), then takes what a picture takes in float32.

    Raises:
        BackendError: OpenVINO cannot compile it.
    """
    import openvino as ov

    with tempfile.TemporaryDirectory(prefix="emonet-fast-") as folder:
        target = Path(folder) / "engine"
        build_in_process(checkpoint.path.resolve(), "observed", "fp32", 1, target)
        blob = np.frombuffer(target.read_bytes(), np.uint8)
    options = {**compile_options("fp32"), "WEIGHTS_PATH": str(checkpoint.path)}
    request = ov.Core().import_model(ov.Tensor(blob), "CPU", options).create_infer_request()
    gathered: list[dict[str, npt.NDArray[np.float32]]] = []
    blocks = checkpoint.vision.num_hidden_layers
    names = list(layer_names(blocks))
    wanted = [f"{name}/{what}" for name in names for what in ("largest", "mean", "square", "power")]
    wanted += [*(f"{block}/stream" for block in range(blocks)), "embedding", "raw"]
    for i in range(len(pixels)):
        found = request.infer({"pixels": pixels[i : i + 1]})
        gathered.append({name: np.array(found[name]) for name in wanted})
        if progress is not None:
            progress(i + 1, len(pixels))
    return Observations.gather(names, blocks, gathered)
