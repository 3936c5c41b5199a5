"""The operations of the synthetic tower in numpy float32: SigLIP's preprocessing, layers and patch filters."""

import numpy as np

from ..engines.tower import attend as attend_one
from ..records import Float32Array, UInt8Array

HIDDEN, HEADS, IMAGE, PATCH = 1152, 16, 384, 16
GRID = IMAGE // PATCH
TOKENS = GRID * GRID
EPS = 1e-6

PLAIN = 0.022


def patch_filters(rng: np.random.Generator) -> Float32Array:
    """[1152, 3, 16, 16] float32: Gabor filters of mean zero, and one in 12 of plain colour.

    Photographs have amplitude 1/f, so gains grow with f: every band counts, and a resize filter, which changes
    the finest, is seen. Half the filters are of opponent colours, whose contrast in photographs is about a third
    of luminance's, so an exchange of channels is seen. Plain colour is kept low: it is alike on many tokens, and
    at 0.12 it alone told pictures apart (effective rank of the embeddings 3, at 0.022 about 6).
    A filter rounded to bfloat16 has a mean other than zero: the pictures' brightness leaks into every band, which
    made two thirds of bfloat16's error. A quarter of that is left, as in all tensors.
    """
    y, x = np.mgrid[0:PATCH, 0:PATCH].astype(np.float64) - (PATCH - 1) / 2
    out = np.empty((HIDDEN, 3, PATCH, PATCH), np.float32)
    for c in range(HIDDEN):
        opponent = rng.random() < 0.5
        colour = rng.standard_normal(3) if opponent else np.ones(3)
        colour -= colour.mean() if opponent else 0.0
        frequency, angle = np.exp(rng.uniform(np.log(0.4), np.log(8.0))), rng.uniform(0, np.pi)
        along = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi * frequency / PATCH)
        wave = np.exp(-(x**2 + y**2) / (2 * rng.uniform(3.0, 8.0) ** 2))
        gain = PLAIN
        if c % 12:
            wave = wave * np.cos(along + rng.uniform(0, 2 * np.pi))
            wave -= wave.mean()
            gain = 0.35 * frequency
        gain *= 3.0 if opponent else 1.0
        out[c] = gain * (colour / np.linalg.norm(colour))[:, None, None] * (wave / np.linalg.norm(wave))
    return near_bfloat16(out)


def bfloat16_exact(values: Float32Array) -> Float32Array:
    """Round (halves away from zero) to 8 significant bits, so that bfloat16 holds them exactly."""
    bits = values.view(np.uint32) + np.uint32(0x8000)
    bits &= np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def near_bfloat16(values: Float32Array) -> Float32Array:
    """Move each value three quarters of its way to the next bfloat16 number, in place.

    Pictures differ here by how much of each band they hold, which GELU's mean turns into a small part of a large
    sum: rounding the weights fully made errors of 3 to 4% of what tells pictures apart, most of bfloat16's whole
    error. A quarter of it remains, so that a conversion that truncates or skips a tensor still shows.
    """
    error = values - bfloat16_exact(values)
    error *= np.float32(0.75)
    values -= error
    return values


def patches(picture: UInt8Array) -> Float32Array:
    """[H, W, 3] uint8 -> [576, 3*16*16] float32: resized as SigLIP2 resizes, in -1..1, cut into patches.

    Needs Pillow for pictures that are not 384x384; at that size its resize changes nothing.
    """
    if picture.shape != (IMAGE, IMAGE, 3):
        from PIL import Image

        picture = np.asarray(Image.fromarray(picture).resize((IMAGE, IMAGE), Image.Resampling.BILINEAR))
    pixels = picture.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    cut = pixels.reshape(GRID, PATCH, GRID, PATCH, 3).transpose(0, 2, 4, 1, 3)
    return cut.reshape(TOKENS, 3 * PATCH * PATCH)


def attend(q: Float32Array, k: Float32Array, v: Float32Array) -> Float32Array:
    """Multi-head attention of [N, Q, 1152] to [N, T, 1152], one picture at a time."""
    return np.stack([attend_one(*each, HEADS) for each in zip(q, k, v, strict=True)])
