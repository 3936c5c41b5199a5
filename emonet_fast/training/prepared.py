"""From stored embeddings and labels to the rows that heads learn from, that stop them, and that judge them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ..splits import split_rows
from ..targets import Labelled, Targets
from ..targets.labelled import lone_labels
from ..text import counted, listed_have
from .settings import Examples

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a training begins with.

    Args:
        examples: of the heads that have labels.
        judging: [T] rows that nothing was learnt from, and that stopped nothing.
        clusters: [N] which rows are of one person, source or picture.
        facts: of the split, for people.
        notes: what a reader must know.
    """

    examples: Examples
    judging: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64]
    facts: Mapping[str, str]
    notes: tuple[str, ...]


def prepare(both: Labelled, targets: Targets, held_out: float, seed: int, experts: bool = False) -> Dealt:
    """Split labelled rows in three. Half of the held-out rows, by clusters, stop the heads, the other half judges them.

    A row and its near-duplicates, and rows of one person or source, are all in one part.

    Args:
        both: rows with embedding and labels.
        targets: what the labels are.
        held_out: the part of the rows to hold out.
        seed: of the split.
        experts: whether HQ's experts may be learnt from; models are proved on them.

    Raises:
        OptionError: HQ came, and was not allowed.
        DataError: as of split_rows, or a head cannot be learnt or judged: its labels are all alike, or those of the
            rows that judge are.
    """
    if targets.experts and not experts:
        raise OptionError(
            f"{targets.source} holds the experts' ratings of HQ, which prove a model and must not train it: figures on "
            "HQ would then mean nothing. Prove with `emonet-fast evaluate hq`; --train-on-hq trains all the same"
        )
    labelled = np.asarray(~np.isnan(both.targets) & (both.weights > 0))
    alone = lone_labels(both.targets, labelled, targets.names)
    if alone:
        raise DataError(
            f"{'; '.join(alone)}, and nothing else to tell it from. Give more labels, or leave these out with --label"
        )
    split = split_rows(both.values, both.groups, held_out, seed=seed)
    held = np.flatnonzero(split.held_out)
    try:
        halves = split_rows(None, {"cluster": split.cluster[held].tolist()}, _HALF, seed=seed)
    except DataError:
        raise DataError(
            f"{counted(len(held), 'held-out row is', 'held-out rows are')} of one person, source or picture; expected "
            "two at least, as one part of them stops the heads and the other judges them. "
            "Hold out more, give more data, or group by less"
        ) from None
    known = np.asarray(labelled.any(axis=0))
    names = tuple(name for name, one in zip(targets.names, known.tolist(), strict=True) if one)
    lacking = [name for name in targets.names if name not in names]
    notes = [*targets.notes, *both.notes]
    if lacking:
        notes.append(f"{listed_have(lacking)} no labels here: no heads")
    examples = Examples(
        both.values,
        np.ascontiguousarray(both.targets[:, known]),
        np.ascontiguousarray(both.weights[:, known]),
        names,
        tuple((float(low), float(high)) for low, high in (targets.scales[name] for name in names)),
        np.flatnonzero(~split.held_out),
        held[~halves.held_out],
    )
    judging = held[halves.held_out]
    _check_judging(examples, judging)
    facts = {name: f"{count:,}" for name, count in split.facts.items()}
    facts |= {"rows that stop heads": f"{len(examples.stopping):,}", "rows that judge heads": f"{len(judging):,}"}
    return Dealt(examples, judging, split.cluster, facts, tuple(dict.fromkeys(notes)))


def _check_judging(examples: Examples, judging: npt.NDArray[np.int64]) -> None:
    """Raise DataError where a head could learn and have no figure in the end, before any time goes into it."""
    labels = examples.targets[judging]
    known = ~np.isnan(labels)
    lowest, highest = (
        end(labels, axis=0, where=known, initial=at) for end, at in ((np.min, np.inf), (np.max, -np.inf))
    )
    alike = (lowest >= highest).tolist()
    lacking = [name for name, one in zip(examples.names, alike, strict=True) if one]
    if lacking:
        raise DataError(
            f"{listed_have(lacking)} no labels, or all alike, in the "
            f"{counted(len(judging), 'row that judges', 'rows that judge')} heads, and would "
            "have no figure: a model card is not written without its evaluation. Give more data, hold out more, or "
            "leave these heads out"
        )
