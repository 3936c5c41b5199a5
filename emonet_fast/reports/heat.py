"""Heat maps for pages: small PNGs that a browser stretches, a column a place, a row a name."""

import base64
import io

import numpy as np
from PIL import Image

from ..records import Float64Array

_COLOURS = 64
# Dark to light, even steps to the eye (viridis, matplotlib, CC0).
_SCALE = np.array(
    [(68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121),
     (110, 206, 88), (181, 222, 43), (253, 231, 37)],
    np.float64,
)  # fmt: skip


def heat_map(means: Float64Array, dark: float | None = None) -> str:
    """A base64 PNG of [bins, E] values, one row an emotion, each by its own scale; NaN is transparent.

    The row's largest value is light; what is dark is its least one, or for all rows `dark`.
    """
    known = np.isfinite(means)
    high = np.max(means, axis=0, where=known, initial=-np.inf)
    low = np.min(means, axis=0, where=known, initial=np.inf) if dark is None else np.full(means.shape[1], dark)
    share = np.where(known, means - low, 0.0) / np.maximum(high - low, 1e-12)
    index = np.where(known, np.clip(share, 0, 1) * (_COLOURS - 1), _COLOURS).round().astype(np.uint8)
    place = np.linspace(0, len(_SCALE) - 1, _COLOURS)
    palette = np.stack([np.interp(place, np.arange(len(_SCALE)), _SCALE[:, c]) for c in range(3)], axis=1)
    image = Image.fromarray(np.ascontiguousarray(index.T), "P")
    image.putpalette([*palette.round().astype(int).ravel().tolist(), 0, 0, 0])
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, transparency=_COLOURS)
    return base64.b64encode(out.getvalue()).decode()
