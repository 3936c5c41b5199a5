"""The FP8 engine's certificate: which layers stay in bf16, measured once for these weights on this GPU."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import taxonomy
from ...checkpoint.layers import PARTS, layer_names
from ...checkpoint.spec import Checkpoint
from ...engines.certificate import Certificate, Evaluate, fill_keep, load_certificate, store_certificate
from ...engines.fidelity import measure
from ...engines.gptq import Rounding
from ...engines.moments import Moments, MomentsCollector
from ...engines.pictures import PictureSets, drawn_pictures
from ...float32 import exact_products
from ...gpu import Gpu, check_memory
from ...optional import need
from ...records import UInt8Array
from .engine import Engine
from .graphs import call_directly
from .linear import dequantised, nearest_e4m3, with_values
from .memory import certifying_bytes
from .operations import PlainOperations
from .weights import Weights, load, mixed, refined

_log = logging.getLogger("emonet_fast")

# Part of the certificate's key: raise it with any change of the quantised arithmetic.
FP8_VERSION = 2
_BATCH = 16
_PICTURES_FOR_SENSITIVITY = 16
CALIBRATION_PICTURES = 128
_BF16 = "use precision 'bf16' (--precision bf16)"


def certified(checkpoint: Checkpoint, gpu: Gpu, cache_dir: Path, pictures: PictureSets | None = None) -> Certificate:
    """Load the certificate of these weights on this GPU, or measure one now (about a minute) and store it.

    With `pictures` one is measured by these, and takes the place of an older one; without, they are generated. Raises
    BackendError when FP8 cannot be certified for these weights, or the GPU has too little memory free for that.
    """
    device = need("torch", "the GPU engine").device("cuda", gpu.index)
    path, key = certificate_place(checkpoint, device, cache_dir)
    certificate = load_certificate(path, key) if pictures is None else None
    if certificate is None:
        check_memory(gpu, certifying_bytes(checkpoint, _BATCH), "certifying FP8, once for these weights,", _BF16)
        _log.info("certifying FP8 for these weights on this GPU (once)")
        sets = pictures or drawn_pictures(checkpoint, CALIBRATION_PICTURES)
        shown = sets.calibration if pictures is None else np.concatenate([sets.calibration, sets.search])
        certificate = certify(checkpoint, device, shown, sets.proof)
        store_certificate(path, key, certificate)
    return certificate


def certificate_place(checkpoint: Checkpoint, device: Any, cache_dir: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of a certificate, and the key that it must carry."""
    torch = need("torch", "the GPU engine")
    key = {
        "fp8_version": FP8_VERSION,
        "weights_hash": checkpoint.weights_hash,
        "device": torch.cuda.get_device_name(device),
        "torch": str(torch.__version__),
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir / "engines" / f"fp8-{name}.safetensors", key


def certify(
    checkpoint: Checkpoint,
    device: Any,
    calibration: UInt8Array,
    pixels: UInt8Array,
    operations: type[PlainOperations] | None = None,
) -> Certificate:
    """Round the weights, compare FP8 with the float32 engine, and choose the layers that stay in bf16.

    By the pictures `calibration` [N, 3, S, S] uint8 weights are rounded and biases corrected. The comparison is over
    `pixels`, 64 or more other pictures of that form. `operations` is a class like PlainOperations in place of our
    kernels, for checks without them. Raises BackendError as fill_keep does.
    """
    emotions = [i for i, slug in enumerate(checkpoint.names) if taxonomy.find(slug).is_emotion]
    exact = load(checkpoint, device, "fp32")
    engine = Engine(checkpoint, exact, "fp32", _BATCH, device, call_directly)
    want = outputs(engine, pixels, device)
    moments = collect(engine, calibration, device)
    del engine
    fp8 = load(checkpoint, device, "fp8")
    tensors = refine(exact, fp8, moments)
    del exact, moments
    bf16, fp8 = load(checkpoint, device, "bf16"), refined(fp8, tensors)
    plain = None
    if operations is not None:
        plain = operations(fp8, checkpoint.vision.patch_size, checkpoint.l2_normalise)
    engine = Engine(checkpoint, fp8, "fp8", _BATCH, device, call_directly, operations=plain)

    def evaluate_on(count: int) -> Evaluate:
        def evaluate(keep: frozenset[str]) -> Any:
            engine.use(mixed(bf16, fp8, keep))
            got = outputs(engine, pixels[:count], device)
            return measure((want[0][:count], want[1][:count]), got, emotions)

        return evaluate

    names = list(layer_names(checkpoint.vision.num_hidden_layers))
    certificate = fill_keep(names, evaluate_on(len(pixels)), evaluate_on(_PICTURES_FOR_SENSITIVITY))
    stored = {name: t.cpu().numpy() for name, t in tensors.items() if name.rpartition(".")[0] not in certificate.keep}
    return replace(certificate, tensors=stored)


def collect(engine: Engine, pixels: UInt8Array, device: Any) -> dict[str, Moments]:
    """Gather the moments of each layer's inputs over all tokens of pixels [N, 3, S, S] uint8, 2 <= N."""
    torch = need("torch", "the GPU engine")
    collectors: dict[str, MomentsCollector] = {}
    tokens = engine.checkpoint.vision.tokens
    for batch in _batches(pixels, device):
        rows = len(batch) * tokens  # those of a graph's other images lie behind them

        def observe(name: str, x: Any, rows: int = rows) -> None:
            collectors.setdefault(name, MomentsCollector(tokens)).add(x[:rows].float())

        engine.network.observe = observe
        with torch.inference_mode(), exact_products():
            engine.run(batch)
    engine.network.observe = None
    # One after the other, each collector given up at once: they are gigabytes together.
    return {name: collectors.pop(name).moments() for name in list(collectors)}


def refine(exact: Weights, fp8: Weights, moments: dict[str, Moments]) -> dict[str, Any]:
    """Compute codes and biases of each layer's FP8 form, for `refined`: weights rounded by GPTQ, biases corrected.

    The bias gets (W - W8) E[x], which is what rounding the weights costs on average. Activations are rounded anew for
    each token, and over 576 tokens that averages out. The weights' rounding does not, and LayerNorm's outputs have a
    mean that all tokens of all pictures share. The moments are taken out of the dict one after the other.
    Source: the bias correction of Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction", arXiv 1906.04721.
    """
    torch = need("torch", "the GPU engine")
    tensors, means = {}, {}

    def covariance(name: str) -> Any:
        one = moments.pop(name)
        means[name] = one.mean
        return one.covariance

    for part in PARTS:
        # All layers of one shape together: a GPU has a few launches for each of their columns.
        names = [f"{i}.{part}" for i in range(len(exact.blocks))]
        true, rough = ([getattr(block, part) for block in weights.blocks] for weights in (exact, fp8))
        with torch.inference_mode(), exact_products():
            rounding = Rounding(map(covariance, names), nearest_e4m3, torch)
            rounded = rounding([layer.weight for layer in true], [layer.scale[0] for layer in rough])
            del rounding
            for name, codes, ours, theirs in zip(names, rounded, true, rough, strict=True):
                codes = codes.to(torch.float8_e4m3fn).view(torch.uint8)
                error = ours.weight - dequantised(with_values(theirs, codes, None))
                tensors[f"{name}.weight"] = codes
                tensors[f"{name}.bias"] = ours.exact_bias + error @ means[name]
    return tensors


def outputs(engine: Engine, pixels: UInt8Array, device: Any) -> tuple[Any, Any]:
    """Compute embeddings [N, D] and raw scores [N, H], float32 on the host, of pixels [N, 3, S, S] uint8."""
    torch = need("torch", "the GPU engine")
    with torch.inference_mode(), exact_products():
        parts = [[part.cpu().numpy().copy() for part in engine.run(batch)] for batch in _batches(pixels, device)]
    return np.concatenate([embedding for embedding, _ in parts]), np.concatenate([raw for _, raw in parts])


def _batches(pixels: UInt8Array, device: Any) -> Iterator[Any]:
    torch = need("torch", "the GPU engine")
    for start in range(0, len(pixels), _BATCH):
        yield torch.from_numpy(pixels[start : start + _BATCH]).to(device)
