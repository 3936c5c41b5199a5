"""Pictures on a GPU: crops by PyTorch and Pillow's resize, bit for bit, by our Triton kernel (kernels/resize.py).

All work is on the engine's stream. DALI's pictures are read in place; others are uploaded once. None goes back.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from ...checkpoint.spec import Preprocess
from ...gpu import NoGpu, look, named_stream
from ...optional import need
from ...preprocess import resize
from ...quality import GREY, SIDE
from ...records import Box, UInt8Array
from ..base import Part
from ..flow import Whole, Within
from .turn import upright

if TYPE_CHECKING:
    from .runner import Output

# kernels.resize.FILTERS, which cannot be read without PyTorch and Triton.
EXACT_RESAMPLES = ("bilinear", "bicubic")
# The kernel takes fewer values than this before and after it resizes an axis.
_MAX_VALUES = 2**31
# Since this version Pillow resizes the rows of tall pictures first (python-pillow/Pillow#9549), not always the columns.
_ORDERED = 13


def exact_possible(device_id: int, resample: str) -> bool:
    """Whether that GPU can resize as Pillow does: with PyTorch for CUDA, Triton, and a filter of the kernel."""
    return resample in EXACT_RESAMPLES and not isinstance(look(f"cuda:{device_id}"), NoGpu)


def rows_first(height: int, width: int, size: int) -> bool:
    """Whether the Pillow that is installed resizes the rows before the columns.

    It rounds in between, so the order changes a quarter of the values by one level. Pillow resizes the rows first where
    the height shrinks by more than twice as many pixels as the width; tests hold this rule to Pillow's behaviour.
    """
    newer = int(PIL.__version__.partition(".")[0]) >= _ORDERED
    return newer and height - size > max(0, 2 * (width - size))


class Batch:
    """Rows [n, 3, S, S] uint8 for the engine, over DLPack, which makes the consumer's stream wait for them.

    The owners hold what kernels may still have to read, and live until the rows are scored. `within` makes the stream
    PyTorch's current one on which the rows are made: that one is what PyTorch lets a consumer wait for.
    """

    def __init__(self, tensor: Any, owners: Sequence[object], within: Within) -> None:
        self._tensor, self._owners, self._within = tensor, owners, within

    def __dlpack__(self, **options: Any) -> Any:  # the protocol's own signature
        with self._within():
            return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


class DevicePictures:
    """Takes pictures to one GPU, crops and resizes them there, on the engine's CUDA stream.

    Without a GPU (None) Triton's interpreter runs the kernel, for tests.
    """

    def __init__(self, spec: Preprocess, device_id: int | None, stream: int | None) -> None:
        self._torch = need("torch", "the exact resize on a GPU")
        need("triton", "the exact resize on a GPU")
        from ...kernels.resize import Resizer

        self._spec = spec
        self._device = self._torch.device("cpu") if device_id is None else self._torch.device("cuda", device_id)
        self._stream = None if device_id is None else named_stream(stream or 0, self._device)
        self._resizer = Resizer(spec.size, spec.resample, self._device)

    @contextmanager
    def on_stream(self) -> Iterator[None]:
        """PyTorch works on the engine's stream inside."""
        with ExitStack() as stack:
            if self._stream is not None:
                stack.enter_context(self._torch.cuda.device(self._device))
                stack.enter_context(self._torch.cuda.stream(self._stream))
            yield

    def received(self, output: "Output") -> list[Any]:
        """DALI's pictures as torch tensors [h, w, 3] uint8 in the same memory, which `output.tensors` keeps."""
        with self.on_stream():
            return [self._torch.from_dlpack(output.tensors[i]) for i in range(len(output.tensors))]

    def upright(self, pixels: Any, orientation: int) -> Any:
        """The picture turned upright where it lies; see turn.upright."""
        with self.on_stream():
            return upright(pixels, orientation)

    def uploaded(self, whole: Whole) -> Whole:
        """The picture on the GPU, if it has pixels; as it is where it lies there already."""
        if not isinstance(whole.pixels, np.ndarray):
            return whole
        with self.on_stream():
            pixels = np.require(whole.pixels, requirements="W")  # PyTorch warns of others
            return replace(whole, pixels=self._torch.from_numpy(pixels).to(self._device))

    def to_host(self, pixels: Any) -> UInt8Array:
        """A picture's pixels on the host, copied on the stream that made them: no other one waits for them."""
        with self.on_stream():
            host: UInt8Array = pixels.cpu().numpy()
        return host

    def crop(self, pixels: Any, box: Box) -> Any:
        """preprocess.crop where the picture lies: [box.height, box.width, 3], contiguous."""
        height, width, _ = pixels.shape
        if box == Box(0, 0, width, height):
            return pixels
        with self.on_stream():
            rows, columns = (
                self._torch.arange(low, high, device=self._device).clamp(0, side - 1)
                for low, high, side in ((box.top, box.bottom, height), (box.left, box.right, width))
            )
            return pixels[rows[:, None], columns]

    def look(self, pixels: Any) -> tuple[Any, Any]:
        """quality.look_of where the crop lies, as two tensors of one number each: reading them here would wait."""
        run = self._torch.nn.functional
        with self.on_stream():
            whole = sum(pixels[..., i].int() * part for i, part in enumerate(GREY)) + 0x8000 >> 16
            grey = run.interpolate(whole[None, None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
            middle = grey[..., 1:-1, 1:-1]
            around = grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:]
            return (around - 4 * middle).var(correction=0), grey.mean()

    def parts(self, places: tuple[int, ...], pixels: list[Any]) -> tuple[Part, ...]:
        """The parts of a batch; see base.MakeParts. A row's pixels are a tensor [h, w, 3] and its owner."""
        size = self._spec.size
        here: list[tuple[int, Any, object]] = []
        too_large: list[tuple[int, Any]] = []
        for place, (one, owner) in zip(places, pixels, strict=True):
            if 3 * max(one.shape[0], size) * max(one.shape[1], size) < _MAX_VALUES:
                here.append((place, one, owner))
            else:
                too_large.append((place, one))
        parts = []
        if here:
            with self.on_stream():
                batch = Batch(self._resized([one for _, one, _ in here]), here, self.on_stream)
            parts.append(Part(tuple(place for place, _, _ in here), batch, on_device=True))
        if too_large:
            host = np.stack([resize(self.to_host(one), self._spec) for _, one in too_large])
            parts.append(Part(tuple(place for place, _ in too_large), host))
        return tuple(parts)

    def _resized(self, pictures: Sequence[Any]) -> Any:
        """Torch [n, 3, S, S] uint8 of tensors [h, w, 3]."""
        from ...kernels.resize import Pixels

        placed = []
        for one in pictures:
            height, width = int(one.shape[0]), int(one.shape[1])
            placed.append(Pixels(one.data_ptr(), height, width, rows_first(height, width, self._spec.size)))
        return self._resizer(placed)
