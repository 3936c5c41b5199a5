"""One side of benchmarks/int8.py in a process of its own: reads commands, answers with lines of JSON.

    python -m benchmarks.int8_side NAME PACKED FOLDER CALIBRATION

`score I` scores FOLDER/I.jpg, `proof N` writes the outputs for N generated pictures, `memory` says what it takes.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emonet_fast.backends.base import Outputs
from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.backends.openvino.engine import choose_precision
from emonet_fast.backends.openvino.observe import observe
from emonet_fast.backends.openvino.pages import release_file_pages
from emonet_fast.checkpoint.pack import open_packed
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.graph.int8 import max_recipe, save_recipe
from emonet_fast.graph.model import build_model
from emonet_fast.optional import import_openvino
from emonet_fast.preprocess import resize
from emonet_fast.process import memory_mb

# Of generated_pixels: what is calibrated on and what is proved are other pictures.
CALIBRATION, PROOF = 11, 12
Network = Callable[[Any], Outputs]


def engine(name: str, checkpoint: Checkpoint, folder: Path, calibration: int) -> Network:
    """pixels [1, 3, S, S] uint8 -> Outputs by one of our engines."""
    cache = folder / "cache"
    if not name.startswith("int8"):
        return OpenVinoBackend(checkpoint, name, cache_dir=cache).run
    path = Path(name.removeprefix("int8:"))
    if name == "int8, naive":
        path = folder / "naive.safetensors"
        seen = observe(checkpoint, generated_pixels(checkpoint, calibration, seed=CALIBRATION), layers=True)
        save_recipe(path, max_recipe(checkpoint, {name: layer.largest for name, layer in seen.layers.items()}))
        del seen
    # The first opening compiles; what the second takes is what a user's process takes.
    OpenVinoBackend(checkpoint, "int8", cache_dir=cache, recipe=path).close()
    return OpenVinoBackend(checkpoint, "int8", cache_dir=cache, recipe=path).run


def nncf_default(checkpoint: Checkpoint, calibration: int) -> Network:
    """The same tower as NNCF quantises it by default; the top in float32, as ours."""
    ov = import_openvino()
    import nncf

    core, here = ov.Core(), Path.cwd()
    os.chdir(checkpoint.path.parent)
    models = [
        core.read_model(model=build_model(checkpoint, part).SerializeToString())
        for part in ("tower", "pooling", "heads")
    ]
    os.chdir(here)
    for model in models:
        model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
    pictures = generated_pixels(checkpoint, calibration, seed=CALIBRATION)
    data = nncf.Dataset([pictures[i : i + 1] for i in range(calibration)])
    quantised = nncf.quantize(models[0], data, subset_size=calibration, model_type=nncf.ModelType.TRANSFORMER)
    tower = core.compile_model(quantised, "CPU", compile_options(choose_precision("auto"))).create_infer_request()
    pooling, heads = (core.compile_model(m, "CPU", compile_options("fp32")).create_infer_request() for m in models[1:])
    release_file_pages(checkpoint.path)

    def run(pixels: Any) -> Outputs:
        tokens = tower.infer({"pixels": pixels}, share_inputs=True)["tokens"]
        embedding = pooling.infer({"tokens": tokens}, share_inputs=True)["embedding"].copy()
        return Outputs(embedding, heads.infer({"embedding": embedding}, share_inputs=True)["raw"].copy())

    return run


def main() -> None:
    name, packed, given, calibration = sys.argv[1:]
    checkpoint, folder = open_packed(Path(packed)), Path(given)
    began = time.perf_counter()
    if name == "published":
        from benchmarks.baselines.published import Published

        published = Published(packed)
        network: Network = published.network  # takes 3 s a picture: not asked for proofs
        score: Callable[[bytes], Any] = lambda data: published.scores([data])  # noqa: E731
    else:
        network = (
            nncf_default(checkpoint, int(calibration))
            if name == "nncf"
            else engine(name, checkpoint, folder, int(calibration))
        )
        from benchmarks.baselines.alone import rgb

        score = lambda data: network(resize(rgb(data), checkpoint.preprocess)[None])  # noqa: E731
    say({"opened_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        command, *values = line.split()
        if command == "score":
            data = (folder / f"{values[0]}.jpg").read_bytes()
            began = time.perf_counter()
            score(data)
            say({"seconds": time.perf_counter() - began})
        elif command == "memory":
            say(memory_mb())
        else:
            found = [network(pixels[None]) for pixels in generated_pixels(checkpoint, int(values[0]), seed=PROOF)]
            arrays = {key: np.concatenate([getattr(o, key) for o in found]) for key in ("embedding", "raw")}
            np.savez(folder / f"{name.replace('/', '_')}.npz", **arrays)
            say({})


def say(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
