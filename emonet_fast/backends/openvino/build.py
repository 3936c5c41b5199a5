"""Compiles one OpenVINO engine in a process of its own and writes it to a file.

Why a process: the graph's weights are external data inside the packed checkpoint, and OpenVINO accepts such references
only below its base folder. For a model that is read from memory, that is the working directory. A library must not
change its caller's working directory; a process of its own may. The compiler's peak memory is not the caller's then,
either.

The engine is exported without weights (2.8 MB for 27 layers instead of 2 GB): it refers to offsets in the packed
checkpoint, which is mapped again when the engine is loaded.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...checkpoint.pack import open_packed
from ...errors import BackendError
from ...optional import import_openvino


def build_in_process(weights: Path, part: str, precision: str, batch_size: int, target: Path) -> None:
    """Compile one of graph.PARTS of the packed checkpoint `weights` and write the engine to `target`.

    Raises BackendError when the compiler fails; the text has its last words.
    """
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    # -P: the working directory, where anything may lie, is no place to import from
    command = [sys.executable, "-P", "-m", "emonet_fast.backends.openvino.build"]
    command += [str(weights), part, precision, str(batch_size), str(target)]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.DEVNULL, text=True, capture_output=True, env=environment, check=False
    )
    if done.returncode != 0:
        raise BackendError(
            f"OpenVINO could not compile the {part} of {weights} (precision {precision}, batch {batch_size}): "
            f"{done.stderr.strip()[-2000:]}"
        )


def build(weights: Path, part: str, precision: str, batch_size: int, target: Path) -> None:
    """Do the child process's work. Changes the working directory."""
    from ...graph.model import build_model  # here alone: the parent needs no ONNX

    checkpoint = open_packed(weights)
    model_bytes = build_model(checkpoint, part).SerializeToString()
    os.chdir(weights.parent)
    core = import_openvino().Core()
    model = core.read_model(model=model_bytes)
    model.reshape({port: [batch_size, *list(port.partial_shape)[1:]] for port in model.inputs})
    compiled = core.compile_model(model, "CPU", compile_options(precision))
    target.write_bytes(compiled.export_model().getvalue())


def compile_options(precision: str) -> dict[str, Any]:
    """OpenVINO's options. LATENCY: one request at a time uses all cores (THROUGHPUT halves a synchronous loop)."""
    return {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "CACHE_MODE": "OPTIMIZE_SIZE",
    }


if __name__ == "__main__":
    weights, part, precision, batch_size, target = sys.argv[1:]
    build(Path(weights), part, precision, int(batch_size), Path(target))
