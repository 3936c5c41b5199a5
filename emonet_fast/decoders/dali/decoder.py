"""The DALI decoder: pictures in, batches of the network's input out, some runs ahead of the caller.

DALI decodes encoded pictures. Arrays, and files that DALI cannot be trusted with, take Pillow's way, in order. On a GPU
with PyTorch and Triton our kernel resizes them there, bit for bit as Pillow (exact.py); else Pillow does on threads.
"""

import ctypes
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ...checkpoint.spec import Preprocess
from ...options import Options
from ...records import Picture, Status
from ..base import FaceLocator, Prepared, Row, Timed, grouped
from ..flow import Whole, ahead, by_pillow, crops, located, resized, step_fault, with_known_boxes
from .exact import DevicePictures, exact_possible
from .pipeline import RUN_PIXELS, Definition
from .runner import Runner, RunResult
from .triage import Sample, triage
from .turn import upright

# Runs that work while one is waited for: the decode of the next overlaps with the engine's work on this. So there are
# AHEAD + 1 times RUN_PIXELS at most.
AHEAD = 2
# Limits of a run's pictures where the host resizes; between them, the engine's batch.
_HOST_RUN_LEAST, _HOST_RUN = 4, 16
# Pictures on the host after which free memory is given back, which takes about 20 ms.
_GIVE_BACK = 128
_MAX_THREADS = 16
# How many pictures Pillow decodes at once beside DALI, each of up to max_pixels.
_PILLOW_THREADS = 4


@dataclass(slots=True)
class _Run:
    """Pictures in order: DALI's samples, and those that Pillow is to decode."""

    items: list[Sample | Picture] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pixels: int = 0

    @property
    def regions(self) -> bool:
        return bool(self.samples) and self.samples[0].region is not None


