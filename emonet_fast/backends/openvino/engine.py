"""Which engine of OpenVINO serves a part of the network, and how it comes out of the cache or is compiled."""

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache, EnginePlan
from ...errors import BackendError, EmonetError
from ...graph.int8 import recipe_hash
from ...graph.version import GRAPH_VERSION, INT8_VERSION
from ...optional import import_openvino, openvino_core
from .build import build_in_process
from .pages import release_file_pages

_log = logging.getLogger("emonet_fast")

# Of oneDNN's levels, those of x86 that have no bf16.
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine, ready to compute.

    Args:
        compiled: OpenVINO's compiled model.
        folder: keeps the weights while this record lives, where the cache could not take them.
    """

    compiled: Any
    folder: Any = field(default=None, repr=False)


def load_engine(
    plan: EnginePlan, checkpoint: Checkpoint, cache: EngineCache, recipe: Path | None, options: dict[str, Any]
) -> LoadedEngine:
    """Load the engine of a plan with OpenVINO's `options`; compile and store it where there is none that it takes.

    recipe: the file of the plan's int8 recipe. Raises BackendError when OpenVINO cannot compile or load it.
    """
    blob = cache.load(plan)
    weights = checkpoint.path if recipe is None else cache.load_weights(_name_of_weights(plan))
    if blob is not None and weights is not None:
        try:
            return LoadedEngine(_imported(blob, weights, options))
        except RuntimeError as error:  # such as "isa mismatch": oneDNN has been told of other instructions since
            _log.warning("OpenVINO refuses a stored engine (%s): it is built again", str(error).strip()[-200:])
    blob, weights, folder = _built(plan, checkpoint, cache, recipe)
    try:
        return LoadedEngine(_imported(blob, weights, options), folder)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO could not load the engine of {weights}: {error}") from error


def _imported(blob: bytes, weights: Path, options: dict[str, Any]) -> Any:
    tensor = import_openvino().Tensor(np.frombuffer(blob, np.uint8))
    compiled = openvino_core().import_model(tensor, "CPU", {**options, "WEIGHTS_PATH": str(weights)})
    release_file_pages(weights)
    return compiled


def _built(
    plan: EnginePlan, checkpoint: Checkpoint, cache: EngineCache, recipe: Path | None
) -> tuple[bytes, Path, Any]:
    """Compile and store an engine. Returns it, its weights, and their folder where the cache has not taken them."""
    _log.info("compiling the %s in %s, batch %d (once)", plan.part, plan.precision, *plan.batch_sizes)
    # Windows keeps a file that is mapped; there it is removed with the next sweep of the temporary folder.
    folder = tempfile.TemporaryDirectory(prefix="emonet-fast-", ignore_cleanup_errors=True)
    build = build_in_process(checkpoint.path, plan.part, plan.precision, plan.batch_sizes[0], Path(folder.name), recipe)
    blob, weights = build.engine.read_bytes(), build.weights
    try:
        if recipe is not None:
            about = f"int8 recipe {plan.layout[:16]} of {checkpoint.source}"
            weights = cache.store_weights(_name_of_weights(plan), weights, about)
        cache.store(plan, blob)
    except (OSError, EmonetError) as error:
        _log.warning("the compiled engine could not be kept in %s: %s", cache.folder, error)
        return blob, weights, folder
    folder.cleanup()
    return blob, weights, None


def _name_of_weights(plan: EnginePlan) -> str:
    """The weights' name in the cache: engines of other batch sizes, compilers and processors share them."""
    text = json.dumps([plan.part, plan.layout, plan.graph_version, plan.weights_hash])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def choose_precision(precision: str) -> str:
    """Choose the precision: "auto" takes bf16 where the processor computes in it, else fp32."""
    fast = "BF16" in capabilities()
    if precision == "auto":
        return "bf16" if fast else "fp32"
    if precision == "bf16" and not fast:
        raise BackendError(
            f"precision bf16 was asked for, but {device_name()} has no bf16 instructions "
            "(AVX-512 BF16, AMX or the Arm equivalents); use precision 'fp32' or 'auto'"
        )
    return precision


def capabilities() -> list[str]:
    """What OpenVINO can use of the processor, such as "BF16" and "INT8"."""
    found = set(openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    # OpenVINO asks the processor; its kernels ask oneDNN, and take 13 times as long as in float32 where that is held.
    if _highest_instructions() in _WITHOUT_BF16:
        found.discard("BF16")
    return sorted(found)


def _highest_instructions() -> str:
    """The level that oneDNN is held to by its environment variable, such as "AVX512_CORE_VNNI"; "" without any."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()


def device_name() -> str:
    """The processor's full name and what OpenVINO can use of it."""
    name = f"{openvino_core().get_property('CPU', 'FULL_DEVICE_NAME')} [{', '.join(capabilities())}]"
    held = _highest_instructions()
    return f"{name} held to {held}" if held else name


def plan_for(
    checkpoint: Checkpoint, part: str, precision: str, batch_size: int, recipe: Path | None = None
) -> EnginePlan:
    """The plan of an engine. recipe: the file of the int8 recipe, for precision "int8+bf16" or "int8+fp32"."""
    if recipe is None:
        places = json.dumps(sorted((name, astuple(info)) for name, info in checkpoint.tensors.items()))
        layout = hashlib.sha256(places.encode()).hexdigest()
    else:
        layout = f"{recipe_hash(recipe, checkpoint)}, int8 graph {INT8_VERSION}"
    return EnginePlan(
        part=part,
        backend="openvino",
        version=import_openvino().get_version(),
        device=device_name(),
        precision=precision,
        batch_sizes=(batch_size,),
        graph_version=GRAPH_VERSION,
        weights_hash=checkpoint.weights_hash,
        layout=layout,
    )
