"""What calibration saw of the float32 network, and what follows for FP8 with one scale a tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from ..checkpoint.layers import layer_names, prefixes_of
from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..graph.quantise import Quantisation, nearest_e4m3, tower_weight, weight_scale
from ..records import Float32Array
from .gptq import Rounding
from .moments import MomentsCollector

# e4m3 keeps 3 bits behind the leading one: steps of 2^-3 of the power of two below, so the error is at most 2^-4. Where
# it is uniform within the step and over the mantissas, its mean square is (2^-3)^2 / 12 / mean(m^2), 2^-9.8 of the
# value's square.
_E4M3_NOISE = (2.0**-3) ** 2 / 12 / (7 / 3)


class ObservedLayer:
    """Figures of one layer over the calibration pictures, which are added one at a time.

    `largest` is the largest magnitude of its input, `inputs` gathers the moments of its input, `square` [in] is the
    mean of the input's square, and `power` the mean square of its output (of qkv: of v).
    """

    def __init__(self, tokens: int) -> None:
        self.largest = self.power = 0.0
        self.square: Float32Array | float = 0.0
        self.inputs = MomentsCollector(tokens)
        self._pictures = 0

    def add(self, x: Float32Array, power: float) -> None:
        """Add one picture: its input x [tokens, in], and the mean square of the output."""
        self._pictures += 1
        self.largest = max(self.largest, float(np.abs(x).max()))
        self.inputs.add(x)
        self.square = self.square + ((x * x).mean(0) - self.square) / self._pictures
        self.power += (power - self.power) / self._pictures


@dataclass(frozen=True, slots=True)
class Observations:
    """What the float32 network does with some pictures.

    Args:
        embedding: [n, hidden] float32.
        raw: [n, H] float32.
        layers: by their names in checkpoint/layers.py; empty unless they were gathered.
        stream: the mean square of the residual stream before each block; empty unless layers were gathered.
    """

    embedding: Float32Array
    raw: Float32Array
    layers: Mapping[str, ObservedLayer] = field(default_factory=dict)
    stream: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What calibration gives.

    Args:
        quantisation: for FP8 in every layer.
        cost: what each layer in FP8 is estimated to add to the residual stream, as a share of its power; the largest
            first.
    """

    quantisation: Quantisation
    cost: Mapping[str, float]


def calibrate(checkpoint: Checkpoint, seen: Observations) -> Calibrated:
    """Compute scales, rounded weights and corrected biases for FP8 in every layer, and the order to give it up in.

    Weights are rounded by engines/gptq.py. A bias gets back what that costs on average, (W - W8) E[x]: the bias
    correction of Nagel et al., arXiv 1906.04721. This takes a few minutes on two cores at full depth.

    The cost is an estimate from one pass, since measuring each layer alone would take a pass each. Only the order
    matters: how many layers stay in bf16 is measured. out and fc2 write into the stream themselves; the noise of qkv
    and fc1 reaches it through out and fc2, as the same share of what these write.
    """
    file, codes, corrections, cost = SafetensorsFile(checkpoint.path), {}, {}, {}
    for name in layer_names(checkpoint.vision.num_hidden_layers):
        layer, noise, own = seen.layers[name], 0.0, 0.0
        moments = layer.inputs.moments()
        rounding = Rounding([moments.covariance], nearest_e4m3, np)
        weights = {prefix: tower_weight(file, prefix, checkpoint) for prefix in prefixes_of(name)}
        scale = np.array([weight_scale(weights.values())], np.float32)
        for prefix, weight in weights.items():
            rounded = rounding([weight], [scale])[0]
            codes[prefix] = rounded.astype(ml_dtypes.float8_e4m3fn)
            error = weight - rounded * scale
            corrections[prefix] = error @ moments.mean
            # q and k are far larger than v or smaller, but what counts is their share: their own power stands for it.
            # Rounding the inputs is noise that is independent from value to value.
            own = float((weight**2 @ layer.square).mean())
            added = ((error @ moments.covariance) * error).sum(1) + _E4M3_NOISE * (weight**2 @ layer.square)
            noise += float(added.mean()) / own
        block, _, part = name.partition(".")
        share = noise if part == "qkv" else noise * own / layer.power
        written = seen.layers[f"{block}.{'out' if part in ('qkv', 'out') else 'fc2'}"].power
        cost[name] = share * written / seen.stream[int(block)]
    largest = {name: layer.largest for name, layer in seen.layers.items()}
    ordered = dict(sorted(cost.items(), key=lambda item: -item[1]))
    return Calibrated(Quantisation(largest, codes=codes, corrections=corrections), ordered)