class DaliDecoder:
    """Decodes by DALI, on a GPU or on the CPU; see Decoder.

    Args:
        spec: size and filter of the network's input.
        options: orientation and limits.
        timed: times the stages "decode" and "preprocess".
        threads: CPU threads of DALI, and of the resize on the host.
        device_id: the GPU that decodes; None for the CPU.
        stream: handle of the engine's CUDA stream, on which batches become ready. None on the CPU.
    """

    name = "dali"
    reads_ahead = True

    def __init__(
        self,
        spec: Preprocess,
        options: Options,
        timed: Timed,
        threads: int,
        device_id: int | None = None,
        stream: int | None = None,
    ) -> None:
        self._spec, self._options, self._timed = spec, options, timed
        self._device_id, self._stream = device_id, stream
        self._device: DevicePictures | None = None
        if device_id is not None and exact_possible(device_id, spec.resample):
            self._device = DevicePictures(spec, device_id, stream)
        self._threads = min(threads, _MAX_THREADS)
        self._by_pillow = 0

    def batches(
        self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """See Decoder.batches."""
        known = with_known_boxes(pictures, faces)
        if self._device is not None:
            rows = self._device_rows(self._device, known, batch_size, keep_rgb, faces)
            return grouped(rows, batch_size, self._device.parts)
        run_size = max(_HOST_RUN_LEAST, min(_HOST_RUN, batch_size))
        return grouped(self._host_rows(known, run_size, keep_rgb, faces), batch_size)

    def note(self) -> str:
        """See Decoder.note."""
        return f"{self._by_pillow} by Pillow" if self._by_pillow else ""

    def _device_rows(
        self,
        device: DevicePictures,
        pictures: Iterable[Picture],
        run_size: int,
        keep_rgb: bool,
        faces: FaceLocator | None,
    ) -> Iterator[Row]:
        """Each row with its tensor on the GPU and the owner of that memory."""
        there = map(partial(_uploaded, device), self._wholes(pictures, run_size))
        for whole in located(there, faces, device.on_stream):
            rows = crops(
                whole,
                self._options.max_pixels,
                faces,
                keep_rgb=keep_rgb,
                cut=device.crop,
                look=device.look,
                to_host=device.to_host,
            )
            for row, pixels in rows:
                if pixels is None:
                    yield row, None
                    continue
                shown = replace(row, rgb=device.to_host(pixels)) if keep_rgb else row
                yield shown, (pixels, whole.owner)

    def _host_rows(
        self, pictures: Iterable[Picture], run_size: int, keep_rgb: bool, faces: FaceLocator | None
    ) -> Iterator[Row]:
        """Each row with the network's input, resized on threads while DALI decodes the next pictures."""
        finish = partial(resized, spec=self._spec, options=self._options, keep_rgb=keep_rgb, faces=faces)
        count = 0
        with ThreadPoolExecutor(self._threads) as pool:

            def start(whole: Whole) -> Future[list[Row]]:
                nonlocal count
                count += 1
                if count % _GIVE_BACK == 0:
                    pool.submit(_give_back)
                return pool.submit(finish, whole)

            wholes = located(self._wholes(pictures, run_size), faces)
            depth = min(run_size, 2 * self._threads)
            ready: Iterator[list[Row]] = ahead(start, wholes, depth, partial(self._timed, "preprocess"))
            for rows in ready:
                yield from rows

    def _wholes(self, pictures: Iterable[Picture], run_size: int) -> Iterator[Whole]:
        """Each picture decoded once: by DALI, or by Pillow on threads beside it."""
        with ThreadPoolExecutor(_PILLOW_THREADS) as pool:

            def start(item: Whole | Picture) -> Future[Whole] | Whole:
                if isinstance(item, Whole):
                    return item
                self._by_pillow += isinstance(item.data, bytes | None)
                return pool.submit(by_pillow, item, self._options)

            items = self._items(pictures, run_size)
            yield from ahead(start, items, _PILLOW_THREADS, partial(self._timed, "decode"))

    def _items(self, pictures: Iterable[Picture], run_size: int) -> Iterator[Whole | Picture]:
        """What DALI decoded, and pictures that Pillow is to decode, in order; AHEAD runs are under way."""
        runners: dict[bool, Runner] = {}
        started: deque[_Run] = deque()
        try:
            for run in self._runs(pictures, run_size):
                if run.samples:
                    with self._timed("decode"):
                        self._runner(runners, run.regions, run_size).start(run.samples)
                started.append(run)
                while started and (len(started) > AHEAD or not started[0].samples):
                    yield from self._finished(started.popleft(), runners)
            while started:
                yield from self._finished(started.popleft(), runners)
        finally:
            for runner in runners.values():
                runner.close()

    def _runner(self, runners: dict[bool, Runner], regions: bool, run_size: int) -> Runner:
        if regions not in runners:
            definition = Definition(self._device_id, run_size, self._threads, regions)
            # Pictures that go to the host are copied by DALI, which then waits for them itself.
            runners[regions] = Runner(definition, self._stream if self._device is not None else None)
        return runners[regions]

    def _runs(self, pictures: Iterable[Picture], run_size: int) -> Iterator[_Run]:
        """Pictures to runs: at most run_size samples and RUN_PIXELS pixels, all with a region or all without.

        Pillow's pictures ride in the run that is open; where none is, they go on at once.
        """
        run = _Run()
        for picture in pictures:
            with self._timed("decode"):
                sample = triage(picture, self._options)
            if sample is None:
                run.items.append(picture)
                if not run.samples or len(run.items) - len(run.samples) >= run_size:
                    yield run
                    run = _Run()
                continue
            pixels = sample.width * sample.height
            full = len(run.samples) == run_size or run.pixels + pixels > RUN_PIXELS
            if run.samples and (full or run.regions != (sample.region is not None)):
                yield run
                run = _Run()
            run.items.append(sample)
            run.samples.append(sample)
            run.pixels += pixels
        if run.items:
            yield run

    def _finished(self, run: _Run, runners: dict[bool, Runner]) -> Iterator[Whole | Picture]:
        """A run's pictures. Those that DALI could not decode are Pillow's to judge."""
        decoded: dict[int, tuple[Any, object]] = {}
        with self._timed("decode"):
            result = runners[run.regions].finish() if run.samples else RunResult((), ())
            for output in result.outputs:
                pixels = output.on_host() if self._device is None else self._device.received(output)
                decoded |= {place: (one, output) for place, one in zip(output.places, pixels, strict=True)}
        places = iter(range(len(run.samples)))
        for item in run.items:
            if isinstance(item, Picture):
                yield item
                continue
            one, owner = decoded.pop(next(places), (None, None))
            yield item.picture if one is None else self._upright(item, one, owner)

    def _upright(self, sample: Sample, stored: Any, owner: object) -> Whole | Picture:
        """DALI's picture upright; where memory does not suffice, Pillow is to judge it."""
        try:
            with self._timed("decode"):
                pixels = (self._device.upright if self._device else upright)(stored, sample.orientation)
        except (MemoryError, RuntimeError):
            return sample.picture
        size = (sample.width, sample.height)
        return Whole(sample.picture, pixels, reason=sample.note, region=sample.region, size=size, owner=owner)


def _uploaded(device: DevicePictures, whole: Whole) -> Whole:
    try:
        return device.uploaded(whole)
    except Exception as error:
        status, reason = step_fault(error, "hold")
        if status != Status.TOO_LARGE:
            raise
        return replace(whole, pixels=None, status=status, reason=reason)


def _give_back() -> None:
    """Give the memory that the C library holds free back to the system; does nothing without glibc.

    Buffers of ever other sizes in several threads leave glibc's arenas in pieces: without this a long run's memory grew
    by a quarter.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # works without the GIL
    if trim is not None:
        trim(ctypes.c_size_t(0))
