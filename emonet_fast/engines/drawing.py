"""Draws pictures: the synthetic checkpoint and FP8 are calibrated on them, and `verify` scores them by default.

They share with photographs what the network can see: 1/f spectra, sharp edges, fine texture, smooth light, colour
casts, noise, and sizes that need both shrinking and enlarging. This file needs Pillow, so pictures.py imports it late.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..records import FloatArray, UInt8Array

Colour = tuple[int, int, int]


def calibration_pictures(n: int, seed: int = 0) -> list[UInt8Array]:
    """Draw `n` different pictures, [H, W, 3] uint8 RGB with sides from 200 to 899; the same for the same seed.

    The i-th picture depends on `seed` and i alone, so that a longer list begins with the shorter one. The kinds come in
    turns: face, scene of shapes, texture, soft light.
    """
    return [_picture(i, np.random.Generator(np.random.PCG64([seed, i]))) for i in range(n)]


def _picture(i: int, rng: np.random.Generator) -> UInt8Array:
    height, width = (int(v) for v in rng.integers(200, 900, size=2))
    canvas = Image.fromarray(_background(rng, height, width))
    kinds: list[Callable[[np.random.Generator, Image.Image], None]] = [_face, _shapes, _stripes, _glow]
    kinds[i % len(kinds)](rng, canvas)
    if rng.random() < 0.3:  # out of focus
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3.0))))
    return _develop(rng, np.asarray(canvas, np.float32))


def _background(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """[H, W, 3] uint8: a gradient between two colours and noise with amplitude 1/f^alpha."""
    alpha, contrast = rng.uniform(0.7, 1.7), rng.uniform(8.0, 45.0)
    rows, columns = (-(-side // 60) * 60 for side in (height, width))  # a Fourier transform of a prime side is slow
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]
    amplitude = np.maximum(np.hypot(fy, fx), 1.0 / max(rows, columns)).astype(np.float32) ** np.float32(-alpha)
    layers = []
    for _ in range(3):
        noise = rng.standard_normal((rows, columns), np.float32)
        layer = np.fft.irfft2(np.fft.rfft2(noise) * amplitude, s=(rows, columns))[:height, :width]
        layers.append((layer - layer.mean()) / layer.std())
    mix = np.full((3, 3), 1.0) * rng.uniform(0.5, 1.0) + rng.normal(0.0, 0.35, (3, 3))  # mostly luminance
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ramp = np.cos(angle) * np.linspace(-0.5, 0.5, height)[:, None] + np.sin(angle) * np.linspace(-0.5, 0.5, width)[None]
    first, second = rng.uniform(20.0, 235.0, (2, 3))
    out = (first + second) / 2 + ramp[..., None] * (second - first)
    out = out + contrast * (np.stack(layers, axis=-1) @ mix) / 1.7
    return _bytes(out)


def _bytes(values: FloatArray) -> UInt8Array:
    out: UInt8Array = np.clip(values, 0.0, 255.0).astype(np.uint8)
    return out


def _colour(rng: np.random.Generator) -> Colour:
    r, g, b = (int(v) for v in rng.integers(0, 256, size=3))
    return r, g, b


def _box(cx: float, cy: float, rx: float, ry: float) -> tuple[float, float, float, float]:
    return cx - rx, cy - ry, cx + rx, cy + ry


def _face(rng: np.random.Generator, canvas: Image.Image) -> None:
    """A portrait of ellipses: hair, skin, eyes, brows, nose, mouth, shoulders."""
    draw, (width, height) = ImageDraw.Draw(canvas), canvas.size
    size = min(width, height) * rng.uniform(0.22, 0.42)
    cx, cy = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.55)
    tone, redness = rng.uniform(70.0, 235.0), rng.uniform(0.6, 0.85)
    skin = (int(tone), int(tone * redness), int(tone * redness * rng.uniform(0.7, 0.95)))
    hair, dark = _colour(rng), (int(tone * 0.3), int(tone * 0.2), int(tone * 0.2))
    draw.ellipse(_box(cx, cy + 2.3 * size, 1.9 * size, 1.2 * size), fill=_colour(rng))
    draw.ellipse(_box(cx, cy - 0.25 * size, 1.05 * size, 1.2 * size), fill=hair)
    draw.ellipse(_box(cx, cy, 0.8 * size, 1.05 * size), fill=skin)
    openness, smile = rng.uniform(0.04, 0.16) * size, rng.uniform(-0.3, 0.3) * size
    for side in (-1.0, 1.0):
        x = cx + side * 0.32 * size
        draw.ellipse(_box(x, cy - 0.2 * size, 0.17 * size, openness), fill=(240, 240, 240))
        draw.ellipse(_box(x, cy - 0.2 * size, 0.7 * openness, 0.9 * openness), fill=hair)
        tilt = rng.uniform(-0.12, 0.12) * size
        draw.line(
            (x - 0.2 * size, cy - 0.42 * size + tilt, x + 0.2 * size, cy - 0.42 * size - tilt),
            dark,
            max(2, int(size / 14)),
        )
    draw.line((cx, cy - 0.1 * size, cx + 0.08 * size, cy + 0.2 * size), dark, max(1, int(size / 30)))
    mouth = [
        (cx - 0.35 * size, cy + 0.5 * size - smile),
        (cx, cy + 0.5 * size + smile),
        (cx + 0.35 * size, cy + 0.5 * size - smile),
    ]
    draw.line(mouth, (170, 50, 60), max(2, int(size / 10)), joint="curve")
    _speckle(rng, canvas)


def _shapes(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Ten to forty ellipses, boxes, triangles and lines: sharp edges of every direction and colour."""
    draw, (width, height) = ImageDraw.Draw(canvas), canvas.size
    for _ in range(int(rng.integers(10, 40))):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.02, 0.25, 2) * min(width, height)
        kind, colour = int(rng.integers(0, 4)), _colour(rng)
        if kind == 0:
            draw.ellipse(_box(cx, cy, rx, ry), fill=colour)
        elif kind == 1:
            draw.rectangle(_box(cx, cy, rx, ry), fill=colour)
        elif kind == 2:
            corners = [(cx + rx * float(dx), cy + ry * float(dy)) for dx, dy in rng.uniform(-1.5, 1.5, (3, 2))]
            draw.polygon(corners, fill=colour)
        else:
            draw.line((cx - rx, cy - ry, cx + rx, cy + ry), colour, int(rng.integers(1, 9)))


