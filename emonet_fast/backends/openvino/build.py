"""Compiles one OpenVINO engine in a process of its own and writes it to a file.

Why a process: the graph's weights are external data, inside the packed checkpoint or in a file of their own, and
OpenVINO accepts such references only below its base folder. For a model that is read from memory, that is the working
directory. A library must not change its caller's working directory; a process of its own may. The compiler's peak
memory is not the caller's then, either.

The engine is exported without weights (2.8 MB for 27 layers instead of 2 GB): it refers to offsets in the file of
weights, which is mapped again when the engine is loaded.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoint.pack import open_packed
from ...errors import BackendError
from ...optional import openvino_core

_ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Build:
    """The files of a compiled engine: itself, and the weights that it points into."""

    engine: Path
    weights: Path


def build_in_process(
    packed: Path, part: str, precision: str, batch_size: int, folder: Path, recipe: Path | None = None
) -> Build:
    """Compile one of graph.PARTS of the checkpoint `packed` into a folder, whose files live as long as it does.

    With the file of an int8 recipe (precision "int8+bf16" or "int8+fp32") the weights are there, too; else they are the
    checkpoint. Raises BackendError when the compiler fails; the text has its last words.
    """
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    # -P: the working directory, where anything may lie, is no place to import from
    command = [sys.executable, "-P", "-m", "emonet_fast.backends.openvino.build"]
    command += [str(packed.resolve()), part, precision, str(batch_size), str(folder.resolve())]
    command += [] if recipe is None else [str(recipe.resolve())]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.DEVNULL, text=True, capture_output=True, env=environment, check=False
    )
    if done.returncode != 0:
        raise BackendError(
            f"OpenVINO could not compile the {part} of {packed} (precision {precision}, batch {batch_size}): "
            f"{done.stderr.strip()[-2000:]}"
        )
    return Build(folder / _ENGINE, packed if recipe is None else folder / "network.weights")


def build(packed: Path, part: str, precision: str, batch_size: int, folder: Path, recipe: Path | None) -> None:
    """Do the child process's work. Changes the working directory."""
    checkpoint = open_packed(packed)
    core = openvino_core()
    if recipe is None:
        from ...graph.model import build_model  # here alone: the parent needs no ONNX

        model_bytes = build_model(checkpoint, part, bf16=precision == "bf16").SerializeToString()
        os.chdir(packed.parent)
        model = core.read_model(model=model_bytes)
    else:
        from ...graph.int8 import load_recipe
        from ...graph.int8_writer import write_int8_model

        model = core.read_model(write_int8_model(checkpoint, folder, load_recipe(recipe, checkpoint), part))
    model.reshape({port: [batch_size, *list(port.partial_shape)[1:]] for port in model.inputs})
    compiled = core.compile_model(model, "CPU", compile_options(precision))
    (folder / _ENGINE).write_bytes(compiled.export_model().getvalue())


def compile_options(precision: str) -> dict[str, Any]:
    """OpenVINO's options. LATENCY: one request at a time uses all cores (THROUGHPUT halves a synchronous loop).

    What is int8 stands in the graph; the hint is for the rest.
    """
    return {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision.removeprefix("int8+")],
        "PERFORMANCE_HINT": "LATENCY",
        "CACHE_MODE": "OPTIMIZE_SIZE",
    }


if __name__ == "__main__":
    given, part, precision, batch_size, target, *recipes = sys.argv[1:]
    build(Path(given), part, precision, int(batch_size), Path(target), Path(recipes[0]) if recipes else None)
