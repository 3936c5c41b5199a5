"""Pictures of any sizes to S x S in Pillow's own fixed-point arithmetic, bit for bit equal to Pillow.

    along one axis of n pixels, to S:   s = n / S,  f = max(s, 1),  m_j = (j + 1/2) s
    w_jk   = g((k + 1/2 - m_j) / f) over the pixels k of the picture within support * f of m_j, normalised to sum 1
    c_jk   = w_jk 2^22, rounded to the nearest integer
    out_j  = clip((sum over k of c_jk x_k + 2^21) >> 22, 0, 255)                    int32

    pictures  [h, w, 3]     uint8 each, contiguous, of any sizes
    out       [N, 3, S, S]  uint8
    g         the triangle max(1 - |t|, 0), support 1; or the cubic of Keys with a = -1/2, support 2

One axis follows the other, in Pillow's order (a picture's `rows_first`), and the values between are rounded to uint8.
Source of the arithmetic: Pillow's documentation of its convolution resize, and its results, which the tests compare
this file with. Of the cubic: Keys, IEEE Trans. ASSP 29 (1981).

A launch does one axis of all pictures. A program takes BLOCK neighbouring outputs. What differs between pictures
(addresses, sizes, distances, taps) stands in a table, so that a batch is two launches whatever is in it.

Bytes for 1024 x 1024: 3.1 MB read, 1.2 MB written and read, 0.4 MB written: 1.2 us on an H200. Taps and neighbours come
from the L1 cache, in some 11 million loads of a byte, so that loads are the limit, not memory. Unmeasured on a GPU.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl

from .aot import Launch, Variant
from .contract import check_device

# Of the fraction of a tap: 255 times the taps' sum, and what a cubic overshoots, stay in int32.
BITS: tl.constexpr = tl.constexpr(22)
HALF: tl.constexpr = tl.constexpr(1 << (BITS.value - 1))
BLOCK = 512
_KNOWN = 512  # sizes whose taps are kept on the GPU: 10 to 40 kB each

Floats = npt.NDArray[np.float64]


def _triangle(t: Floats) -> Floats:
    return np.where(np.abs(t) < 1, 1 - np.abs(t), 0)


def _cubic(t: Floats) -> Floats:
    t, a = np.abs(t), -0.5
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return np.where(t < 1, near, np.where(t < 2, far, 0))


FILTERS: dict[str, tuple[Callable[[Floats], Floats], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
"""By name: g and its support."""


def taps(n: int, size: int, filter_: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The taps of n pixels to `size`: first [size] and taps [size, K], int32, 0 beyond the picture."""
    if filter_ not in FILTERS:
        raise ValueError(f"filter {filter_!r}: expected one of {', '.join(FILTERS)}")
    shape, support = FILTERS[filter_]
    scale = n / size
    wide = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale
    # Truncation, not floor: what is below 0 is 0 in either case.
    first = np.maximum((centre - support * wide + 0.5).astype(np.int32), 0)
    end = np.minimum((centre + support * wide + 0.5).astype(np.int32), n)
    k = np.arange(int((end - first).max()))
    weight = shape((k + first[:, None] - centre[:, None] + 0.5) * (1.0 / wide))
    weight[k >= (end - first)[:, None]] = 0
    # Added one after the other, as a loop does: another order is another last bit.
    weight /= np.cumsum(weight, axis=1)[:, -1:]
    return first, np.trunc(weight * (1 << BITS.value) + np.copysign(0.5, weight)).astype(np.int32)


def reference(picture: npt.NDArray[np.uint8], size: int, filter_: str, *, rows_first: bool) -> npt.NDArray[np.uint8]:
    """Resize [h, w, 3] uint8 to [3, S, S] by the formula above, in numpy."""

    def along(values: npt.NDArray[np.uint8], axis: int) -> npt.NDArray[np.uint8]:
        lines = np.moveaxis(values, axis, 0)
        first, c = taps(len(lines), size, filter_)
        at = np.minimum(first[:, None] + np.arange(c.shape[1]), len(lines) - 1)
        total = np.einsum("jk,jk...->j...", c, lines[at].astype(np.int32)) + HALF.value
        return np.moveaxis(np.clip(total >> BITS.value, 0, 255).astype(np.uint8), 0, axis)

    order = (0, 1) if rows_first else (1, 0)
    return np.ascontiguousarray(along(along(picture, order[0]), order[1]).transpose(2, 0, 1))


# Of the table, int64, a row a picture: 13 are used. 16 keep every row, and the second axis' table, at whole 16 bytes.
_COLUMNS = 16
_LAUNCH = Launch({"COLUMNS": _COLUMNS, "BLOCK": BLOCK}, 4)


