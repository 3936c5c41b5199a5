"""`EmoNetScorer`: a callable class for Ray Data's `map_batches`, and for anything else that maps batches of columns.

It knows nothing of Ray: numpy arrays in, numpy arrays out, the engine opened at the first batch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .options import Options
from .scorer import Scorer
from .scores import Scores

Columns = dict[str, npt.NDArray[Any]]
_OURS = ("status", "reason", "embedding")
_PREFIXES = ("raw_", "score_", "prob_")


class EmoNetScorer:
    """Scores the column `image` of batches, and passes every other column through.

    Cheap to make and to pickle: the checkpoint is read and the engine opened at the first call, so on the worker.

        ds.map_batches(EmoNetScorer, fn_constructor_args=["large"], num_gpus=1, batch_size=256, concurrency=4)

    Args:
        checkpoint: "large" or "small" (hub), a packed file, or a folder in the published layout.
        image_column: holds encoded bytes, structs with `bytes` (Hugging Face's image feature) or [H, W, 3] uint8 RGB
            arrays, one a row; or all rows' images as one array [N, H, W, 3]. It is not in what comes back.
        device: "auto", "cpu", "cuda" or "cuda:N"; Ray shows a worker only its own GPU.
        precision, batch_size, decoder, exif, revision, threads, cache_dir, backend: as of `Scorer`.
        options: all settings of the scorer in one record, instead of these keywords.
        embeddings: also give the column `embedding`, [N, hidden] float32.

    Raises:
        OptionError: at once, for a setting that cannot work.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        image_column: str = "image",
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        decoder: str = "auto",
        exif: bool = True,
        revision: str | None = None,
        threads: int | None = None,
        cache_dir: str | Path | None = None,
        backend: str = "auto",
        options: Options | None = None,
        embeddings: bool = False,
    ) -> None:
        self._scorer = Scorer(
            checkpoint,
            device=device,
            precision=precision,
            batch_size=batch_size,
            decoder=decoder,
            exif=exif,
            revision=revision,
            threads=threads,
            cache_dir=cache_dir,
            backend=backend,
            options=options,
        )
        self._column, self._embeddings = image_column, embeddings

    def __call__(self, batch: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> Columns:
        """batch: N rows as columns. Gives the other columns and, for each row in order, `status`, `reason`,
        `raw_*` (float32), `score_*` and `prob_*` (float64), NaN where a row has no scores. A bad image never raises.

        Raises:
            InputError: there is no image column, or a column would be overwritten.
            CheckpointError, BackendError: at the first call.
        """
        if self._column not in batch:
            raise InputError(f"the batch has no column {self._column!r}; its columns are: {', '.join(batch)}")
        taken = [n for n in batch if n in _OURS or n.startswith(_PREFIXES)]
        if taken:
            raise InputError(f"the batch has a column {taken[0]!r} already, which scoring would overwrite; rename it")
        images = [_image(cell) for cell in batch[self._column]]
        scores = self._scorer(images, embeddings=self._embeddings)
        out: Columns = {n: np.asarray(v) for n, v in batch.items() if n != self._column}
        return out | columns(scores)


def columns(scores: Scores) -> Columns:
    """The columns of scores as arrays, without `key`; texts as objects, which every library takes."""
    out: Columns = {}
    for name, values in scores.columns().items():
        if name != "key":
            out[name] = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    if scores.embeddings is not None:
        out["embedding"] = scores.embeddings
    return out


def _image(cell: Any) -> Any:
    """What Scorer takes, out of a cell: a struct's bytes; b"" for none, which becomes a status."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return b"" if cell is None else cell
