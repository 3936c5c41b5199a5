"""Fidelity on this card: our fp32, bf16 and FP8 against transformers in float32, PyTorch's own bf16 beside them."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.checkpoints import CALIBRATED, CERTIFIED, COMPARED
from benchmarks.gpu.checkpoints import pixels as made
from benchmarks.gpu.context import Context, describe
from benchmarks.gpu.engines import CERTIFICATE_KEY, certificate_file, make_engine, weight_sets
from benchmarks.gpu.published import Published
from emonet_fast import taxonomy
from emonet_fast.backends.cuda.fp8 import certify
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.engines.certificate import store_certificate
from emonet_fast.engines.fidelity import Fidelity, Gate, gate_bf16, gate_fp8, gate_fp32
from emonet_fast.engines.fidelity import measure as distance

BATCH = 16
Outputs = tuple[Any, Any]


def measure(context: Context) -> dict[str, Any]:
    torch.backends.cudnn.allow_tf32 = False  # the reference's first layer is a convolution
    pixels = made(context, *COMPARED)
    emotions = [i for i, slug in enumerate(context.checkpoint.names) if taxonomy.find(slug).is_emotion]
    want = published(context, pixels, torch.float32)
    theirs = distance(want, published(context, pixels, torch.bfloat16), emotions)
    found: dict[str, Any] = {"pictures": len(pixels), "torch_bf16": record(theirs, None)}
    for precision in ("fp32", "bf16"):
        got = distance(want, ours(context, pixels, precision), emotions)
        gate = gate_fp32(got) if precision == "fp32" else gate_bf16(got, theirs)
        found[precision] = record(got, gate)
        context.tell({precision: found[precision]})
        context.free()
    try:
        found["fp8"] = certificate(context)
    except Exception as error:
        found["fp8"] = {"keep": [], "uncertified": describe(error)}
    context.tell({"fp8": found["fp8"]})
    try:
        got = distance(want, ours(context, pixels, "fp8"), emotions)
        found["fp8"] |= record(got, gate_fp8(got))
    except Exception as error:
        found["fp8"]["failed"] = describe(error)
    return found


def record(found: Fidelity, gate: Gate | None) -> dict[str, Any]:
    body = {k: v for k, v in asdict(found).items() if k != "spearman"} | {"spearman_min": found.spearman_min}
    if gate is not None:
        body |= {"passed": gate.passed, "failures": list(gate.failures), "unproved": list(gate.unproved)}
    return body


def published(context: Context, pixels: Any, dtype: torch.dtype) -> Outputs:
    model = Published(context.checkpoint, context.device, dtype)
    return outputs(context, pixels, lambda batch: model.one_by_one(model.normalised(batch)))


def ours(context: Context, pixels: Any, precision: str) -> Outputs:
    engine = make_engine(context, weight_sets(context, precision)[precision], precision, BATCH)
    return outputs(context, pixels, engine.run)


def outputs(context: Context, pixels: Any, run: Any) -> Outputs:
    found = []
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[start : start + BATCH]).to(context.device)
            found.append([part.float().cpu().numpy().copy() for part in run(batch)])
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def certificate(context: Context) -> dict[str, Any]:
    """Which layers stay in bf16, and what each layer alone costs where any must; on other pictures than are scored."""
    calibration, compared = made(context, *CALIBRATED), made(context, *CERTIFIED)
    plain = PlainOperations if context.dry else None  # the interpreter would take minutes
    found = certify(context.checkpoint, context.device, calibration, compared, plain)
    store_certificate(certificate_file(context), CERTIFICATE_KEY, found)
    worst = sorted(found.sensitivity.items(), key=lambda item: -item[1])
    return {
        "keep": list(found.keep),
        "certificate": record(found.fidelity, gate_fp8(found.fidelity)),
        "sensitivities": dict(worst),
    }
