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
from .sources.embeddings import batch_of_cells

Columns = dict[str, npt.NDArray[Any]]
_OURS = ("status", "reason", "embedding")
_PREFIXES = ("raw_", "score_", "softmax_")


class EmoNetScorer:
    """Scores the column `image` of batches, and passes every other column through.

    Cheap to make and to pickle: the checkpoint is read and the engine opened at the first call, so on the worker.

        ds.map_batches(EmoNetScorer, fn_constructor_args=["large"], num_gpus=1, batch_size=256, concurrency=4)

    Args:
        checkpoint: "large" or "small" (from the hub), a packed file, or a folder in the published layout.
        image_column: name of the column of images, which does not come back. It holds one a row: encoded bytes,
            structs with `bytes` (Hugging Face's image feature) or [H, W, 3] uint8 RGB arrays; or one array
            [N, H, W, 3] for all rows.
        embedding_column: name of a column of stored embeddings, which are scored in place of images, by the heads
            alone; it does not come back. It holds an array or list of numbers a row, or None; or one array [N, hidden].
        embeddings: whether the column `embedding` is made too, [N, hidden] float32.
        options: of the Scorer; None for the defaults. Ray shows a worker only its own GPU.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        image_column: str = "image",
        embedding_column: str | None = None,
        embeddings: bool = False,
        options: Options | None = None,
    ) -> None:
        scorer = Scorer(checkpoint, options=options or Options())
        self._column, self._embeddings = embedding_column or image_column, embeddings
        self._stored = embedding_column is not None
        self._scorer = scorer.of_embeddings() if self._stored else scorer

    def __call__(self, batch: Mapping[str, Sequence[Any] | npt.NDArray[Any]]) -> Columns:
        """Score a batch. A bad image never raises an error.

        Args:
            batch: N rows as columns.

        Returns:
            The other columns and, for each row in order, `status`, `reason`, `raw_*` (float32), `score_*` and
            `softmax_*` (float64), NaN where a row has no scores.

        Raises:
            InputError: when there is no image column, or a column would be overwritten.
            CheckpointError, BackendError: at the first call, when weights or engine cannot be opened.
        """
        if self._column not in batch:
            raise InputError(f"the batch has no column {self._column!r}; its columns are: {', '.join(batch)}")
        taken = [n for n in batch if n != self._column and (n in _OURS or n.startswith(_PREFIXES))]
        if taken:
            raise InputError(f"the batch has a column {taken[0]!r} already, which scoring would overwrite; rename it")
        if self._stored:
            cells = batch_of_cells(batch[self._column], self._scorer.checkpoint.vision.hidden_size)
            scores = self._scorer.score_embeddings(cells, keep=self._embeddings)
        else:
            self._scorer.open(pictures=None)
            images = [_image(cell) for cell in batch[self._column]]
            scores = self._scorer(images, embeddings=self._embeddings)
        out: Columns = {n: np.asarray(v) for n, v in batch.items() if n != self._column}
        for name, values in scores.columns().items():
            if name != "key":  # texts are objects, which every library takes
                out[name] = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
        if scores.embeddings is not None:
            out["embedding"] = scores.embeddings
        return out


def _image(cell: Any) -> Any:
    """What Scorer takes of a cell: a struct's bytes, and b"" for null, which becomes a status."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return b"" if cell is None else cell
