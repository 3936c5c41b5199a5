"""Shards scored by one device: four stages that work side by side, each in a thread of its own.

    reader -> pictures -> preparer -> batches -> engine -> results -> writer
    files      bounded     faces,      bounded   calling    bounded   parquet, rename, marker
               by bytes    decoding              thread

The reader goes on to the next shard while the engine still scores the last one. A batch never holds rows of two shards,
so a shard's file does not depend on the shards before it.
"""

import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backends.base import DeviceBackend
from ..baseline import Baseline
from ..decoders import FaceLocator, Prepared
from ..errors import EmonetError
from ..faces import FaceSample, Looked, open_faces
from ..records import Picture, Status
from ..reports.collect import InputCount
from ..scorer import ScoredBatch, Scorer
from ..scores import Scores, distinct_notes
from .channel import Channel, ClosedError
from .folder import Folder
from .plan import Plan
from .rows import Origin, read_spans
from .settings import Settings
from .shard_file import ShardFile

# How many wait at most: shards, encoded pictures (and their bytes), batches for the engine, results to be written.
_SHARDS, _PICTURES, _PICTURE_BYTES, _BATCHES, _RESULTS = 4, 256, 128 << 20, 2, 64
# Follows the last item of a shard.
_END = object()


class ShardError(Exception):
    """A shard cannot be scored; the exception's cause says why."""

    def __init__(self, shard: int, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.shard = shard


def no_space(folder: Path, error: BaseException) -> EmonetError | None:
    """The error of a full disk or a spent quota, with what to do; None where `error` has another cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return EmonetError(
                f"no space is left for {folder} ({error.__cause__ or error}). Every shard that has its marker is "
                "whole; free some space and run the same command again: only what is missing is scored"
            )
        cause = cause.__cause__ or cause.__context__
    return None


@dataclass(slots=True)
class Job:
    """A shard under way.

    Args:
        shard: its number.
        read: how many of its pictures the decoder has taken so far.
        skipped: members of its tar that are no rows, by kind, as they are passed over.
        looked: what was seen in some of its pictures, where whole ones are scored.
    """

    shard: int
    read: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    looked: Looked = field(default_factory=Looked)


@dataclass(frozen=True, slots=True)
class ShardEngine:
    """An open scorer, and what a run needs beside it.

    Args:
        scorer: open.
        faces: finds each picture's faces; None scores pictures as they are.
        sample: looks at some of these.
        baseline: what the rows are ranked against; None ranks them by themselves.
    """

    scorer: Scorer
    faces: FaceLocator | None
    sample: FaceSample | None
    baseline: Baseline | None

    @classmethod
    def open(cls, settings: Settings, scorer: Scorer) -> "ShardEngine":
        """Open the scorer and what the settings ask for beside it."""
        scorer.open(pictures=None)
        faces = open_faces(settings.faces, scorer.options, scorer.place, scorer.where)
        sampled = faces is None and settings.stored is None
        sample = FaceSample.where_known(scorer.where, scorer.options) if sampled else None
        return cls(scorer, faces, sample, settings.population())


class ShardPipeline:
    """Scores shards of one plan with one engine.

    Args:
        engine: open.
        plan: of the output folder.
        folder: the output folder.
        place: the device's name, for markers.
        done: the writer's thread calls it with the marker of each finished shard, in order.
        advance: the engine's thread calls it with the shard, the rows scored, and those of them without scores.

    Attributes:
        shards: the shards to score. The reader takes some in advance; closing the channel ends `run`.
    """

    def __init__(
        self,
        engine: ShardEngine,
        plan: Plan,
        folder: Folder,
        place: str,
        done: Callable[[dict[str, Any]], None],
        advance: Callable[[int, int, int], None] = lambda shard, rows, bad: None,
    ) -> None:
        self._engine, self._plan, self._folder, self._place = engine, plan, folder, place
        self._scorer = scorer = engine.scorer
        self._done, self._advance = done, advance
        self.shards: Channel[int] = Channel(_SHARDS)
        self._pictures: Channel[Any] = Channel(_PICTURES, _PICTURE_BYTES)
        self._batches: Channel[Any] = Channel(_BATCHES)
        self._results: Channel[Any] = Channel(_RESULTS)
        self._errors: list[BaseException] = []
        # DALI on a GPU works beside the host by itself and reuses its buffers, so the engine's thread calls it.
        self._threaded = not (isinstance(scorer.backend, DeviceBackend) and scorer.decoder.reads_ahead)
        self._waited = self._waits()
        self._last_done = time.perf_counter()
        self._keep = plan.keep_schema()
        self._embeddings = plan.fingerprint["embeddings"]

    def run(self) -> None:
        """Score the shards that come until the channel `shards` is closed.

        Raises ShardError when a shard cannot be scored. Shards under way are given up then; finished ones stay.
        """
        stages = [self._read, self._prepare, self._write] if self._threaded else [self._read, self._write]
        threads = [threading.Thread(target=self._guarded, args=(stage,), daemon=True) for stage in stages]
        for thread in threads:
            thread.start()
        try:
            self._guarded(self._score)
        except BaseException:  # KeyboardInterrupt
            self.abort()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def abort(self) -> None:
        """Stop soon. Any thread may call it. Shards under way leave nothing behind."""
        for channel in (self.shards, self._pictures, self._batches, self._results):
            channel.abort()

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except ClosedError:
            pass
        except Exception as error:
            self._errors.append(error)
            self.abort()

    def _read(self) -> None:
        limit, files = self._scorer.options.max_bytes, self._folder.files(self._plan)
        for shard in _until_closed(self.shards):
            job = Job(shard)
            self._pictures.put(job)
            with _at(shard):
                for picture in read_spans(self._plan, files, shard, limit, job.skipped):
                    data = picture.data
                    self._pictures.put(picture, len(data) if isinstance(data, bytes) else 0)
            self._pictures.put(_END)
        self._pictures.close()

    def _prepare(self) -> None:
        for job, pictures in _segments(self._pictures):
            self._batches.put(job)
            with _at(job.shard):
                for prepared in self._prepared(job, pictures):
                    self._batches.put(prepared)
            self._batches.put(_END)
        self._batches.close()

    def _prepared(self, job: Job, pictures: Iterable[Picture]) -> Iterator[Prepared]:
        if self._engine.sample is not None:
            pictures = self._engine.sample.of(pictures, job.looked)
        return self._scorer.prepare(_counted(job, pictures), faces=self._engine.faces)

    def _score(self) -> None:
        embeddings = self._embeddings != "none"
        for job, items in _segments(self._batches if self._threaded else self._pictures):
            self._results.put(job)
            with _at(job.shard):
                batches = items if self._threaded else self._prepared(job, items)
                faces = self._engine.faces is not None
                for scored in self._scorer.score_prepared(batches, embeddings=embeddings, faces=faces):
                    self._results.put(scored)
                    bad = sum(s != Status.OK for s in scored.scores.status)
                    self._advance(job.shard, len(scored.scores), bad)
            self._results.put(_END)
        self._results.close()

    def _write(self) -> None:
        for job, results in _segments(self._results):
            with _at(job.shard):
                self._write_shard(job, results)

    def _write_shard(self, job: Job, results: Iterable[ScoredBatch]) -> None:
        path = self._folder.stem(self._plan, job.shard).with_suffix(".parquet")
        file = ShardFile(path, self._keep, self._embeddings, dict(self._plan.fingerprint) | {"plan": self._plan.id})
        notes: tuple[str, ...] = ()
        inputs = rows = 0
        seen = InputCount()
        last: object = None
        try:
            for scored in results:
                origins = [one.origin for one in scored.decoded if isinstance(one.origin, Origin)]
                # The rows of a picture follow one another and share its origin, perhaps in several batches.
                for origin in origins:
                    inputs += origin is not last
                    last = origin
                file.write(self._ranked(scored.scores), origins)
                rows += len(origins)
                seen.add(scored.scores)
                notes = distinct_notes((*notes, *scored.scores.notes))
            empty = self._scorer.empty(embeddings=self._embeddings != "none", faces=self._engine.faces is not None)
            file.finish(self._ranked(empty))
            planned = self._plan.rows([job.shard])
            if inputs != job.read or (planned is not None and inputs != planned):
                raise RuntimeError(f"{inputs} rows of input were written; {job.read} were read, {planned} were planned")
            counts, skipped = (dict(sorted(counted.items())) for counted in (file.counts, job.skipped))
            facts = {"rows": rows, "inputs": inputs, "counts": counts, "skipped": skipped, "notes": list(notes)}
            # Keys that markers of older runs lack.
            facts |= {"faces": seen.faces or 0, "looked": [job.looked.pictures, job.looked.unfit]}
            marker = self._folder.publish(self._plan, job.shard, file.pending, facts | self._rates(rows))
        finally:
            file.discard()
        self._done(marker)

    def _ranked(self, scores: Scores) -> Scores:
        return scores if self._engine.baseline is None else scores.against(self._engine.baseline)

    def _rates(self, rows: int) -> dict[str, Any]:
        """Seconds since the last shard was done, rows a second, and how long each stage has waited since."""
        now, waits = time.perf_counter(), self._waits()
        seconds = now - self._last_done
        waited = {name: round(waits[name] - self._waited[name], 3) for name in waits}
        self._last_done, self._waited = now, waits
        return {
            "seconds": round(seconds, 3),
            "rows_per_second": round(rows / seconds, 3) if seconds else 0.0,
            "waited": waited,
            "device": self._place,
            "host": socket.gethostname(),
        }

    def _waits(self) -> dict[str, float]:
        """Seconds that each stage has waited for another so far."""
        pictures, batches, results = (c.waited.seconds for c in (self._pictures, self._batches, self._results))
        waits = {"reader_for_room": pictures["put"]}
        waits["preparer_for_pictures" if self._threaded else "engine_for_pictures"] = pictures["get"]
        if self._threaded:
            waits |= {"preparer_for_room": batches["put"], "engine_for_batches": batches["get"]}
        return waits | {"engine_for_writer": results["put"], "writer_for_results": results["get"]}


@contextmanager
def _at(shard: int) -> Iterator[None]:
    """Turns an error inside into a ShardError of that shard; ClosedError and interrupts pass."""
    try:
        yield
    except ClosedError:
        raise
    except Exception as error:
        raise ShardError(shard, error) from error


def _counted(job: Job, pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures, counted in `job` as they are taken."""
    for picture in pictures:
        job.read += 1
        yield picture


def _until_closed(channel: Channel[Any]) -> Iterator[Any]:
    """Everything that comes. Raises ClosedError if the channel is aborted."""
    try:
        while True:
            yield channel.get()
    except ClosedError:
        if channel.aborted:
            raise


def _segments(channel: Channel[Any]) -> Iterator[tuple[Job, Iterator[Any]]]:
    """Each shard's job and its items, which must be used up before the next shard is asked for."""
    for job in _until_closed(channel):
        yield job, iter(channel.get, _END)
