"""From stored embeddings and labels to probes with their figures: what the command calls, and what users call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checkpoint.heads import Switches
from ..checkpoint.heads_writer import write_heads
from ..checkpoint.pack import pack_heads
from ..checkpoint.spec import Checkpoint
from ..errors import OptionError
from ..evaluate.metrics import BOOTSTRAPS
from ..evaluate.report import write_json
from ..evaluate.result import Result
from ..files import new_folder
from ..records import Float32Array
from ..sources.embeddings import Embeddings
from ..splits import DUPLICATE, split_rows
from ..targets import Targets, labelled
from ..targets.summary import labels_table
from .cross import STRENGTHS, Probe, cross_validate
from .result import probe_result

# Called with (what is done, so much of it, of all).
Step = Callable[[str, int, int], None]
HEADS, FIGURES, PACKED = "heads", "evaluation.json", "packed.safetensors"
KINDS = {"ridge": STRENGTHS, "linear": (0.0,)}
LIMITS = (
    "a probe says what people saw in faces like these, not what anybody feels; the limits of use of EmoNet-Face hold "
    "for it too: not at work, in education, surveillance, policing, credit or hiring"
)


@dataclass(frozen=True, slots=True)
class Probed:
    """Probes and what they are worth.

    Args:
        probe: the heads and their predictions of rows that they did not see.
        keys: M rows with labels.
        values: [M, width] embeddings that were learnt from, of norm 1.
        result: figures, tables and charts.
        encoder: hash of what made the embeddings; None where they do not say.
    """

    probe: Probe
    keys: tuple[str, ...]
    values: Float32Array
    result: Result
    encoder: str | None


def run_probe(
    embeddings: Embeddings,
    targets: Targets,
    *,
    kind: str = "ridge",
    folds: int = 5,
    seed: int = 0,
    duplicate: float = DUPLICATE,
    bootstraps: int = BOOTSTRAPS,
    step: Step = lambda what, done, total: None,
) -> Probed:
    """Fit a linear probe of each name on embeddings, and say what it is worth by cross-validation.

    Near-duplicates among the embeddings, and rows of one person or source, are in one fold.

    Args:
        embeddings: stored ones.
        targets: labels.
        kind: of KINDS: "ridge", whose strength is chosen by inner folds, or "linear", least squares.
        folds: from 2 to 20.
        seed: of the folds.
        duplicate: the cosine from which two rows are one picture.
        bootstraps: resamples of each interval.
        step: called with what is done.

    Raises:
        DataError: when nothing joins, a name cannot be learnt, or there are fewer groups than folds.
        OptionError: for another kind, or number of folds.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if not 2 <= folds <= 20:
        raise OptionError(f"folds is {folds!r}; expected 2 to 20")
    rows = labelled(embeddings, targets)

    def of(what: str) -> Callable[[int, int], None]:
        return lambda done, total: step(what, done, total)

    split = split_rows(
        rows.values, rows.groups, folds=folds, seed=seed, threshold=duplicate, step=of("near-duplicates")
    )
    probe = cross_validate(
        rows.values, rows.targets, rows.weights, targets.names, split.part, KINDS[kind],
        of("probes"),
    )  # fmt: skip
    labels = rows.targets.astype(np.float64)
    scales = [targets.scales[name] for name in targets.names]
    told = targets.annotators
    facts = {
        "embeddings": _named([str(file.path) for file in embeddings.files]),
        "encoder": embeddings.encoder or "unknown",
        "labels": targets.source,
        "annotators": "one, or not named: no figure can say how far people agree" if told is None else str(told.number),
        "joined": rows.joined,
        "kind": kind,
        "folds": f"{folds} of {split.facts['clusters']:,} groups, seed {seed}",
        **{key: f"{value:,}" for key, value in split.facts.items() if key.startswith("rows ")},
    }
    notes = (*rows.notes, *targets.notes, LIMITS)
    told_of = (labels_table(targets, bootstraps),)
    result = probe_result(probe, labels, scales, split.cluster, bootstraps, facts, told_of, notes)
    return Probed(probe, rows.keys, rows.values, result, embeddings.encoder)


def save_probe(probed: Probed, folder: Path, checkpoint: Checkpoint | None = None) -> None:
    """Write a new folder, whole or not at all: the heads as published in heads/, and their figures.

    Args:
        probed: what to write.
        folder: is made; it must not exist, or be empty.
        checkpoint: packs the heads with this one's encoder, too, into packed.safetensors.

    Raises:
        OptionError: the folder is not empty, or cannot be made.
        CheckpointError: the embeddings are of another encoder.
        EmonetError: the disk refuses.
    """
    with new_folder(folder) as unfinished:
        write_heads(unfinished / HEADS, probed.probe.heads, switches=Switches(encoder=probed.encoder or ""))
        write_json(probed.result, unfinished / FIGURES)
        if checkpoint is not None:
            pack_heads(checkpoint, unfinished / HEADS, unfinished / PACKED, named=folder.name)


def _named(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