@triton.jit
def _along(table, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """One axis of all pictures; grid (blocks of the largest picture, pictures).

    A picture is seen as [outer, n, inner]: outer = h, inner = 3 for its columns, outer = 1, inner = 3 w for its rows.
    """
    row = table + tl.program_id(1) * COLUMNS
    source = tl.load(row).to(tl.pointer_type(tl.uint8))
    target = tl.load(row + 1).to(tl.pointer_type(tl.uint8))
    first_of = tl.load(row + 2).to(tl.pointer_type(tl.int32))
    taps_of = tl.load(row + 3).to(tl.pointer_type(tl.int32))
    count = tl.load(row + 4).to(tl.int32)
    n = tl.load(row + 5).to(tl.int32)
    size = tl.load(row + 6).to(tl.int32)
    inner = tl.load(row + 7).to(tl.int32)
    outer = tl.load(row + 8).to(tl.int32)
    to_outer = tl.load(row + 9).to(tl.int32)
    to_line = tl.load(row + 10).to(tl.int32)
    to_pixel = tl.load(row + 11).to(tl.int32)
    to_channel = tl.load(row + 12).to(tl.int32)

    # 32 bits are enough, as the launcher sees to: divisions of 64 bits would cost more than all the rest.
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < outer * size * inner
    line = element // inner
    i = element - line * inner
    o = line // size
    j = line - o * size
    first = tl.load(first_of + j, mask=inside, other=0)
    source += (o * n + first) * inner + i
    taps_of += j * count
    total = tl.full((BLOCK,), HALF, tl.int32)
    for k in range(count):
        used = inside & (first + k < n)
        tap = tl.load(taps_of + k, mask=used, other=0)
        total += tap * tl.load(source, mask=used, other=0).to(tl.int32)
        source += inner
    value = tl.minimum(tl.maximum(total >> BITS, 0), 255)
    pixel = i // 3
    target += o * to_outer + j * to_line + pixel * to_pixel + (i - 3 * pixel) * to_channel
    tl.store(target, value.to(tl.uint8), mask=inside)


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture in memory that the kernel can reach: [height, width, 3] uint8, contiguous."""

    address: int
    height: int
    width: int
    rows_first: bool


class Resizer:
    """Resizes batches to `size` x `size` on one device. It keeps the taps of sizes that it has met. Not thread-safe."""

    def __init__(self, size: int, filter_: str, device: torch.device | str) -> None:
        taps(1, size, filter_)
        self._size, self._filter, self._device = size, filter_, torch.device(device)
        self._known: OrderedDict[int, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def __call__(self, pictures: Sequence[Pixels]) -> torch.Tensor:
        """Resize N pictures on the current stream to [N, 3, S, S] uint8. Their memory must stay until that is done.

        Raises ValueError when a picture has no pixels or 2^31 values, or the kernel cannot run on the device.
        """
        size = self._size
        out = torch.empty((len(pictures), 3, size, size), dtype=torch.uint8, device=self._device)
        check_device({"out": out})
        if not pictures:
            return out
        for one in pictures:
            self._check(one)
        # What the first axis leaves: [h, S, 3], or [S, w, 3].
        left = [size * 3 * (one.width if one.rows_first else one.height) for one in pictures]
        between = torch.empty(sum(left), dtype=torch.uint8, device=self._device)
        first, second, start = [], [], between.data_ptr()
        for i, (one, bytes_) in enumerate(zip(pictures, left, strict=True)):
            packed = (one.width * 3 if one.rows_first else 3 * size, 3, 1)
            planes = (size, 1, size * size)
            to = out[i].data_ptr()
            if one.rows_first:
                first.append(self._rows(one.address, start, one.height, one.width, packed))
                second.append(self._columns(start, to, size, one.width, planes))
            else:
                first.append(self._columns(one.address, start, one.height, one.width, packed))
                second.append(self._rows(start, to, one.height, size, planes))
            start += bytes_
        tables = np.zeros((2, len(pictures), _COLUMNS), np.int64)
        tables[:, :, : len(first[0])] = [first, second]
        for table, lines in zip(self._sent(tables), (first, second), strict=True):
            largest = max(size * inner * outer for *_, inner, outer, _, _, _, _ in lines)
            grid = (triton.cdiv(largest, BLOCK), len(lines))
            _along[grid](table, **_LAUNCH.keywords)
        # Only now: freed memory goes to whatever comes next on this stream, which must be after the kernels.
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return out

    def _check(self, one: Pixels) -> None:
        largest = 3 * max(one.height, self._size) * max(one.width, self._size)
        if one.height < 1 or one.width < 1 or largest >= 2**31:
            raise ValueError(
                f"a picture of {one.height} x {one.width} pixels; expected at least 1 x 1, and fewer than 2^31 values "
                f"before and after each axis becomes {self._size}"
            )

    def _columns(self, source: int, target: int, height: int, width: int, to: tuple[int, int, int]) -> list[int]:
        """A table's row: [height, width, 3] along its width. to: distances of a row, a pixel and a channel."""
        row, pixel, channel = to
        return [source, target, *self._taps(width), width, self._size, 3, height, row, pixel, 0, channel]

    def _rows(self, source: int, target: int, height: int, width: int, to: tuple[int, int, int]) -> list[int]:
        """A table's row: [height, width, 3] along its height."""
        row, pixel, channel = to
        return [source, target, *self._taps(height), height, self._size, 3 * width, 1, 0, row, pixel, channel]

    def _taps(self, n: int) -> tuple[int, int, int]:
        """Addresses of `first` and of the taps, and how many taps there are."""
        if n not in self._known:
            first, c = taps(n, self._size, self._filter)
            self._known[n] = (self._sent(first), self._sent(c))
        self._known.move_to_end(n)
        first_of, taps_of = self._known[n]
        return first_of.data_ptr(), taps_of.data_ptr(), taps_of.shape[1]

    def _sent(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        """Copy to the device from pinned memory, so that nothing waits for what the stream still has to do."""
        tensor = torch.from_numpy(values)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)


def variants(capability: int) -> list[Variant]:
    """One for every picture: only the table's address is an argument."""
    return [Variant("any size", _along, {"table": "*i64"}, _LAUNCH)]
