"""Varied pictures from numpy alone: a machine that measures GPUs may have no library that draws.

Photographs have amplitude 1/f, edges, texture and colour casts; so have these.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]


def pictures(n: int, seed: int = 0, size: int = 384) -> list[UInt8]:
    """`n` different pictures [size, size, 3] uint8 RGB. The i-th depends on `seed` and i alone."""
    with ThreadPoolExecutor(8) as pool:  # numpy lets other threads run while it computes
        return list(pool.map(lambda i: _picture(i, np.random.default_rng([seed, i]), size), range(n)))


def planes(n: int, seed: int = 0, size: int = 384) -> UInt8:
    """The same as the network's input: [n, 3, size, size] uint8, contiguous."""
    return np.ascontiguousarray(np.stack(pictures(n, seed, size)).transpose(0, 3, 1, 2))


def _picture(i: int, rng: np.random.Generator, size: int) -> UInt8:
    out = _noise(rng, size)
    out = [_portrait, _shapes][i % 2](rng, out)
    out = 255.0 * np.clip(out / 255.0, 0.0, 1.0) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.1:  # without colour
        out = np.repeat(out.mean(axis=2, keepdims=True), 3, axis=2)
    out = out * rng.uniform(0.6, 1.0) + rng.uniform(0.0, 30.0)
    out += rng.uniform(0.0, 5.0) * rng.standard_normal(out.shape)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int) -> Floats:
    """[S, S, 3]: a gradient between two colours, and noise with amplitude 1/f^alpha, mostly of luminance."""
    f = np.maximum(np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]), 1.0 / size)
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size))) * f ** -rng.uniform(0.7, 1.7)
    layers = np.fft.irfft2(spectrum, s=(size, size))
    layers = (layers - layers.mean((1, 2), keepdims=True)) / layers.std((1, 2), keepdims=True)
    mix = np.full((3, 3), rng.uniform(0.5, 1.0)) + rng.normal(0.0, 0.35, (3, 3))
    y, x = _grid(size)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ramp = np.cos(angle) * (y / size - 0.5) + np.sin(angle) * (x / size - 0.5)
    first, second = rng.uniform(20.0, 235.0, (2, 3))
    out = (first + second) / 2 + ramp[..., None] * (second - first)
    noise: Floats = rng.uniform(8.0, 45.0) * (layers.transpose(1, 2, 0) @ mix) / 1.7
    return out + noise


def _grid(size: int) -> tuple[Floats, Floats]:
    return np.arange(size, dtype=np.float64)[:, None], np.arange(size, dtype=np.float64)[None]


def _blend(out: Floats, weight: Floats, colour: Floats) -> Floats:
    """Paint `colour` [3] over `out` with `weight` [S, S] in 0..1."""
    return out + weight[..., None] * (colour - out)


def _ellipse(size: int, cy: float, cx: float, ry: float, rx: float) -> Floats:
    y, x = _grid(size)
    return (((y - cy) / max(ry, 0.5)) ** 2 + ((x - cx) / max(rx, 0.5)) ** 2 < 1).astype(np.float64)


def _portrait(rng: np.random.Generator, out: Floats) -> Floats:
    """Shoulders, hair, skin, eyes, mouth: ellipses."""
    size = len(out)
    s, cy, cx = size * rng.uniform(0.22, 0.42), size * rng.uniform(0.4, 0.55), size * rng.uniform(0.4, 0.6)
    tone, red = rng.uniform(70.0, 235.0), rng.uniform(0.6, 0.85)
    skin, hair = np.array([tone, tone * red, tone * red * 0.85]), rng.uniform(0, 255, 3)
    out = _blend(out, _ellipse(size, cy + 2.3 * s, cx, 1.2 * s, 1.9 * s), rng.uniform(0, 255, 3))
    out = _blend(out, _ellipse(size, cy - 0.25 * s, cx, 1.2 * s, 1.05 * s), hair)
    out = _blend(out, _ellipse(size, cy, cx, 1.05 * s, 0.8 * s), skin)
    eye = rng.uniform(0.04, 0.16) * s
    for side in (-0.32, 0.32):
        out = _blend(out, _ellipse(size, cy - 0.2 * s, cx + side * s, eye, 0.17 * s), np.full(3, 240.0))
        out = _blend(out, _ellipse(size, cy - 0.2 * s, cx + side * s, 0.9 * eye, 0.7 * eye), hair)
    mouth = _ellipse(size, cy + 0.5 * s, cx, rng.uniform(0.03, 0.15) * s, 0.35 * s)
    return _speckle(rng, _blend(out, mouth, np.array([170.0, 50.0, 60.0])))


def _shapes(rng: np.random.Generator, out: Floats) -> Floats:
    """Ten to forty ellipses, boxes and half planes: sharp edges of every direction and colour."""
    size = len(out)
    y, x = _grid(size)
    for _ in range(int(rng.integers(10, 40))):
        cy, cx = rng.uniform(0, size, 2)
        ry, rx = rng.uniform(0.02, 0.25, 2) * size
        angle = rng.uniform(0, np.pi)
        u, v = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle), (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
        inside = (u / ry) ** 2 + (v / rx) ** 2 < 1 if rng.random() < 0.4 else (abs(u) < ry) & (abs(v) < rx)
        out = _blend(out, inside.astype(np.float64), rng.uniform(0, 255, 3))
    return out


def _speckle(rng: np.random.Generator, out: Floats) -> Floats:
    """Fine texture, as skin, foliage or cloth has."""
    return _blend(out, rng.uniform(0.02, 0.2) * rng.random(out.shape[:2]), rng.uniform(0, 255, 3))