def _blend(canvas: Image.Image, weight: FloatArray, colour: FloatArray) -> None:
    """Paint `colour` over the canvas with `weight` [H, W] in 0..1."""
    rgb = np.asarray(canvas, np.float32)
    mixed = rgb + weight[..., None] * (colour - rgb)
    canvas.paste(Image.fromarray(_bytes(mixed)))


def _grid(canvas: Image.Image) -> tuple[FloatArray, FloatArray]:
    width, height = canvas.size
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


def _stripes(rng: np.random.Generator, canvas: Image.Image) -> None:
    """One or two gratings of 3 to 40 pixels a period: cloth, brick, print."""
    y, x = _grid(canvas)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3.0), np.log(40.0)))
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + rng.uniform(0, 6.28))
        sharp = rng.uniform(1.0, 6.0)
        _blend(canvas, rng.uniform(0.3, 0.8) * (0.5 + 0.5 * np.tanh(sharp * wave)), rng.uniform(0, 255, 3))
    if rng.random() < 0.5:
        _speckle(rng, canvas)


def _glow(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Two to six soft lights: large smooth areas, little detail."""
    y, x = _grid(canvas)
    width, height = canvas.size
    for _ in range(int(rng.integers(2, 7))):
        radius = rng.uniform(0.1, 0.5) * min(width, height)
        square = (x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2
        _blend(canvas, rng.uniform(0.4, 1.0) * np.exp(-square / (2 * radius**2)), rng.uniform(0, 255, 3))


def _speckle(rng: np.random.Generator, canvas: Image.Image) -> None:
    """Fine luminance texture, as skin, foliage or cloth has."""
    y, x = _grid(canvas)
    weight = rng.uniform(0.02, 0.2) * rng.random((len(y), x.shape[1]), np.float32)
    _blend(canvas, weight, rng.uniform(0, 255, 3))


def _develop(rng: np.random.Generator, rgb: FloatArray) -> UInt8Array:
    """Exposure, gamma, now and then no colour, and sensor noise."""
    out = 255.0 * np.clip(rgb / 255.0, 0.0, 1.0) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.1:
        out = np.repeat(out.mean(axis=-1, keepdims=True), 3, axis=-1)
    out = out * rng.uniform(0.6, 1.0) + rng.uniform(0.0, 30.0)
    out = out + rng.uniform(0.0, 5.0) * rng.standard_normal(out.shape, np.float32)
    return _bytes(np.rint(out))
