"""Scores for the sinks to write: made-up numbers, real file-name trouble."""

import numpy as np

from emonet_fast import taxonomy
from emonet_fast.records import Status
from emonet_fast.scores import Scores

NAMES = [d.name for d in taxonomy.DIMENSIONS]
METADATA = {"checkpoint": "sha256:0123", "precision": "fp32", "backend": "openvino", "emonet_fast": "0.1.0"}

HOSTILE = (
    "=HYPERLINK(1).jpg",
    "+1.jpg",
    "-1.jpg",
    "@sum.jpg",
    'say "hi", twice.jpg',
    "two\nlines.jpg",
    "carriage\rreturn.jpg",
    "tab\tand\x00nul.jpg",
    "<script>alert(1)</script>.jpg",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "\x1b[31mred\x07.jpg",
    "\u202egpj.exe",
    "日本語/写真.jpg",
    "😀 é.jpg",
    "line\u2028separator.jpg",
    " leading and trailing ",
    "",
    "shard-0001.tar::a/b.jpg",
)


def made(keys, *, means=True, names=NAMES, width=6, seed=0, bad=()):
    """Scores of `keys`; the rows whose index is in `bad` have no scores."""
    rng = np.random.default_rng(seed)
    n = len(keys)
    return Scores.from_raw(
        rng.gamma(0.5, 1.5, size=(n, len(names))),
        names,
        {m: 0.01 * i for i, m in enumerate(names)} if means else None,
        keys=list(keys),
        status=[Status.TRUNCATED if i in bad else Status.OK for i in range(n)],
        reason=["ends after 12 bytes" if i in bad else "" for i in range(n)],
        embeddings=rng.normal(size=(n, width)).astype(np.float32),
        metadata=METADATA,
    )
