"""`published`: transformers in float32, one image at a time, the HF processor, one MLP call a head.

    python -m benchmarks.baselines.published PICTURES --checkpoint C

As the authors' own code does it. The model itself is emonet_fast/backends/reference.py: transformers' classes and plain
nn.Sequential heads, read from the published files by transformers and torch.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.baselines.alone import joined, main, rgb
from benchmarks.pictures import normalise
from emonet_fast.backends.base import Outputs
from emonet_fast.backends.reference import Reference
from emonet_fast.checkpoint import open_checkpoint, resolve_published
from emonet_fast.options import default_cache_dir


class Published:
    """See the file's head. where: a checkpoint as `--checkpoint` takes it."""

    def __init__(self, where: str, device: str = "cpu", precision: str = "fp32") -> None:
        checkpoint = open_checkpoint(where, default_cache_dir())
        files = resolve_published(where, default_cache_dir())
        self.spec = checkpoint.preprocess
        self.reference = (
            Reference.from_packed(checkpoint, precision, device)
            if files is None
            else Reference.from_published(files, checkpoint.names, checkpoint.l2_normalise, precision, device)
        )

    def scores(self, files: Sequence[bytes]) -> Outputs:
        return joined([self.reference.score([rgb(data)]) for data in files])

    def network(self, pixels: Any) -> Outputs:
        values = normalise(pixels, self.spec)
        return joined([self.reference.score_processed(values[i : i + 1]) for i in range(len(values))])


if __name__ == "__main__":
    main(Published, __doc__)
