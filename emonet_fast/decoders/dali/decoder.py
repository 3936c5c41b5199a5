"""The DALI decoder: pictures in, batches of the network's input out, some runs ahead of the caller.

It decodes and crops. What comes then is equal to Pillow bit for bit, which DALI's own resize is not: on the CPU Pillow
resizes on threads of ours, on a GPU our Triton kernel (exact.py); DALI's resize serves GPUs without PyTorch and Triton.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeAlias

import numpy as np

from ...checkpoint.spec import Preprocess
from ...errors import BackendError
from ...options import Options
from ...preprocess import resize
from ...records import Decoded, Picture, UInt8Array
from ..base import MAX_ROWS, Part, Prepared, Row, Timed, grouped, in_proportion
from ..pillow import prepare
from .definition import REGIONS, WHOLE, Definition
from .exact import ExactResize, exact_possible, gpu_resamples
from .feeding import rows_of
from .heap import give_back
from .outputs import Result
from .regions import cut_out
from .runner import Runner
from .triage import Sample, triage

# Runs that work while one is waited for: the decode of the next overlaps with the engine's work on this.
AHEAD = 2
# Pixels of a run together, which bounds the decode buffers: 3 bytes a pixel, AHEAD + 1 times.
_RUN_PIXELS = 64_000_000
# Rows of a run on the CPU: the engine's batch within these, so that a few pictures are not read ahead in vain.
_CPU_RUN_LEAST, _CPU_RUN = 4, 16
# Runs on the CPU after which free memory is given back, so that it stays flat; it takes about 20 ms.
_GIVE_BACK = 8
_MAX_THREADS = 16
# Pictures that Pillow decodes beside DALI: as many at once, each of up to max_pixels.
_PILLOW_THREADS = 2


@dataclass(slots=True)
class _Run:
    """Rows in order: DALI's samples, and pictures that Pillow has under way."""

    rows: "list[Sample | Future[list[Row]]]" = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pixels: int = 0

    @property
    def boxes(self) -> bool:
        return bool(self.samples) and self.samples[0].box is not None


# A run's rows in order: DALI's with their place in the run's result, Pillow's with their pixels.
_Placed: TypeAlias = tuple[Decoded, int | UInt8Array | None]


