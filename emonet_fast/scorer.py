"""Joins the rooms in order and times each; the only file that knows all of them.

sources -> decoders (decode, preprocess) -> backend -> scores

Over 300 lines: a quarter of it documents the public class, and its two halves share what is open.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ._version import __version__
from .arithmetic import missing_note
from .backends.base import Backend, DeviceBackend, Outputs
from .backends.choose import open_backend, open_heads
from .backends.pixels import run_pixels
from .bars import shown
from .cache import sweep
from .checkpoint import encoder_hash, open_checkpoint
from .checkpoint.spec import Checkpoint
from .checkpoint.tensors import Progress
from .decoders import Decoder, FaceLocator, Prepared, open_decoder
from .decoders.vectors import VectorDecoder
from .errors import InputError, OptionError
from .faces import PictureFaces, prepare_faces
from .options import (
    MAX_BYTES,
    MAX_MEMORY,
    MAX_PIXELS,
    MAX_SECONDS,
    FaceOptions,
    Options,
    check_for_embeddings,
    default_cache_dir,
)
from .process import Stopwatch, available_cores
from .records import Decoded, Float32Array, Picture
from .scores import Scores, face_values
from .shared import Shared
from .sources.embeddings import EmbeddingBatch, Embeddings, batch_of
from .sources.memory import Memory
from .text import counted, shorten_middle, visible

# The default of cache_dir depends on the environment, and a user without a home has none.
_WITH_DEFAULT = tuple(one for one in fields(Options) if one.name != "cache_dir")
UNTRAINED = "untrained weights: the numbers mean nothing"


class ScalingWarning(UserWarning):
    """Scores lie far outside the trained scale."""


class NoScoresWarning(UserWarning):
    """Every picture of a call failed for the same reason, so that the fault may lie in the call."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a scorer has open."""

    checkpoint: Checkpoint
    encoder_hash: str
    backend: Backend
    decoder: Decoder
    faces: PictureFaces | None


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Some consecutive rows.

    Args:
        scores: of these rows.
        decoded: what was decoded for each row, with the picture where `keep_rgb` was set.
    """

    scores: Scores
    decoded: tuple[Decoded, ...]


def _release(opened: Opened) -> None:
    opened.backend.close()


class Scorer:
    """Scores pictures with one checkpoint on one device.

    Cheap to make and picklable: the checkpoint is read and the engine opened at the first use, or by `open()`.
    Thread-safe: threads share one engine, and `close()` waits for their calls. Every keyword but `faces` and `options`
    is a field of `Options`, which describes it.

    Args:
        checkpoint: "large" or "small" (from the hub), a packed file, or a folder in the published layout.
        faces: which faces of pictures a call and `folder` score: "none" (whole pictures), "detect" (YuNet finds them),
            "boxes:FILE", or a FaceOptions. Each face is a row with the key `<key>::box0`, `::box1`, ...
        options: all settings in one record, instead of the keywords.

    Raises:
        OptionError: at once, for a setting that cannot work, or for keywords beside `options`.
        CheckpointError, BackendError: at the first use, when weights or engine cannot be opened.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        decoder: str = "auto",
        exif: bool = True,
        revision: str | None = None,
        threads: int | None = None,
        streams: int | str = "auto",
        cache_dir: str | Path | None = None,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
        max_memory: int = MAX_MEMORY,
        max_seconds: float = MAX_SECONDS,
        backend: str = "auto",
        trust_engine: str | Path | None = None,
        recipe: str | Path | None = None,
        accept_fidelity: bool = False,
        faces: str | FaceOptions = "none",
        options: Options | None = None,
    ) -> None:
        given: dict[str, Any] = dict(locals())
        if not isinstance(checkpoint, str | os.PathLike):
            raise OptionError(
                f"checkpoint is {checkpoint!r:.200}; expected 'large', 'small', a packed file or a folder"
            )
        self.where, self.faces = checkpoint, FaceOptions.of(faces)
        keywords = {one.name: given[one.name] for one in _WITH_DEFAULT}
        if options is None:
            options = Options(**keywords, cache_dir=Path(cache_dir or default_cache_dir()))
        elif cache_dir is not None or any(keywords[one.name] != one.default for one in _WITH_DEFAULT):
            raise OptionError("options came together with keywords of its fields; expected one of both")
        self.options = options
        # Seconds by stage. "wait" is the part of "engine" in which the host has nothing to do but wait for it.
        self._timed = Stopwatch("open", "decode", "preprocess", "engine", "wait", "scores")
        # A copy in another process opens its own engine.
        self._shared: Shared[Opened] = Shared(_release)
        # What is said of the stored embeddings that this scorer is for; None where it is for pictures.
        self._stored: Mapping[str, str] | None = None
        self._of_embeddings: Scorer | None = None

    def __repr__(self) -> str:
        """One line, which opens nothing: `<Scorer large, openvino bf16, open>`."""
        opened, options = self._shared.held, self.options
        if opened is None:
            how = f"device {options.device}, precision {options.precision}, not open"
        else:
            how = f"{opened.backend.name} {opened.backend.precision}, open"
        return f"<Scorer {shorten_middle(visible(str(self.where)), 40)}, {how}>"

    def of_embeddings(self, facts: Mapping[str, str] = MappingProxyType({})) -> "Scorer":
        """A scorer of the same checkpoint and options that takes stored embeddings in place of pictures.

        It opens the heads alone: the encoder is neither read nor compiled. Its pictures have embeddings [width] float32
        as their data, as `Embeddings.pictures` gives them. Its scores are those that the pictures had, bit for bit,
        where OpenVINO computed them and the embeddings are float32.

        Args:
            facts: what its outputs say of the embeddings, as `Embeddings.facts` gives it.

        Raises:
            OptionError: when an option can have no effect on embeddings.
        """
        check_for_embeddings(self.options, self.faces)
        scorer = Scorer(self.where, options=self.options)
        scorer._stored = dict(facts)
        return scorer

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self, progress: Progress | None = None, *, pictures: int | None = 1) -> "Scorer":
        """Read the checkpoint and open the engine now; does nothing if that is done.

        Args:
            progress: called with (bytes done, bytes in all) where a checkpoint is packed for the first time.
            pictures: about how many will be scored one after the other, for streams "auto"; None is unknown, and many.

        Raises:
            CheckpointError: when the weights cannot be read.
            BackendError: when no engine can be opened.
        """
        self._shared.open(lambda: self._make(progress, pictures))
        return self

    def _open(self) -> Opened:
        return self._shared.open(self._make)

    def _make(self, progress: Progress | None = None, pictures: int | None = 1) -> Opened:
        with self._timed("open"):
            where, options = self.where, self.options
            find_faces = prepare_faces(self.faces, options, where)  # it is smaller than the weights, so it goes first
            sweep(options.cache_dir)
            checkpoint = open_checkpoint(where, options.cache_dir, revision=options.revision, progress=progress)
            encoder = encoder_hash(checkpoint)
            if self._stored is not None:
                return Opened(checkpoint, encoder, open_heads(checkpoint, options), VectorDecoder(), None)
            backend = open_backend(checkpoint, options, pictures)
            place = backend.place() if isinstance(backend, DeviceBackend) else (None, None)
            threads = options.threads or available_cores()
            try:
                decoder = open_decoder(
                    checkpoint.preprocess,
                    options,
                    self._timed,
                    threads=threads,
                    depth=backend.depth,
                    device_id=place[0],
                    stream=place[1],
                )
                faces = find_faces(None if place[0] is None else (place[0], place[1] or 0))
            except BaseException:
                backend.close()
                raise
            return Opened(checkpoint, encoder, backend, decoder, faces)

    def close(self) -> None:
        """Wait for the calls of other threads, then free the engine. The scorer opens again at the next use."""
        self._shared.close()
        if self._of_embeddings is not None:
            self._of_embeddings.close()

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage so far."""
        return self._timed.seconds

    @property
    def checkpoint(self) -> Checkpoint:
        """What is known of the weights; opens them."""
        return self._open().checkpoint

    @property
    def backend(self) -> Backend:
        """The engine; opens it."""
        return self._open().backend

    @property
    def decoder(self) -> Decoder:
        """What reads the pictures; opens it."""
        return self._open().decoder

    @property
    def place(self) -> tuple[int, int] | None:
        """The GPU's index and the engine's CUDA stream; None on the CPU. Opens the engine."""
        return self.backend.place() if isinstance(self.backend, DeviceBackend) else None

    @property
    def metadata(self) -> dict[str, str]:
        """What every output carries: checkpoint, precision and its proof, backend, versions; what the weights lack."""
        lacks = {"untrained": UNTRAINED} if self.checkpoint.untrained else {}
        missing = missing_note(self.checkpoint.names)
        if missing:
            lacks["missing_heads"] = missing[0]
        return {
            "package_version": __version__,
            "checkpoint": self.checkpoint.source,
            "checkpoint_hash": self.checkpoint.weights_hash,
            "encoder_hash": self._open().encoder_hash,
            "backend": self.backend.name,
            "precision": self.backend.precision,
            **self.backend.proof,
            "batch_size": str(self.backend.batch_size),
            "decoder": self.decoder.name,
            **lacks,
            **(self._stored or {}),
        }

    def __call__(self, images: Iterable[object], *, embeddings: bool = False, progress: bool | None = None) -> Scores:
        """Score pictures. A picture that cannot be read gets a status, a reason and NaN scores.

        Warns with ScalingWarning where scores lie outside -20..20, and with NoScoresWarning where no picture could be
        read, all for the same reason.

        Args:
            images: any iterable of paths, bytes, PIL images or [H, W, 3] uint8 RGB arrays (tensors of other libraries
                on the host too), in any mix and size. A PIL image is turned by the EXIF orientation that it carries:
                after you have turned one yourself, drop it, as ImageOps.exif_transpose does.
            embeddings: keep them too, [N, hidden] float32.
            progress: show it on standard error. None shows a bar where somebody watches, on a terminal or in a
                notebook, once a second has gone by.

        Raises:
            InputError: when `images` is one picture, a folder or a table instead of pictures.
        """
        total = len(images) if isinstance(images, Sized) else None
        return self._all(Memory(images, self.options.max_bytes), total, embeddings, progress)

    def folder(self, path: str | Path, *, embeddings: bool = False, progress: bool | None = None) -> Scores:
        """Score the pictures of a folder and of the folders in it, as a call does.

        Args:
            path: of the folder; also a glob, a tar shard, a parquet table or a picture.
            embeddings, progress: as of a call.

        Raises:
            InputError: when nothing is there.
        """
        from .sources import Inputs

        source = Inputs((os.fspath(path),), self.options)
        return self._all(source, source.total, embeddings, progress)

    def _all(self, pictures: Iterable[Picture], total: int | None, embeddings: bool, progress: bool | None) -> Scores:
        with self._shared.use(self._make) as opened:
            faces, parts = opened.faces, []
            with shown(progress, total if faces is None else None) as bar:
                for batch in self.batches(pictures, embeddings=embeddings, faces=faces):
                    parts.append(batch.scores)
                    bar.update(len(batch.scores))
            scores = Scores.concat(parts) if parts else self.empty(embeddings=embeddings, faces=faces is not None)
            if faces is not None:
                scores = replace(scores, metadata={**scores.metadata, **faces.metadata})
        for note in scores.notes:
            if "scaling fault" in note:
                warnings.warn(note, ScalingWarning, stacklevel=3)
        faults = set(zip(scores.status, scores.reason, strict=True))
        if len(faults) == 1 and not scores.ok.any():
            status, reason = faults.pop()
            warnings.warn(f"no scores of {counted(len(scores), 'picture')}: {status}, {reason}", NoScoresWarning, 3)
        return scores

    def score_pixels(
        self, pixels: Any, *, keys: Sequence[str] | None = None, embeddings: bool = False, stream: object = None
    ) -> Scores:
        """Score a batch that is the network's input already. A row with NaN or infinite pixels gets a status.

        Args:
            pixels: [n, 3, S, S] RGB planes, n free. On the host uint8, as a numpy array or anything with `__dlpack__`
                (DALI's CPU tensors). On the GPU (device "cuda") uint8, or normalised float32, float16 or bfloat16, as a
                torch tensor or anything with `__dlpack__` or `__cuda_array_interface__`; it is read where it lies.
            keys: n names of the rows; None takes "#0", "#1", ...
            embeddings: keep them too, [n, hidden] float32.
            stream: CUDA stream on which the batch becomes ready; see `CudaBackend.run_device`.

        Raises:
            InputError: when shape, dtype, place or the number of keys is another one.
            BackendError: when the engine cannot take the batch; see `CudaBackend.run_device`.
        """
        with self._shared.use(self._make) as opened:
            with self._timed("engine"):
                outputs = run_pixels(opened.backend, pixels, opened.checkpoint.vision.image_size, stream)
            n = len(outputs.raw)
            names = [f"#{i}" for i in range(n)] if keys is None else list(keys)
            if len(names) != n:
                raise InputError(f"{len(names)} keys came with {n} rows of pixels; expected one for each")
            decoded = [Decoded(name, None) for name in names]
            return self.scores_of(decoded, outputs.raw, outputs.embedding if embeddings else None)

    def score_embeddings(
        self,
        embeddings: "npt.ArrayLike | EmbeddingBatch | Embeddings",
        *,
        keys: Sequence[str] | None = None,
        keep: bool = False,
        progress: bool | None = None,
    ) -> Scores:
        """Score stored embeddings. The encoder is neither read nor compiled; see `of_embeddings`.

        A row with NaN or infinity, or of zeros only, gets a status.

        Args:
            embeddings: [n, width] numbers as the encoder gave them, or Embeddings of files, whose encoder is checked,
                or a batch of them.
            keys: n names of the rows of an array; None takes "#0", "#1", ...
            keep: scores carry the embeddings too.
            progress: as of a call.

        Raises:
            InputError: when shape, width or the number of keys is another one.
            DataError: when files are of another encoder or width; see Embeddings.check.
            BackendError: when the options ask for another device or precision.
        """
        scorer = self
        if self._stored is None:
            self._of_embeddings = scorer = self._of_embeddings or self.of_embeddings()
        if isinstance(embeddings, Embeddings):
            scorer.check_embeddings(embeddings)
            total, pictures = embeddings.rows, embeddings.pictures()
        else:
            width, batch = scorer.checkpoint.vision.hidden_size, embeddings
            if not isinstance(batch, EmbeddingBatch):
                batch = batch_of(batch, width, keys)
            total, pictures = len(batch), batch.pictures()
        return scorer._all(pictures, total, keep, progress)

    def check_embeddings(self, embeddings: Embeddings) -> None:
        """Raise DataError where the heads would be wrong for stored embeddings: by encoder, width or scaling."""
        known = self._open()
        checkpoint = known.checkpoint
        embeddings.check(known.encoder_hash, checkpoint.vision.hidden_size, l2_normalise=checkpoint.l2_normalise)

    def batches(
        self,
        pictures: Iterable[Picture],
        *,
        embeddings: bool = False,
        keep_rgb: bool = False,
        faces: FaceLocator | None = None,
    ) -> Iterator[ScoredBatch]:
        """Score an endless or long row of pictures in bounded memory, in order, a batch at a time.

        A picture with boxes gives a row for each box. Where the engine works beside the host, the next batch is
        prepared while others are under way, `Backend.depth` of them.

        Args:
            pictures: see Picture.
            embeddings: scores carry embeddings too, [n, hidden] float32.
            keep_rgb: batches carry their pictures, for thumbnails.
            faces: finds the faces of each picture, see faces.open_faces: a row for each face, whose box the scores
                carry (Scores.faces). None scores pictures as they are.
        """
        prepared = self.prepare(pictures, keep_rgb=keep_rgb, faces=faces)
        return self.score_prepared(prepared, embeddings=embeddings, faces=faces is not None)

    def prepare(
        self, pictures: Iterable[Picture], *, keep_rgb: bool = False, faces: FaceLocator | None = None
    ) -> Iterator[Prepared]:
        """The first half of `batches`: batches of the network's input. May run in a thread of its own."""
        return self.decoder.batches(pictures, self.backend.batch_size, keep_rgb=keep_rgb, faces=faces)

    def score_prepared(
        self, batches: Iterable[Prepared], *, embeddings: bool = False, faces: bool = False
    ) -> Iterator[ScoredBatch]:
        """The second half of `batches`: batches of `prepare` to scores, in order. faces: scores carry their boxes.

        Raises BackendError when the scorer is closed before the last batch is taken.
        """
        under_way: deque[Callable[[], ScoredBatch]] = deque()
        known: Opened | None = None
        for batch in batches:
            with self._shared.use(self._make, known) as known:
                under_way.append(self._submit(batch, embeddings, faces))
                done = under_way.popleft()() if len(under_way) > known.backend.depth else None
            if done is not None:
                yield done
        while under_way:
            with self._shared.use(self._make, known):
                done = under_way.popleft()()
            yield done

    def empty(self, *, embeddings: bool = False, faces: bool = False) -> Scores:
        """Scores of no rows, with the columns that this checkpoint's scores have."""
        raw = np.empty((0, len(self.checkpoint.names)), np.float32)
        vectors = np.empty((0, self.checkpoint.vision.hidden_size), np.float32)
        return self.scores_of([], raw, vectors if embeddings else None, faces)

    def _submit(self, batch: Prepared, embeddings: bool, faces: bool) -> Callable[[], ScoredBatch]:
        """Hand the batch's pixels to the engine; the result is what the returned function gives."""
        submitted: list[tuple[list[int], Callable[[], Outputs]]] = []
        with self._timed("engine"):
            for part in batch.parts:
                backend = self.backend
                if part.on_device:
                    assert isinstance(backend, DeviceBackend)  # noqa: S101 - its place() chose the decoder
                    submitted.append((list(part.places), backend.submit_device(part.pixels)))
                else:
                    submitted.append((list(part.places), backend.submit(part.pixels)))

        def result() -> ScoredBatch:
            rows = len(batch.rows)
            raw = np.full((rows, len(self.checkpoint.names)), np.nan, np.float32)
            vectors = np.full((rows, self.checkpoint.vision.hidden_size), np.nan, np.float32)
            with self._timed("engine"), self._timed("wait"):
                for places, outputs in submitted:
                    found = outputs()
                    raw[places], vectors[places] = found.raw, found.embedding
            with self._timed("scores"):
                scores = self.scores_of(batch.rows, raw, vectors if embeddings else None, faces)
            return ScoredBatch(scores, batch.rows)

        return result

    def scores_of(
        self,
        decoded: Sequence[Decoded],
        raw: Float32Array,
        embeddings: Float32Array | None,
        faces: bool = False,
    ) -> Scores:
        """Scores of what the engine gave, by the published arithmetic, whichever batches the rows were in.

        Args:
            decoded: the N rows.
            raw: [N, D] float32 of `Outputs`; NaN in rows without scores.
            embeddings: [N, hidden] float32 likewise; None where nobody asked for them.
            faces: scores carry the boxes of the rows.
        """
        names, means, proof = self.checkpoint.names, self.checkpoint.neutral_means, self.backend.proof
        return Scores.of_checked(
            raw,
            names,
            None if means is None else np.array([means[name] for name in names]),
            keys=[one.key for one in decoded],
            status=[one.status for one in decoded],
            reason=[one.reason for one in decoded],
            embeddings=embeddings,
            notes=[UNTRAINED] * self.checkpoint.untrained + [v for k, v in proof.items() if k == "accepted_fidelity"],
            metadata=self.metadata,
            faces=face_values([one.face for one in decoded]) if faces else None,
        )
