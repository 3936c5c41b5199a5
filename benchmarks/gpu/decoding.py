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
from benchmarks.gpu.pictures import pictures
from emonet_fast.optional import available

BATCH, BATCHES, SIDE, DIFFERENT = 256, 16, 1024, 24
# The same rate without decoding, and the least share of it that the project asks for, are in table.BARS.
BACKBONE = "bf16, attention sdpa"


def measure(context: Context) -> dict[str, Any]:
    missing = [name for name in ("nvidia.dali", "PIL") if not available(name)]
    if missing:
        return {"note": f"not installed: {', '.join(missing)}; DALI decodes nothing here"}
    datas = encoded(DIFFERENT, SIDE) if context.cuda else encoded(3, 128)
    found: dict[str, Any] = {"bytes": [len(data) for data in datas], "levels": levels(context, datas)}
    context.partial(found)
    if not context.cuda:
        return found | {"note": "a dry run: DALI's CPU pipeline, no engine"}
    found |= through(context, datas)
    backbone = [r for r in context.found.get("backbone", {}).get("rows", []) if r.get("shape") == f"batch {BATCH}"]
    alone = next((r.get("images_per_second") for r in backbone if r["side"] == BACKBONE), None)
    if alone:
        found["share_of_backbone"] = found["scores_per_second"] / alone
    return found


def encoded(count: int, side: int) -> list[bytes]:
    """JPEGs of generated pictures, at a quality that gives portraits of 1024 x 1024 some 200 kB."""
    from PIL import Image

    made = []
    for i, picture in enumerate(pictures(count, seed=30_000, size=side)):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=85, subsampling=("4:2:0", "4:4:4")[i % 2])
        made.append(out.getvalue())
    return made


def untimed(stage: str) -> nullcontext[None]:
    return nullcontext()


def levels(context: Context, datas: Sequence[bytes]) -> dict[str, dict[str, float]]:
    """Decode and resize beside Pillow's, by DALI alone and with our resize, 384 x 384 uint8: differences in levels."""
    from emonet_fast.checkpoint.spec import Preprocess
    from emonet_fast.decoders.dali.definition import Definition
    from emonet_fast.decoders.dali.exact import ExactResize
    from emonet_fast.decoders.dali.runner import Runner
    from emonet_fast.decoders.dali.triage import triage
    from emonet_fast.decoders.pillow import prepare
    from emonet_fast.options import Options
    from emonet_fast.records import Picture

    # Triton's interpreter takes 30 seconds for 384.
    spec = Preprocess(384 if context.cuda else 48, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    items = [Picture(f"{i}", data) for i, data in enumerate(datas)]
    samples = [sample for item in items for sample in triage(item, Options()) or ()]
    device_id = context.device.index or 0 if context.cuda else None
    stream = torch.cuda.current_stream(context.device).cuda_stream if context.cuda else None
    want = [row for item in items for _, row in prepare(item, spec, Options(), False)]
    found = {}
    for name, output in (("DALI's resize", "uint8"), ("our resize", "pictures")):
        runner = Runner(Definition(spec, device_id, len(samples), 4, output=output), stream)
        runner.start(samples)
        (rows,) = runner.finish().outputs
        if output == "pictures":
            rows = ExactResize(spec, device_id, stream)(rows)
        if context.cuda:
            torch.cuda.current_stream(context.device).synchronize()
        differences = [np.abs(a.astype(np.int16) - b) for a, b in zip(rows.on_host(), want, strict=True)]
        found[name] = {
            "max": float(max(d.max() for d in differences)),
            "mean": float(max(d.mean() for d in differences)),
        }
        runner.close()
    return found


def through(context: Context, datas: Sequence[bytes]) -> dict[str, Any]:
    """Images a second of the decoder alone, and of decoder and engine, as Scorer.stream joins them."""
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
