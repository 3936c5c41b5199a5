"""The FP8 engine's certificate: which layers stay in bf16, measured once for these weights on this GPU."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import taxonomy
from ...checkpoint.spec import Checkpoint
from ...engines.calibrate import Certificate, Evaluate, fill_keep, load_certificate, store_certificate
from ...engines.fidelity import MIN_PICTURES_FOR_RANKS, measure
from ...optional import need
from ...records import UInt8Array
from .engine import Engine
from .graphs import call_directly
from .operations import Operations
from .weights import Weights, layer_names, load, mixed

_log = logging.getLogger("emonet_fast")

# Part of the certificate's key: raise it with any change of the quantised arithmetic.
FP8_VERSION = 1
_BATCH = 16
_PICTURES_FOR_SENSITIVITY = 16


def fp8_keep(checkpoint: Checkpoint, device: Any, cache_dir: Path) -> frozenset[str]:
    """The layers to keep in bf16, from the stored certificate or measured now (about half a minute).

    Raises:
        BackendError: FP8 cannot be certified for these weights.
    """
    return frozenset(certified(checkpoint, device, cache_dir).keep)


def certified(checkpoint: Checkpoint, device: Any, cache_dir: Path) -> Certificate:
    """The certificate of these weights on this GPU; see fp8_keep."""
    path, key = certificate_place(checkpoint, device, cache_dir)
    certificate = load_certificate(path, key)
    if certificate is None:
        _log.info("certifying FP8 for these weights on this GPU (once)")
        certificate = certify(checkpoint, device, _pictures(checkpoint))
        store_certificate(path, key, certificate)
    return certificate


def certificate_place(checkpoint: Checkpoint, device: Any, cache_dir: Path) -> tuple[Path, dict[str, Any]]:
    """The file of a certificate, and the key that it must carry."""
    torch = need("torch", "the GPU engine")
    key = {
        "fp8_version": FP8_VERSION,
        "weights_hash": checkpoint.weights_hash,
        "device": torch.cuda.get_device_name(device),
        "torch": str(torch.__version__),
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir / "engines" / f"fp8-{name}.json", key


def certify(
    checkpoint: Checkpoint, device: Any, pixels: UInt8Array, operations: type[Operations] | None = None
) -> Certificate:
    """Compare FP8 with the float32 engine on pixels [N, 3, S, S] uint8, N >= 64, and choose what to keep.

    operations: a class like PlainOperations in place of our kernels, for checks without them.

    Raises:
        BackendError: see fill_keep.
    """
    emotions = [i for i, slug in enumerate(checkpoint.names) if taxonomy.find(slug).is_emotion]
    weights = load(checkpoint, device, "fp32")
    want = _outputs(_engine(checkpoint, weights, "fp32", device, None), pixels, device)
    del weights
    bf16, fp8 = load(checkpoint, device, "bf16"), load(checkpoint, device, "fp8")
    engine = _engine(checkpoint, fp8, "fp8", device, operations)

    def evaluate_on(count: int) -> Evaluate:
        def evaluate(keep: frozenset[str]) -> Any:
            engine.use(mixed(bf16, fp8, keep))
            got = _outputs(engine, pixels[:count], device)
            return measure((want[0][:count], want[1][:count]), got, emotions)

        return evaluate

    names = list(layer_names(checkpoint.vision.num_hidden_layers))
    return fill_keep(names, evaluate_on(len(pixels)), evaluate_on(_PICTURES_FOR_SENSITIVITY))


def _engine(
    checkpoint: Checkpoint, weights: Weights, precision: str, device: Any, operations: type[Operations] | None
) -> Engine:
    made: Any = None
    if operations is not None:
        plain: Any = operations
        made = plain(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise)
    return Engine(checkpoint, weights, precision, _BATCH, device, call_directly, operations=made)


def _outputs(engine: Engine, pixels: UInt8Array, device: Any) -> tuple[Any, Any]:
    torch = need("torch", "the GPU engine")
    found: list[Sequence[Any]] = []
    with torch.inference_mode():
        for start in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(pixels[start : start + _BATCH]).to(device)
            found.append([part.cpu().numpy().copy() for part in engine.run(batch)])
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _pictures(checkpoint: Checkpoint) -> UInt8Array:
    """Generated pictures as the network's input: no certificate may depend on what a user happens to score first."""
    from ...checkpoint.synthetic_pictures import calibration_pictures
    from ...preprocess import resize

    return np.stack(
        [resize(rgb, checkpoint.preprocess) for rgb in calibration_pictures(MIN_PICTURES_FOR_RANKS, seed=0)]
    )
