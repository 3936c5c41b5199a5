"""The DALI pipeline: encoded bytes to RGB pictures as they are stored, or to one region of each.

DALI only decodes. Its own resize sums in float32 and repeats the edge pixel, so that scores missed the bars of this
project; Pillow or our Triton kernel resizes instead (exact.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import nvidia.dali
import nvidia.dali.fn
from nvidia.dali import pipeline_def, types

from .triage import Sample

# Names of the external inputs; all arrays are on the host, one list entry a sample.
ENCODED = "encoded"  # uint8 [bytes]
START, SHAPE = "start", "shape"  # int32 [2], y and x: what of the stored picture is decoded

# Pixels of a run together, which bounds the decode buffers: 3 bytes a pixel.
RUN_PIXELS = 64_000_000
# The longer side of most pictures.
_SIDE = 2048

# DALI's stubs type an operator for nodes of a graph and for batches at once; here all are nodes.
fn: Any = nvidia.dali.fn


@dataclass(frozen=True, slots=True)
class Definition:
    """What a pipeline is built from.

    Args:
        device_id: the GPU that decodes; None for the CPU.
        batch_size: samples of a run, at most.
        threads: CPU threads of DALI.
        regions: whether each sample has a region, and only that is decoded; else whole pictures are.
    """

    device_id: int | None
    batch_size: int
    threads: int
    regions: bool = False


def build(definition: Definition) -> Any:
    """The pipeline, built and ready for feed_input. Its output is [h, w, 3] uint8 a sample, of any size."""
    pipe: Any = pipeline_def(_graph)(
        definition,
        batch_size=definition.batch_size,
        num_threads=definition.threads,
        device_id=definition.device_id,
        prefetch_queue_depth=1,  # the first run asks for one batch of inputs only; later runs overlap all the same
        exec_dynamic=True,
        set_affinity=False,
    )
    pipe.build()
    return pipe


def inputs(samples: Sequence[Sample]) -> Mapping[str, list[npt.NDArray[np.generic]]]:
    """The arrays of each external input. All samples have a region, or none has."""
    arrays: dict[str, list[npt.NDArray[np.generic]]] = {ENCODED: [np.frombuffer(one.data, np.uint8) for one in samples]}
    regions = [region for one in samples if (region := one.stored_region) is not None]
    if regions:
        arrays[START] = [np.array([box.top, box.left], np.int32) for box in regions]
        arrays[SHAPE] = [np.array([box.height, box.width], np.int32) for box in regions]
    return arrays


def _graph(definition: Definition) -> Any:
    gpu = definition.device_id is not None

    def external(name: str, dtype: Any) -> Any:
        # On the CPU arrays are read where they lie: the runner keeps them until the run is done. A GPU's copies may
        # go on for longer than that.
        return fn.external_source(name=name, dtype=dtype, ndim=1, no_copy=not gpu)

    settings: dict[str, Any] = {"output_type": types.RGB, "adjust_orientation": False}  # turn.py says why
    settings["device"] = "mixed" if gpu else "cpu"
    if gpu:
        # As libjpeg-turbo (and so Pillow) does it by default; nvJPEG's own default repeats chroma samples.
        settings["jpeg_fancy_upsampling"] = True
        # Below 1 DALI gives only a part of each run to the hardware decoder, and its neighbours would decide which
        # decoder, and so which rounding, a picture gets.
        settings["hw_decoder_load"] = 1.0
        # Decode buffers as large as most pictures need, at once, instead of growing again and again. nvJPEG reserves
        # them for batch_size pictures: at 256 of the full side these would be 3.2 GB a pipeline.
        side = min(_SIDE, math.isqrt(RUN_PIXELS // definition.batch_size))
        settings |= {"preallocate_width_hint": side, "preallocate_height_hint": side}
    encoded = external(ENCODED, types.UINT8)
    if not definition.regions:
        return fn.decoders.image(encoded, **settings)
    start, shape = external(START, types.INT32), external(SHAPE, types.INT32)
    return fn.decoders.image_slice(encoded, start=start, shape=shape, axis_names="HW", **settings)
