"""What all routes share: the engines, which open while the server listens, the batcher, and one request's way."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import PurePath

from starlette.requests import ClientDisconnect

from ..baseline import Baseline
from ..checkpoint.fetch import VARIANTS
from ..errors import BackendError
from ..faces import PictureFaces, prepare_faces
from ..options import FaceOptions, Options, ServeOptions
from ..records import Decoded, Picture
from ..scorer import Scorer
from ..scores import Scores
from .answers import Wanted
from .batching import Batcher, FullError, Taken
from .limits import Access, Held, RefusedError, busy
from .metrics import Metrics

_log = logging.getLogger("emonet_fast")


class Service:
    """The state of one server.

    Args:
        checkpoint: of the scorers.
        options: of the scorers; pictures come one by one, so that Pillow decodes them.
        faces: which faces are scored where a request does not say it.
        settings: of the server.
        access: who may ask.
        baselines: by the names that requests may use.

    Attributes:
        stopping: no new work is taken.
        streams: how many are open.
        stream_threads: where their frames are worked on.
        failure: why the engines could not be opened; None where they could, or still are.
    """

    def __init__(
        self,
        checkpoint: str,
        options: Options,
        faces: FaceOptions,
        settings: ServeOptions,
        access: Access,
        baselines: Mapping[str, Baseline],
    ) -> None:
        options = replace(options, decoder="pillow")
        self.scorers = [Scorer(checkpoint, options=options) for _ in range(settings.workers_per_device)]
        self.face_options, self.settings, self.access, self.baselines = faces, settings, access, baselines
        self.metrics, self.held = Metrics(), Held(settings.max_held)
        self.batcher: Batcher | None = None
        self.faces: PictureFaces | None = None
        self.stopping = False
        self.failure: BaseException | None = None
        self.streams = 0
        self.metrics.streams.set_function(lambda: self.streams)
        self.stream_threads = ThreadPoolExecutor(max(1, settings.max_streams), "emonet-fast-stream")
        self._opening = threading.Thread(target=self._open, name="emonet-fast-open", daemon=True)

    def start(self) -> None:
        """Open the engines, in a thread."""
        self._opening.start()

    def _open(self) -> None:
        try:
            first = self.scorers[0]
            find_faces = prepare_faces(self.face_options, first.options, first.where)  # smaller than the weights
            for scorer in self.scorers:
                scorer.open(pictures=None)
            self.faces = find_faces(first.place)
            for name, baseline in self.baselines.items():
                _log.debug("baseline %s has %d rows", name, baseline.rows)
                baseline.check(first.checkpoint.names, first.metadata)
            self.batcher = Batcher(self.scorers, self.settings, self.metrics)
        except BaseException as error:  # the server ends by it, see run.py
            self.failure = error

    def close(self) -> None:
        """Finish what was taken, and free the engines."""
        self._opening.join()
        if self.batcher is not None:
            self.batcher.close()
        self.stream_threads.shutdown()
        for scorer in self.scorers:
            scorer.close()

    def working(self) -> Batcher:
        """The batcher. Raises RefusedError (503) while the engines open, and when the server stops."""
        if self.stopping:
            raise RefusedError(503, "the server is stopping", {"Retry-After": "5", "Connection": "close"})
        if self.batcher is None:
            raise busy(503, "the server is starting", 2)
        return self.batcher

    def finder(self, wanted: bool | None) -> PictureFaces | None:
        """What finds faces for a request. Raises RefusedError (422) where the server has none."""
        if wanted and self.faces is None:
            raise RefusedError(422, "faces=detect came; this server was started with --faces none")
        return None if wanted is False else self.faces

    def metadata(self, scores: Scores, faces: PictureFaces | None) -> dict[str, str]:
        """What an answer says of the run; of a checkpoint on this machine the name alone."""
        where = self.scorers[0].where
        name = {} if where in VARIANTS else {"checkpoint": PurePath(where).name}
        return {**scores.metadata, **name, **(faces.metadata if faces is not None else {})}

    async def scored(self, pictures: Sequence[Picture], wanted: Wanted, gone: "asyncio.Task[None]") -> Scores:
        """The scores of a request's pictures.

        Raises RefusedError: 429 where the queue is full, 504 at the deadline; ClientDisconnect where `gone` ends first.
        """
        batcher = self.working()
        if len(pictures) > self.settings.max_queue:
            raise RefusedError(413, f"{len(pictures)} pictures came at once; {self.settings.max_queue} may wait")
        faces = self.finder(wanted.faces)
        there = asyncio.Event()
        taken = Taken(pictures, faces, partial(asyncio.get_running_loop().call_soon_threadsafe, there.set))
        try:
            batcher.take(taken)
        except FullError as full:
            raise busy(429, str(full), full.seconds) from None
        except BackendError as error:
            raise busy(503, str(error), 5) from None
        waiting: asyncio.Task[bool] = asyncio.ensure_future(there.wait())
        deadline = min(wanted.deadline or self.settings.deadline, self.settings.deadline)
        try:
            await asyncio.wait((waiting, gone), timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if not there.is_set():
                if gone.done():
                    raise ClientDisconnect
                raise busy(504, f"the rows were not there within {deadline:g} s")
        finally:
            waiting.cancel()
            batcher.cancel(taken)
        scores = self._scores(taken, wanted.embeddings)[1]
        for status in scores.status:
            self.metrics.rows.labels(status).inc()
        return wanted.applied(scores)

    def score_now(self, pictures: Sequence[Picture], embeddings: bool) -> tuple[list[Decoded], Scores]:
        """The rows and scores of pictures that carry their boxes; waits for them, so not on the event loop.

        Raises FullError where they do not fit into the queue.
        """
        batcher, there = self.working(), threading.Event()
        taken = Taken(pictures, None, there.set)
        batcher.take(taken)
        there.wait()
        return self._scores(taken, embeddings)

    def _scores(self, taken: Taken, embeddings: bool) -> tuple[list[Decoded], Scores]:
        scorer = self.scorers[0]
        checkpoint = scorer.checkpoint
        rows, raw, vectors = taken.result(len(checkpoint.names), checkpoint.vision.hidden_size)
        scores = scorer.scores_of(rows, raw, vectors if embeddings else None, taken.faces is not None)
        return rows, replace(scores, metadata=self.metadata(scores, taken.faces))
