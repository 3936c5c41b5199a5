"""Chooses how a layer of the tower becomes int8, by what it takes on calibration pictures.

Three choices, each by the error that it makes in the layer's output: what each channel of the input is divided by
before it is rounded (Xiao et al., "SmoothQuant", arXiv 2211.10438; nothing at all is among the candidates), the range
of its codes, and the weights' codes (engines/gptq.py). Where activations are massive, one scale for all of them leaves
the others no codes; where they are not, dividing channels only spreads the weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from ..graph.int8 import Int8Layer, nearest_int8
from ..records import Float32Array
from .gptq import Rounding

# Rows of a layer's input that are kept for its covariance, over all pictures: three for each column of fc2.
ROWS = 12288
# Of these, as many decide smoothing and range.
_TRIED_ROWS = 512
# How much more than the differences between tokens those between whole pictures count. The pooling head takes the mean
# of some 60 tokens: by so much their noise is less, and what a whole picture has in common is not.
BETWEEN_PICTURES = 64.0
# Trying GPTQ for each smoothing would take minutes a layer: the error of rounding to nearest stands for its own. GPTQ
# makes a tenth of it in what whole pictures have in common, which activations' noise reaches by a tenth to a
# sixtieth. So this much of it counts.
_WEIGHTS_COUNT = 2.0
# Where a range may end, in parts of the largest magnitude that was seen, and beyond: other pictures have more.
_ENDS = (0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.6)
# Few of the held-out pictures reach far; of 64 others, four reached twice as far as 24 had (docs/int8-recipe.md).
_HEADROOM = 1.1
# What no smoothing can do as well, within the chance of a few rows, is left alone.
_SMOOTHING_GAIN = 0.9
# Unsigned codes cost a correction for their zero in every product: they must make the error so much smaller.
_UNSIGNED_GAIN = 0.9

Linears = Mapping[str, tuple[Float32Array, Float32Array]]  # prefix -> weight [out, in], bias [out]


class LayerInputs:
    """What a layer takes over the calibration pictures, behind layers that are int8 already.

    Of each picture rows are kept evenly: memory is bounded.

    Args:
        pictures: how many will be added.
        tokens: of each.
        exact: [in] float32, the mean over the same pictures in the float32 network.
        between: [n, in] float32, of as many pictures as there are, the mean over the tokens less that of all.
        seed: of the choice of tokens.
    """

    def __init__(self, pictures: int, tokens: int, exact: Float32Array, between: Float32Array, seed: int = 0) -> None:
        self.exact, self.between = exact, between
        each, rng = min(tokens, max(1, ROWS // pictures)), np.random.default_rng(seed)
        self._kept = [np.sort(rng.permutation(tokens)[:each]) for _ in range(pictures)]
        self.rows = np.empty((pictures, each, len(exact)), np.float32)
        self.means = np.empty((pictures, len(exact)), np.float32)
        self.low, self.high = np.empty((2, pictures, len(exact)), np.float32)  # of each picture's tokens

    def add(self, number: int, x: Float32Array) -> None:
        """Add a picture's inputs [tokens, in]; pictures may come from several threads."""
        self.rows[number] = x[self._kept[number]]
        self.means[number] = x.mean(axis=0)
        self.low[number], self.high[number] = x.min(axis=0), x.max(axis=0)


def covariance_of(rows: Float32Array, centre: Float32Array, between: Float32Array) -> Float32Array:
    """The covariance [in, in] of rows [pictures, m, in] about `centre`, and BETWEEN_PICTURES times `between`'s."""
    x: Float32Array = (rows - centre).reshape(-1, rows.shape[2])
    total: Float32Array = x.T @ x
    total /= len(x)
    total += between.T @ between * np.float32(BETWEEN_PICTURES / max(len(between) - 1, 1))
    return total


@dataclass(frozen=True, slots=True)
class Range:
    """How an input is rounded: round(x / scale) + zero, within int8 where zero is 0, else within uint8.

    Args:
        scale: of the codes.
        zero: the code of 0.
        end: of _ENDS.
        error: the mean square of the output's error over all pictures, if channels err independently; that of pictures'
            means counts BETWEEN_PICTURES times, so that clipping, which does not average out, does.
    """

    scale: float
    zero: int
    end: float = 1.0
    error: float = 0.0

    def rounded(self, x: Float32Array) -> Float32Array:
        """Return x as its codes stand for it."""
        low, high = (0, 255) if self.zero else (-128, 127)
        y = x * np.float32(1 / self.scale)
        np.rint(y, out=y)
        np.clip(y, low - self.zero, high - self.zero, out=y)
        y *= np.float32(self.scale)
        return y


