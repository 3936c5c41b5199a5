"""Which engine of OpenVINO serves a part of the network, and how it comes out of the cache or is compiled."""

import hashlib
import json
import logging
import tempfile
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache, EnginePlan
from ...errors import BackendError, EmonetError
from ...graph.int8 import recipe_hash
from ...graph.version import GRAPH_VERSION, INT8_VERSION
from ...optional import import_openvino
from .build import build_in_process

_log = logging.getLogger("emonet_fast")


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """An engine, ready to be loaded.

    Args:
        blob: the engine without weights.
        weights: the file that it points into.
        folder: keeps `weights` while this record lives, where the cache could not take it.
    """

    blob: bytes
    weights: Path
    folder: Any = field(default=None, repr=False)


def stored_engine(plan: EnginePlan, checkpoint: Checkpoint, cache: EngineCache, recipe: Path | None) -> StoredEngine:
    """Find the engine of a plan, or compile and store it. recipe: the file of the plan's int8 recipe."""
    name = None if recipe is None else _name_of_weights(plan)
    blob = cache.load(plan)
    weights = checkpoint.path if name is None else cache.load_weights(name)
    if blob is not None and weights is not None:
        return StoredEngine(blob, weights)
    _log.info("compiling the %s in %s, batch %d (once)", plan.part, plan.precision, *plan.batch_sizes)
    # Windows keeps a file that is mapped; there it is removed with the next sweep of the temporary folder.
    folder = tempfile.TemporaryDirectory(prefix="emonet-fast-", ignore_cleanup_errors=True)
    build = build_in_process(checkpoint.path, plan.part, plan.precision, plan.batch_sizes[0], Path(folder.name), recipe)
    blob, weights = build.engine.read_bytes(), build.weights
    try:
        if name is not None:
            weights = cache.store_weights(name, weights, f"int8 recipe {plan.layout[:16]} of {checkpoint.source}")
        cache.store(plan, blob)
    except (OSError, EmonetError) as error:
        _log.warning("the compiled engine could not be kept in %s: %s", cache.folder, error)
        return StoredEngine(blob, weights, folder)
    folder.cleanup()
    return StoredEngine(blob, weights)


def _name_of_weights(plan: EnginePlan) -> str:
    """The weights' name in the cache: engines of other batch sizes, compilers and processors share them."""
    text = json.dumps([plan.part, plan.layout, plan.graph_version, plan.weights_hash])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def choose_precision(core: Any, precision: str) -> str:
    """Choose the precision: "auto" takes bf16 where the processor computes in it, else fp32."""
    fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if fast else "fp32"
    if precision == "bf16" and not fast:
        raise BackendError(
            f"precision bf16 was asked for, but {device_name(core)} has no bf16 instructions "
            "(AVX-512 BF16, AMX or the Arm equivalents); use precision 'fp32' or 'auto'"
        )
    return precision


def device_name(core: Any) -> str:
    """The processor's full name and what OpenVINO can use of it."""
    capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} [{', '.join(capabilities)}]"


def plan_for(
    core: Any, checkpoint: Checkpoint, part: str, precision: str, batch_size: int, recipe: Path | None = None
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
        device=device_name(core),
        precision=precision,
        batch_sizes=(batch_size,),
        graph_version=GRAPH_VERSION,
        weights_hash=checkpoint.weights_hash,
        layout=layout,
    )
