"""The one DALI pipeline, parametrised by device: encoded bytes to the network's input, equal to Pillow.

    encoded [bytes] -> decode (RGB, upright) -> crop -> resize columns -> resize rows -> [3, S, S] -> normalise

The resize is bilinear, antialiased, and corrected at the border (border.py): one operator for both axes, which on the
CPU is 1.7 to 2.8 times as fast as one after the other, and a frame of first and last outputs around it.

One sample a row: a picture, or one face box of a picture. A picture with several boxes is decoded once: its first row
carries its bytes, the others a picture of one pixel, and `pick` points all to the first.
"""

from dataclasses import dataclass
from typing import Any

import nvidia.dali
import nvidia.dali.fn
from nvidia.dali import types

from .definition import (
    CROP_SHAPE,
    CROP_START,
    DECODE_SHAPE,
    DECODE_START,
    ENCODED,
    EXTENT,
    OVER,
    PICK,
    SHIFT,
    WEIGHT_X,
    WEIGHT_Y,
    WHOLE,
    Definition,
)

# DALI's stubs name the types of data nodes and of batches at once; here all are nodes of a graph.
fn: Any = nvidia.dali.fn
_FILTER = {"interp_type": types.INTERP_LINEAR, "antialias": True}


def build(definition: Definition) -> Any:
    """The pipeline, built and ready for feed_input. Needs the extra `dali`.

    With prefetch_queue_depth 1 the first schedule_run asks for one batch of inputs, not for several; runs that are
    scheduled ahead overlap all the same.
    """
    gpu = definition.device_id is not None
    pipe: Any = nvidia.dali.Pipeline(
        batch_size=definition.batch_size,
        num_threads=definition.threads,
        device_id=definition.device_id,
        prefetch_queue_depth=1,
        exec_dynamic=True,
        set_affinity=False,
    )
    with pipe:
        inputs = _Inputs(definition, gpu)
        picture = _decoded(definition, inputs, "mixed" if gpu else "cpu")
        if definition.rows != WHOLE:
            picture = _cropped(picture, inputs)
        pipe.set_outputs(_output(definition, picture, inputs))
    pipe.build()
    return pipe


class _Inputs:
    """The external inputs by name; small arrays that GPU operators compute with are copied to the GPU."""

    def __init__(self, definition: Definition, gpu: bool) -> None:
        def of(name: str, dtype: Any, ndim: int) -> Any:
            # On the CPU arrays are read where they lie: the runner keeps them until the run is done. A GPU's copies
            # may go on for longer than that.
            return fn.external_source(name=name, dtype=dtype, ndim=ndim, no_copy=not gpu)

        self.encoded = of(ENCODED, types.UINT8, 1)
        self.box: dict[str, Any] = {}
        if definition.rows != WHOLE:
            self.box[PICK] = of(PICK, types.INT32, 0)
            for name in (DECODE_START, DECODE_SHAPE, CROP_START, CROP_SHAPE):
                self.box[name] = of(name, types.INT32, 1)
        if definition.rows == OVER:
            self.box[SHIFT], self.box[EXTENT] = of(SHIFT, types.FLOAT, 2), of(EXTENT, types.FLOAT, 1)
        if definition.output == "pictures":
            return
        self.weights: tuple[Any, Any] = (of(WEIGHT_Y, types.FLOAT, 0), of(WEIGHT_X, types.FLOAT, 0))
        if gpu:
            self.weights = (self.weights[0].gpu(), self.weights[1].gpu())


def _decoded(definition: Definition, inputs: _Inputs, device: str) -> Any:
    settings: dict[str, Any] = {"output_type": types.RGB, "adjust_orientation": definition.exif, "device": device}
    if device == "mixed":
        # As libjpeg-turbo (and so Pillow) does it by default; nvJPEG's own default repeats chroma samples.
        settings["jpeg_fancy_upsampling"] = True
        # Decode buffers as large as most pictures need, at once, instead of growing again and again.
        settings |= {"preallocate_width_hint": 2048, "preallocate_height_hint": 2048}
    if definition.rows == WHOLE:
        return fn.decoders.image(inputs.encoded, **settings)
    box = inputs.box
    part = fn.decoders.image_slice(
        inputs.encoded, start=box[DECODE_START], shape=box[DECODE_SHAPE], axis_names="HW", **settings
    )
    return fn.permute_batch(part, indices=box[PICK])