class DaliDecoder:
    """See Decoder. Decodes on the GPU device_id, or on the CPU where that is None.

    threads: CPU threads of DALI. stream: handle of the CUDA stream that the engine works on; batches are ordered on it.

    Raises:
        BackendError: on a GPU, a filter that neither resize has; or, when pictures come, DALI does not work.
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
        exact = device_id is not None and exact_possible(device_id)
        if device_id is not None and spec.resample not in gpu_resamples(exact):
            raise BackendError(
                f"the checkpoint's filter is {spec.resample!r}; on this GPU the decoder 'dali' equals Pillow for "
                f"{', '.join(gpu_resamples(exact))} only: use decoder 'pillow'"
            )
        self._spec, self._options, self._timed = spec, options, timed
        self._device_id, self._stream = device_id, stream
        self._exact = ExactResize(spec, device_id, stream) if exact else None
        self._threads = min(threads, _MAX_THREADS)
        self._counts = {"dali": 0, "pillow": 0}

    def batches(self, pictures: Iterable[Picture], batch_size: int, *, keep_rgb: bool) -> Iterator[Prepared]:
        """See Decoder.batches. On the GPU a batch is what DALI gave: bad pictures leave it shorter.

        A source whose first picture is not encoded (frames, arrays) has nothing for DALI: Pillow's way, which never
        reads ahead, serves all of it.
        """
        first, pictures = _peeked(pictures)
        if first is not None and not isinstance(first.data, bytes | None):
            return grouped(self._prepared(pictures, keep_rgb), batch_size)
        if self._device_id is None:
            run = max(_CPU_RUN_LEAST, min(_CPU_RUN, batch_size))
            return grouped(self._rows(pictures, run, keep_rgb), batch_size)
        return self._device_batches(pictures, batch_size, keep_rgb)

    def note(self) -> str:
        """See Decoder.note."""
        return f"{self._counts['pillow']} by Pillow" if self._counts["pillow"] else ""

    def close(self) -> None:
        """See Decoder.close: pipelines and threads live as long as a call of `batches`."""

    def _prepared(self, pictures: Iterable[Picture], keep_rgb: bool) -> Iterator[Row]:
        for picture in pictures:
            self._counts["pillow"] += 1
            yield from prepare(picture, self._spec, self._options, keep_rgb, self._timed)

    def _rows(self, pictures: Iterable[Picture], run_size: int, keep_rgb: bool) -> Iterator[Row]:
        """Resizes one run while the next is waited for."""
        with ThreadPoolExecutor(self._threads) as pool:
            before: list[tuple[Decoded, Future[UInt8Array] | UInt8Array | None]] = []
            for i, (rows, result, samples) in enumerate(self._results(pictures, run_size, keep_rgb), 1):
                if i % _GIVE_BACK == 0:
                    pool.submit(give_back)
                decoded = _by_place(result, samples)
                under_way = {place: pool.submit(resize, rgb, self._spec) for place, rgb in decoded.items()}
                yield from self._resized(before)
                before = [
                    (replace(row, rgb=decoded[at].copy() if keep_rgb else None), under_way[at])
                    if isinstance(at, int)
                    else (row, at)
                    for row, at in rows
                ]
            yield from self._resized(before)

    def _resized(self, rows: list[tuple[Decoded, Future[UInt8Array] | UInt8Array | None]]) -> Iterator[Row]:
        for row, pixels in rows:
            with self._timed("preprocess"):
                found = pixels.result() if isinstance(pixels, Future) else pixels
            yield row, found

    def _device_batches(self, pictures: Iterable[Picture], batch_size: int, keep_rgb: bool) -> Iterator[Prepared]:
        for rows, result, _ in self._results(pictures, batch_size, keep_rgb):
            place = {at: i for i, (_, at) in enumerate(rows) if isinstance(at, int)}
            parts = [
                Part(tuple(place[i] for i in output.places), output.batch(), on_device=True)
                for output in (result.outputs if result else ())
            ]
            host = [(i, at) for i, (_, at) in enumerate(rows) if isinstance(at, np.ndarray)]
            for start in range(0, len(host), batch_size):
                some = host[start : start + batch_size]
                parts.append(Part(tuple(i for i, _ in some), np.stack([pixels for _, pixels in some])))
            yield Prepared(tuple(decoded for decoded, _ in rows), tuple(parts))

    def _results(
        self, pictures: Iterable[Picture], run_size: int, keep_rgb: bool
    ) -> Iterator[tuple[list[_Placed], Result | None, list[Sample]]]:
        """Runs in order, each started AHEAD runs before it is waited for."""
        runners: dict[str, Runner] = {}
        started: deque[_Run] = deque()
        with ThreadPoolExecutor(_PILLOW_THREADS) as pool:
            try:
                for run in self._runs(pictures, run_size, keep_rgb, pool):
                    if run.samples:
                        with self._timed("decode"):
                            self._runner(runners, self._rows_of(run), run_size).start(run.samples)
                    started.append(run)
                    if len(started) > AHEAD:
                        done = started.popleft()
                        yield *self._finish(done, runners, keep_rgb), done.samples
                while started:
                    done = started.popleft()
                    yield *self._finish(done, runners, keep_rgb), done.samples
            finally:
                for runner in runners.values():
                    runner.close()
                pool.shutdown(wait=True, cancel_futures=True)

    def _rows_of(self, run: _Run) -> str:
        """What DALI is asked for; on the CPU boxes are cut out here, where that is a view."""
        rows = rows_of(run.samples)
        return REGIONS if self._device_id is None and rows != WHOLE else rows

    def _runner(self, runners: dict[str, Runner], rows: str, run_size: int) -> Runner:
        if rows not in runners:
            definition = Definition(
                self._spec,
                self._device_id,
                run_size,
                self._threads,
                exif=self._options.exif,
                rows=rows,
                output="pictures" if self._device_id is None or self._exact else "uint8",
            )
            runners[rows] = Runner(definition, self._stream)
        return runners[rows]

    def _runs(
        self, pictures: Iterable[Picture], run_size: int, keep_rgb: bool, pool: ThreadPoolExecutor
    ) -> Iterator[_Run]:
        """Pictures to runs: at most run_size samples and _RUN_PIXELS pixels, with boxes or without."""
        run = _Run()
        for picture in pictures:
            with self._timed("decode"):
                samples = triage(picture, self._options)
            if samples is None:
                self._counts["pillow"] += 1
                run.rows.append(pool.submit(prepare, picture, self._spec, self._options, keep_rgb))
            for sample in samples or ():
                pixels = sample.width * sample.height
                full = len(run.samples) == run_size or run.pixels + pixels > _RUN_PIXELS
                if run.samples and (full or run.boxes != (sample.box is not None)):
                    yield run
                    run = _Run()
                run.rows.append(sample)
                run.samples.append(sample)
                run.pixels += pixels
            if len(run.rows) >= MAX_ROWS:
                yield run
                run = _Run()
        if run.rows:
            yield run

    def _finish(self, run: _Run, runners: dict[str, Runner], keep_rgb: bool) -> tuple[list[_Placed], Result | None]:
        """A run's rows. What DALI could not decode, Pillow judges."""
        with self._timed("decode"):
            result = runners[self._rows_of(run)].finish() if run.samples else None
            if result and self._exact:
                result = replace(result, outputs=tuple(map(self._exact, result.outputs)))
            failed = set(result.failed) if result else set()
            on_gpu = self._device_id is not None
            shown = _by_place(result) if keep_rgb and on_gpu else {}
            rows: list[_Placed] = []
            place = 0
            for row in run.rows:
                if isinstance(row, Future):
                    rows += row.result()
                    continue
                if place in failed:
                    self._counts["pillow"] += 1
                    rows += self._judge(row, keep_rgb)
                else:
                    self._counts["dali"] += 1
                    rgb = _picture(row, shown[place]) if shown else None
                    rows.append((Decoded(row.key, rgb), place))
                place += 1
        return rows, result

    def _judge(self, sample: Sample, keep_rgb: bool) -> list[Row]:
        boxes = () if sample.box is None else (sample.box,)
        rows = prepare(replace(sample.picture, boxes=boxes), self._spec, self._options, keep_rgb)
        return [(replace(decoded, key=sample.key), pixels) for decoded, pixels in rows]


def _peeked(pictures: Iterable[Picture]) -> tuple[Picture | None, Iterable[Picture]]:
    """The first picture, None where there is none, and all of them."""
    rest = iter(pictures)
    first = next(rest, None)
    return first, () if first is None else chain((first,), rest)


def _by_place(result: Result | None, samples: Sequence[Sample] = ()) -> dict[int, UInt8Array]:
    """What DALI gave, on the host, by the sample's place in its run. samples: the run's, to cut boxes."""
    found: dict[int, UInt8Array] = {}
    for output in result.outputs if result else ():
        pixels = output.on_host()
        if samples and samples[0].box:
            pixels = cut_out([samples[i] for i in output.places], pixels)
        found |= dict(zip(output.places, pixels, strict=True))
    return found


def _picture(sample: Sample, pixels: UInt8Array) -> UInt8Array:
    width, height = (sample.box.width, sample.box.height) if sample.box else (sample.width, sample.height)
    return in_proportion(pixels, width, height)
