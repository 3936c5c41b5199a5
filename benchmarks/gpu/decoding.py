"""JPEG bytes in host memory to scores, by DALI on the GPU; only where DALI and Pillow can be imported.

Dry, the same steps run DALI's CPU pipeline and leave the engine out.
"""

import io
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.context import Context
from emonet_fast.optional import available

BATCH, BATCHES, SIDE, DIFFERENT = 256, 16, 1024, 24


def measure(context: Context) -> dict[str, Any]:
    missing = [name for name in ("nvidia.dali", "PIL") if not available(name)]
    if missing:
        return {"note": f"not installed: {', '.join(missing)}; DALI decodes nothing here"}
    datas = encoded(DIFFERENT, SIDE) if context.cuda else encoded(3, 128)
    found: dict[str, Any] = {"bytes": [len(data) for data in datas], "levels": levels(context, datas)}
    context.tell(found)
    if not context.cuda:
        return found | {"note": "a dry run: DALI's CPU pipeline, no engine"}
    found |= through(context, datas)
    context.tell(found)
    found["copies_to_host"] = copies_to_host(context, datas)
    rows = context.found.get("bf16", {}).get("rows", [])
    alone = next((row.get("images_per_second") for row in rows if row["shape"] == f"batch {BATCH}"), None)
    if alone:
        found["share_of_backbone"] = found["scores_per_second"] / alone
    return found


def encoded(count: int, side: int) -> list[bytes]:
    """JPEGs of generated pictures, at a quality that gives portraits of 1024 x 1024 some 200 kB."""
    from PIL import Image

    from emonet_fast.engines.drawing import calibration_pictures

    made = []
    for i, picture in enumerate(calibration_pictures(count, seed=30_000)):
        out = io.BytesIO()
        Image.fromarray(picture).resize((side, side)).save(
            out, "JPEG", quality=85, subsampling=("4:2:0", "4:4:4")[i % 2]
        )
        made.append(out.getvalue())
    return made


def untimed(stage: str) -> nullcontext[None]:
    return nullcontext()


def levels(context: Context, datas: Sequence[bytes]) -> dict[str, float]:
    """Rows of the decoder as on this GPU beside Pillow's, uint8: differences in levels."""
    from emonet_fast.checkpoint.spec import Preprocess
    from emonet_fast.decoders.dali.decoder import DaliDecoder
    from emonet_fast.decoders.dali.exact import DevicePictures
    from emonet_fast.decoders.pillow import PillowDecoder
    from emonet_fast.options import Options
    from emonet_fast.records import Box, Picture

    # Triton's interpreter takes 30 seconds for 384.
    spec = Preprocess(384 if context.cuda else 24, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    boxes = (Box(10, 20, 110, 120), Box(-20, 5, 60, 90))
    items = [Picture(f"{i}", data, boxes=boxes if i % 3 == 2 else ()) for i, data in enumerate(datas)]
    device_id = context.device.index or 0 if context.cuda else None
    stream = torch.cuda.current_stream(context.device).cuda_stream if context.cuda else None
    decoder = DaliDecoder(spec, Options(), untimed, 4, device_id, stream)
    if not context.cuda:
        decoder._device = DevicePictures(spec, None, None)
    rows: dict[str, list[Any]] = {}
    for name, side in (("ours", decoder), ("pillow", PillowDecoder(spec, Options(), untimed))):
        rows[name] = []
        for batch in side.batches(items, 8, keep_rgb=False):
            for part in batch.parts:
                rows[name] += [*(torch.from_dlpack(part.pixels).cpu().numpy() if part.on_device else part.pixels)]
    differences = [np.abs(a.astype(np.int16) - b) for a, b in zip(rows["ours"], rows["pillow"], strict=True)]
    return {
        "max": float(max(one.max() for one in differences)),
        "mean": float(max(one.mean() for one in differences)),
    }


def copies_to_host(context: Context, datas: Sequence[bytes]) -> int:
    """Copies from the GPU while the decoder decodes, crops two boxes of each picture and resizes; 0 is expected."""
    from emonet_fast.decoders.dali.decoder import DaliDecoder
    from emonet_fast.options import Options
    from emonet_fast.profile.kernels import BACKEND, kernels_of
    from emonet_fast.records import Box, Picture

    boxes = (Box(10, 20, 410, 420), Box(-20, 5, 600, 900))
    items = [Picture(f"{i}", datas[i % len(datas)], boxes=boxes) for i in range(BATCH)]
    stream = torch.cuda.current_stream(context.device).cuda_stream
    decoder = DaliDecoder(context.checkpoint.preprocess, Options(), untimed, 16, context.device.index or 0, stream)
    with kernels_of(BACKEND) as kernels:
        for _ in decoder.batches(items, BATCH, keep_rgb=False):
            pass
        torch.cuda.synchronize(context.device)
    return sum(kernel.calls for kernel in kernels if "DtoH" in kernel.name)


def through(context: Context, datas: Sequence[bytes]) -> dict[str, Any]:
    """Images a second of the decoder alone, and of decoder and engine, as Scorer.batches joins them."""
    from collections import deque

    from emonet_fast.backends.cuda.backend import CudaBackend
    from emonet_fast.decoders.dali.decoder import DaliDecoder
    from emonet_fast.options import Options
    from emonet_fast.records import Picture

    backend = CudaBackend(context.checkpoint, "cuda", "bf16", BATCH, context.cache)
    index, stream = backend.place()
    decoder = DaliDecoder(context.checkpoint.preprocess, Options(batch_size=BATCH), untimed, 16, index, stream)
    items = [Picture(f"{i}", datas[i % len(datas)]) for i in range(BATCH * BATCHES)]

    def run(score: bool) -> float:
        began, under_way = time.perf_counter(), deque[Any]()
        for batch in decoder.batches(items, BATCH, keep_rgb=False):
            for part in batch.parts:
                if score:
                    submit = backend.submit_device if part.on_device else backend.submit
                    under_way.append(submit(part.pixels))
                if len(under_way) > backend.depth:
                    under_way.popleft()()
        while under_way:
            under_way.popleft()()
        torch.cuda.synchronize(context.device)
        return len(items) / (time.perf_counter() - began)

    try:
        run(True)
        rates = {score: [run(score) for _ in range(3)] for score in (False, True)}
    finally:
        backend.close()
    return {
        "batch": BATCH,
        "pixels_per_second": float(np.median(rates[False])),
        "scores_per_second": float(np.median(rates[True])),
    }