def _cropped(picture: Any, inputs: _Inputs) -> Any:
    box = inputs.box
    inside = fn.slice(picture, start=box[CROP_START], shape=box[CROP_SHAPE], axis_names="HW")
    if SHIFT not in box:
        return inside
    # Without a fill value the warp repeats the edge. Not by a region of the resize: one that lies wholly outside of
    # the picture makes DALI 2.4 read beyond its memory.
    return fn.warp_affine(inside, matrix=box[SHIFT], size=box[EXTENT], interp_type=types.INTERP_NN, inverse_map=True)


# Parts of an axis: its first output, all between, its last output.
_NEAR, _INSIDE, _FAR = "near", "inside", "far"


@dataclass(frozen=True, slots=True)
class _Resize:
    """Pieces of one resize to size x size. sides, weights: of the axes (y, x): pixels there are, border.outside."""

    size: int
    sides: tuple[Any, Any]
    weights: tuple[Any, Any]

    def span(self, axis: int, part: str) -> tuple[Any, Any, int]:
        """First and last input coordinate, and the number of outputs, of a part of an axis."""
        side = self.sides[axis]
        step = side * (1.0 / self.size)
        if part == _INSIDE:
            return step, side - step, self.size - 2
        return (0.0 * step, step, 1) if part == _NEAR else (side - step, side, 1)

    def along(self, picture: Any, axis: int, part: str) -> Any:
        """One part of one axis resized, float32; the other axis as it is."""
        first, last, count = self.span(axis, part)
        across = fn.cast(picture.shape()[1 - axis], dtype=types.FLOAT)
        start, end = [first, 0.0 * across], [last, across]
        if axis == 1:
            start, end = start[::-1], end[::-1]
        count_of = {"resize_x": count} if axis == 1 else {"resize_y": count}
        # DALI calls it a region of interest, and reads beyond it where the filter does.
        region = {"roi_start": fn.stack(*start), "roi_end": fn.stack(*end)}
        return fn.resize(picture, mode="stretch", dtype=types.FLOAT, **region, **count_of, **_FILTER)

    def inside(self, picture: Any) -> Any:
        """Both axes at once, without the first and last outputs: far faster than one after the other."""
        (y0, y1, height), (x0, x1, width) = self.span(0, _INSIDE), self.span(1, _INSIDE)
        region = {"roi_start": fn.stack(y0, x0), "roi_end": fn.stack(y1, x1)}
        return fn.resize(picture, size=[height, width], dtype=types.UINT8, **region, **_FILTER)

    def ends(self, picture: Any, axis: int) -> tuple[Any, Any]:
        """The first and the last output of an axis by Pillow's rule, float32; the other axis as it is."""
        weight = self.weights[axis]
        first, last = (picture[:1], picture[-1:]) if axis == 0 else (picture[:, :1], picture[:, -1:])
        near = (self.along(picture, axis, _NEAR) - weight * first) / (1.0 - weight)
        return near, (self.along(picture, axis, _FAR) - weight * last) / (1.0 - weight)


def _resized(definition: Definition, picture: Any, inputs: _Inputs) -> Any:
    """[h, w, 3] uint8 to [S, S, 3] uint8: the inside in one operator, and its frame of one output apart."""
    shape = fn.cast(picture.shape(), dtype=types.FLOAT)
    resize = _Resize(definition.preprocess.size, (shape[0], shape[1]), inputs.weights)
    rows = fn.cat(*resize.ends(picture, 0), axis=0)
    near, far = resize.ends(rows, 1)
    rows = fn.cast(fn.cat(near, resize.along(rows, 1, _INSIDE), far, axis=1), dtype=types.UINT8)
    columns = resize.along(fn.cat(*resize.ends(picture, 1), axis=1), 0, _INSIDE)
    columns = fn.cast(columns, dtype=types.UINT8)
    middle = fn.cat(columns[:, :1], resize.inside(picture), columns[:, 1:], axis=1)
    return fn.cat(rows[:1], middle, rows[1:], axis=0)


def _output(definition: Definition, picture: Any, inputs: _Inputs) -> Any:
    if definition.output == "pictures":
        return picture
    spec, pixels = definition.preprocess, _resized(definition, picture, inputs)
    if definition.output == "uint8":
        return fn.transpose(pixels, perm=[2, 0, 1])
    values = fn.crop_mirror_normalize(
        pixels,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[m / spec.rescale_factor for m in spec.mean],
        std=[s / spec.rescale_factor for s in spec.std],
    )
    if definition.output == "float32":
        return values
    # Upper half of the float32's bits, rounded to nearest, ties to even.
    bits = fn.cast(fn.reinterpret(values, dtype=types.UINT32), dtype=types.INT64)
    return fn.cast((bits + 0x7FFF + (bits // 0x10000) % 2) // 0x10000, dtype=types.UINT16)
