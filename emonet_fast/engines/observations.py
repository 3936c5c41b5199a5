"""What calibration saw of the float32 network, and what follows for one-scale-a-tensor FP8: scales, biases, order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..checkpoint.layers import layer_names, prefixes_of
from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..graph.quantise import Quantisation, rounding_error

Float32 = npt.NDArray[np.float32]

# e4m3 keeps 3 bits behind the leading one: a step of 2^-3 of the power of two below, so an error of at most 2^-4 and,
# uniform within the step and over the mantissas, a mean square of (2^-3)^2 / 12 / mean(m^2) = 2^-9.8 of the square.
_E4M3_NOISE = (2.0**-3) ** 2 / 12 / (7 / 3)


@dataclass(frozen=True, slots=True)
class Observations:
    """Over some pictures; names as in checkpoint/layers.py.

    largest: of each layer's input, over all. mean, square [in]: means of the input and of its square.
    power: mean square of each layer's output (of qkv: of v). stream: of the residual stream before each block.
    embedding [n, hidden], raw [n, H]: what the float32 network gives for the pictures.
    """

    largest: Mapping[str, float]
    mean: Mapping[str, Float32]
    square: Mapping[str, Float32]
    power: Mapping[str, float]
    stream: tuple[float, ...]
    embedding: Float32
    raw: Float32

    @classmethod
    def gather(cls, names: Sequence[str], blocks: int, pictures: Sequence[Mapping[str, Float32]]) -> "Observations":
        """From one record a picture, with the keys of graph/observe.py."""

        def mean(key: str) -> Float32:
            return np.asarray(np.mean([p[key] for p in pictures], axis=0, dtype=np.float64), np.float32)

        return cls(
            largest={n: float(max(p[f"{n}/largest"] for p in pictures)) for n in names},
            mean={n: mean(f"{n}/mean") for n in names},
            square={n: mean(f"{n}/square") for n in names},
            power={n: float(mean(f"{n}/power")) for n in names},
            stream=tuple(float(mean(f"{block}/stream")) for block in range(blocks)),
            embedding=np.concatenate([p["embedding"] for p in pictures]),
            raw=np.concatenate([p["raw"] for p in pictures]),
        )


def quantisation(checkpoint: Checkpoint, seen: Observations) -> Quantisation:
    """Scales and corrected biases for FP8 in every layer.

    A bias is given back what rounding the weights costs on average, (W - W8) E[x]: the bias correction of Nagel et al.,
    arXiv 1906.04721. See backends/cuda/fp8.py for what it gains.
    """
    file, found = SafetensorsFile(checkpoint.path), {}
    for name in layer_names(checkpoint.vision.num_hidden_layers):
        for prefix in prefixes_of(name):
            found[prefix] = rounding_error(_weight(file, prefix, checkpoint)) @ seen.mean[name]
    return Quantisation(largest=seen.largest, corrections=found)


def order(checkpoint: Checkpoint, seen: Observations) -> dict[str, float]:
    """What each layer is estimated to add to the residual stream in FP8, as a share of its power; the largest first.

    Rounding is taken as noise that is independent from value to value: of the weights (W - W8)^2 Var[x], since biases
    are corrected, of the inputs 2^-9.8 W^2 E[x^2]. out and fc2 write into the stream themselves; the noise of qkv and
    fc1 reaches it through out and fc2, as the same share of what these write. It is an estimate from one pass, where
    measuring each layer alone takes a pass each; only the order matters: how many layers stay in bf16 is measured.
    """
    file, cost = SafetensorsFile(checkpoint.path), {}
    for name in layer_names(checkpoint.vision.num_hidden_layers):
        block, _, part = name.partition(".")
        noise, power = 0.0, seen.power[name]
        for prefix in prefixes_of(name):
            weight = _weight(file, prefix, checkpoint)
            variance = np.maximum(seen.square[name] - seen.mean[name] ** 2, 0)
            added = rounding_error(weight) ** 2 @ variance + _E4M3_NOISE * (weight**2 @ seen.square[name])
            # q and k are far larger than v or smaller, but what counts is their share: their own power stands for it
            own = weight**2 @ seen.square[name]
            noise += float(added.mean() / own.mean())
        share = noise if part == "qkv" else noise * float((weight**2 @ seen.square[name]).mean()) / power
        written = seen.power[f"{block}.{'out' if part in ('qkv', 'out') else 'fc2'}"]
        cost[name] = share * written / seen.stream[int(block)]
    return dict(sorted(cost.items(), key=lambda item: -item[1]))


def _weight(file: SafetensorsFile, prefix: str, checkpoint: Checkpoint) -> Float32:
    """[out, in] as typed.py rounds it: q with its factor."""
    weight: Float32 = file.array(f"{prefix}.weight")
    if prefix.endswith("self_attn.q_proj"):
        weight = weight * np.float32(checkpoint.vision.head_dim**-0.5)
    return weight