def best_range(x: Float32Array, importance: Float32Array, low: float, high: float) -> Range:
    """Find the range of least error on the worst of inputs x [pictures, m, in]; channels count by `importance` [in].

    `low` and `high` are the least and the largest value of other pictures, so that it shows what new ones need. The
    mean over pictures would choose a narrower range, which clips the few that reach furthest: each of them by much.
    """
    tried = []
    for one in (one for end in _ENDS for one in ranges(low, high, end)):
        error = one.rounded(x)
        error -= x
        means = error.mean(axis=1)
        error *= error
        of_pictures = (error.mean(axis=1) + BETWEEN_PICTURES * (means * means)) @ importance
        cost = float(of_pictures.max()) * (1 if one.zero == 0 else 1 / _UNSIGNED_GAIN)
        tried.append((cost, replace(one, error=float(of_pictures.mean()))))
    return min(tried, key=lambda one: one[0])[1]


def ranges(low: float, high: float, end: float) -> list[Range]:
    """The signed range and, if there is one, the unsigned range that end at this part of the largest value."""
    bottom = min(low, 0.0) if -low < 0.3 * high else low * end  # GELU's least value is near 0, and the same everywhere
    found = [Range(max(-low, high, 1e-12) * end / 127, 0, end)]
    unsigned = max(high * end - bottom, 1e-12) / 255
    zero = round(-bottom / unsigned)
    if 0 < zero < 255:  # a zero of 0 means signed codes
        found.append(Range(unsigned, zero, end))
    return found


def smoothings(largest: Float32Array, weights: Float32Array) -> Iterator[Float32Array | None]:
    """Candidates for what each channel is divided by: [in] each, None for nothing.

    `largest` [in] is the largest magnitude of each channel, `weights` [in] that of the weights which take it. First
    SmoothQuant's largest^a / weights^(1-a); then what brings the channels above a quantile down to it and leaves the
    others alone, which is what a few massive channels need.
    """
    yield None
    largest, weights = np.maximum(largest, 1e-6), np.maximum(weights, 1e-9)
    for alpha in (0.25, 0.5, 0.75):
        s = largest**alpha / weights ** (1 - alpha)
        yield (s / np.exp(np.log(s).mean())).astype(np.float32)
    for share in (0.5, 0.9, 0.99):
        yield np.maximum(largest / np.quantile(largest, share), 1.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ChosenLayer:
    """A layer in int8.

    Args:
        layer: the codes, and how the input is rounded.
        floated: the same, but with all linears in bf16; None where these were not asked for.
        noise: by prefix, the error of the output over its power, both over tokens and BETWEEN_PICTURES times those of
            pictures' means, about the mean.
        power: that power over all linears.
    """

    layer: Int8Layer
    floated: Int8Layer | None
    noise: Mapping[str, float]
    power: float


def choose_layer(linears: Linears, seen: LayerInputs, *, floated: bool = False) -> ChosenLayer:
    """Choose smoothing, range, codes and biases of a layer whose linears share their input.

    A bias makes the output's mean that of the float32 network: (W E[x] + b) less what the codes give for the inputs
    that they get. It takes back what the layers before have moved, too (Nagel et al., arXiv 1906.04721). With
    `floated` the linears get weights in bf16 as well, rounded for the same inputs.
    """
    weight = np.concatenate([weight for weight, _ in linears.values()])
    smooth, span = _best_smoothing(weight, seen)
    s = np.ones(weight.shape[1], np.float32) if smooth is None else smooth
    rows, means = seen.rows / s, seen.means / s
    exact, centre = seen.exact / s, means.mean(axis=0)
    rounding = Rounding([covariance_of(rows, centre, seen.between / s)], _nearest, np)
    got = span.rounded(rows)
    mean = centre + (got - rows).reshape(-1, rows.shape[2]).mean(axis=0)
    step = max(1, rows.shape[1] * len(rows) // _TRIED_ROWS)
    few, few_got = (np.ascontiguousarray(x[:, ::step]) for x in (rows, got))  # numpy's product of strided ones is slow
    codes, scales, biases, noise, power = {}, {}, {}, {}, []
    for prefix, (one, bias) in linears.items():
        smoothed = one * s
        scales[prefix] = nearest_int8(smoothed)[1]
        rounded = rounding([smoothed], [scales[prefix]])[0]
        codes[prefix] = rounded.astype(np.int8)
        rounded = rounded * scales[prefix][:, None]
        biases[prefix] = bias + smoothed @ exact - rounded @ mean
        output = few @ smoothed.T
        power.append(_energy(output))
        noise[prefix] = _energy(few_got @ rounded.T - output) / max(power[-1], 1e-30)
    layer = Int8Layer(codes, scales, biases, span.scale, span.zero, smooth)
    sizes = [len(bias) for _, bias in linears.values()]
    other = _floated(layer, linears, s, rounding, (exact, centre)) if floated else None
    return ChosenLayer(layer, other, noise, float(np.average(power, weights=sizes)))


def _floated(
    layer: Int8Layer, linears: Linears, s: Float32Array, rounding: Rounding, means: tuple[Float32Array, Float32Array]
) -> Int8Layer:
    """The layer with its linears in bf16. `means` are those of the input, over `s`: in float32, and here."""
    floats, biases = {}, {}
    for prefix, (weight, bias) in linears.items():
        smoothed = weight * s
        rounded = rounding([smoothed], [np.ones(1, np.float32)], _nearest_bf16)[0]
        floats[prefix] = rounded.astype(ml_dtypes.bfloat16)
        biases[prefix] = bias + smoothed @ means[0] - rounded @ means[1]
    return replace(layer, codes={}, scales={}, biases=biases, floats=floats)


def _best_smoothing(weight: Float32Array, seen: LayerInputs) -> tuple[Float32Array | None, Range]:
    """The smoothing of least error of the output, by nearest weights, and its range.

    Every other picture decides between what the rest of them suggest: held-out pictures reach two and three times as
    far in single channels, and what is made to measure for all that were seen clips them. Then all make it.
    """
    step = max(1, len(seen.rows) // 2 * seen.rows.shape[1] // _TRIED_ROWS)
    rows = np.ascontiguousarray(seen.rows[1::2, ::step])
    largest = np.abs(weight).max(axis=0)
    tried = []
    for number, smooth in enumerate(_suggested(seen, largest, slice(None, None, 2))):
        s = np.float32(1.0) if smooth is None else smooth
        x, w = rows / s, weight * s
        span = best_range(x, (w * w).mean(axis=0), *_reach(seen, s, slice(None, None, 2)))
        codes, scales = nearest_int8(w)
        off = (x - x.mean(axis=(0, 1))).reshape(-1, len(largest)) @ (codes * scales[:, None] - w).T
        error = span.error + float((off * off).mean()) * _WEIGHTS_COUNT
        tried.append((error if number else error * _SMOOTHING_GAIN, number, span))
    _, number, span = min(tried, key=lambda one: one[0])
    smooth = list(_suggested(seen, largest, slice(None)))[number]
    low, high = _reach(seen, np.float32(1.0) if smooth is None else smooth, slice(None))
    final = ranges(low, high, span.end * _HEADROOM)
    return smooth, final[-1] if span.zero else final[0]


def _suggested(seen: LayerInputs, weights: Float32Array, pictures: slice) -> Iterator[Float32Array | None]:
    return smoothings(np.maximum(-seen.low[pictures], seen.high[pictures]).max(axis=0), weights)


def _reach(seen: LayerInputs, smooth: Float32Array | np.float32, pictures: slice) -> tuple[float, float]:
    """The least and the largest value of these pictures' smoothed inputs."""
    return float((seen.low[pictures] / smooth).min()), float((seen.high[pictures] / smooth).max())


def _nearest(values: Float32Array) -> Float32Array:
    return np.clip(np.rint(values), -127, 127)


def _nearest_bf16(values: Float32Array) -> Float32Array:
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def _energy(y: Float32Array) -> float:
    """The mean square of y [pictures, m, out] about its mean, and BETWEEN_PICTURES times that of pictures' means."""
    y = y - y.mean(axis=(0, 1))
    means = y.mean(axis=1)
    return float((y * y).mean() + BETWEEN_PICTURES * (means * means).mean())
