"""Any-hit accuracy on data sets with few classes, as published, and what it does not tell.

An image is right if any head mapped to its true class has a softmax, over the mean-subtracted scores of the mapped
heads, above 1.5 / (number of mapped heads). Source: `eval/eval.ipynb` of LAION-AI/emonet-face. A class with many heads
has many chances. So we also give what random scores reach by the same rule, and the strongest head's accuracy.
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arithmetic import softmax
from ..errors import DataError
from ..files import is_file
from ..sources.csv_rows import open_rows
from ..sources.json_lines import json_lines
from ..sources.keys import picture_of, unnumbered
from ..sources.workbook import WORKBOOK
from ..text import listed
from .align import ImageId, places
from .mapping import Mapping
from .metrics import BOOTSTRAPS, SEED, SHARE, Bools, Floats, Interval, Ints, count_chunks, interval, mean_known, ratio
from .predictions import SLUGS, Predictions, check_share

CUTOFF = 1.5
FROM_NAME = "from-name"
_DRAWS = 100_000
NAME_FIELDS = ("key", "image_path", "path", "image", "file_name", "file")
LABEL_FIELDS = ("label", "emotion", "class", "expression")


@dataclass(frozen=True, slots=True)
class AnyHitFigures:
    """The figures of n images in the C classes of a mapping.

    Args:
        mapping: which emotions stand for which class.
        true: [n] class of each image.
        hits: [n, C] which classes the rule accepts.
        top: [n] class of the strongest mapped head.
        noise: [C] share of random scores that the rule accepts.
        intervals: 95% interval of a figure, by its name.
        notes: what a reader must know.
    """

    mapping: Mapping
    true: Ints
    hits: Bools
    top: Ints
    noise: Floats
    intervals: dict[str, Interval]
    notes: tuple[str, ...]

    @property
    def counts(self) -> Ints:
        """[C] images of each class."""
        return np.bincount(self.true, minlength=len(self.mapping.classes))

    def by_class(self) -> dict[str, Floats]:
        """[C] each: any-hit, argmax, and any-hit of the same scores on shuffled images; NaN without images."""
        n = self.counts
        right = {"any_hit": self.hits[np.arange(len(self.true)), self.true], "argmax": self.top == self.true}
        per = {k: ratio(np.bincount(self.true, v, minlength=len(n)), n) for k, v in right.items()}
        return per | {"shuffled": np.where(n > 0, self.hits.mean(axis=0), np.nan)}

    def overall(self) -> dict[str, float]:
        """Accuracies over images, balanced ones over classes, and the two random baselines of the same rule."""
        per, share = self.by_class(), self.counts / len(self.true)
        out = {k: float(np.nansum(v * share)) for k, v in per.items()}
        out |= {f"balanced_{k}": float(mean_known(v)) for k, v in per.items()}
        out["noise"] = float(np.nansum(self.noise * share))
        out["chance_argmax"] = 1.0 / len(self.mapping.classes)
        return out


def any_hit_figures(
    predictions: Predictions,
    mapping: Mapping,
    labels: str | Path | dict[str, str],
    *,
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> AnyHitFigures:
    """Any-hit accuracy of mean-subtracted scores. labels: a file (see `read_labels`), its content, or "from-name".

    Raises DataError when, unless `partial`, more than 1% of the images have no label, no scores, or a label outside the
    mapping, or more than 1% of the labels no image.
    """
    at: list[int | None]
    if labels == FROM_NAME:
        label_of = names_to_labels(predictions.keys)
        at = list(range(len(label_of)))
    else:
        label_of = labels if isinstance(labels, dict) else read_labels(Path(labels))
        at = places([ImageId(name) for name in label_of], predictions.keys, predictions.source)
    names = list(label_of)
    notes = list(predictions.notes) + _check_coverage(predictions, names, at, partial)
    texts = [None if i is None else label_of[names[i]] for i in at]
    named = [None if t is None else mapping.label(t) for t in texts]
    foreign = {k: t for k, t, c in zip(predictions.keys, texts, named, strict=True) if t is not None and c is None}
    classes = list(mapping.classes)
    what = (
        f"images have labels outside the classes of {mapping.name} ({', '.join(classes)}), such as "
        f"{listed(dict.fromkeys(foreign.values()))}"
    )
    notes += check_share(list(foreign), len(at), what, partial)
    use = [i for i, c in enumerate(named) if c is not None and predictions.status[i] == "ok"]
    if not use:
        raise DataError(f"no image of {predictions.source} has both scores and a label of {mapping.name}")
    true = np.array([classes.index(named[i] or "") for i in use], dtype=np.int64)
    columns, owner = _heads(mapping, predictions, notes)
    hits, top = rule(predictions.values[np.ix_(use, columns)], owner, len(classes), mapping.heads)
    noise = _noise(owner, len(classes), mapping.heads)
    return AnyHitFigures(mapping, true, hits, top, noise, _intervals(true, hits, top, bootstraps), tuple(notes))


def rule(scores: Floats, owner: Ints, classes: int, heads: int) -> tuple[Bools, Ints]:
    """[N, C] classes that the rule accepts, and [N] class of the strongest head, from scores [N, H] of mapped heads.

    owner: [H] class of each head. heads: number of mapped heads in the cutoff 1.5 / heads.
    """
    over = softmax(scores) > CUTOFF / heads
    hits = np.stack([over[:, owner == c].any(axis=1) for c in range(classes)], axis=1)
    return hits, owner[np.argmax(scores, axis=1)]


def names_to_labels(keys: tuple[str, ...]) -> dict[str, str]:
    """Labels from file names such as `0000_Happy.jpg`: what stands after the last "_", without the ending."""
    out = {}
    for key in keys:
        name = re.split(r"[/\\]|::", unnumbered(picture_of(key)))[-1]
        head, mark, label = name.rpartition("_")
        if not mark or not head:
            raise DataError(f"{key} has no label in its name; expected names such as 0000_Happy.jpg, or --labels FILE")
        out[key] = label.split(".")[0]
    return out


def read_labels(path: Path) -> dict[str, str]:
    """Read {file name: label} from CSV with a header, an Excel workbook, JSON lines, or a JSON object.

    The name stands in a column key, image_path, path, image, file_name or file; the label in a column label, emotion,
    class or expression. The published `affectnet*.jsonl` hold both predictions and labels, and may be given here too.
    """
    if not is_file(path):
        raise DataError(f"there is no file {path}; expected labels in .csv, .xlsx, .jsonl or .json, or {FROM_NAME}")
    ending = path.suffix.lower()
    try:
        if ending == ".json":
            doc = json.loads(path.read_bytes())  # in bytes a mark of the byte order may come first
            pairs = list(doc.items()) if isinstance(doc, dict) else []
        elif ending == ".jsonl":
            pairs = [_pair(line, f"{path}, line {n}") for n, line in json_lines(path)]
        elif ending in (".csv", WORKBOOK):
            with open_rows(path) as (_, rows):
                pairs = [_pair(dict(row), where) for where, row in rows]
        else:
            raise DataError(f"{path} ends in {ending!r}; expected labels in .csv, .xlsx, .jsonl or .json")
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); expected labels of images") from None
    out: dict[str, str] = {}
    for name, label in pairs:
        if isinstance(label, dict | list) or label is None or out.setdefault(str(name), str(label)) != str(label):
            raise DataError(f"{path} gives {name!r} the label {label!r:.60}; expected one label for each image")
    if not out:
        raise DataError(f"{path} has no labels; expected one for each image")
    return out


def _pair(row: dict[str, object], where: str) -> tuple[object, object]:
    name = next((row[f] for f in NAME_FIELDS if row.get(f) not in (None, "")), None)
    label = next((row[f] for f in LABEL_FIELDS if row.get(f) not in (None, "")), None)
    if name is None or label is None:
        raise DataError(
            f"{where} has no image or no label; expected one of {', '.join(NAME_FIELDS)} and one of "
            f"{', '.join(LABEL_FIELDS)}"
        )
    return name, label


def _check_coverage(predictions: Predictions, names: list[str], at: list[int | None], partial: bool) -> list[str]:
    source = predictions.source
    without = [k for k, i in zip(predictions.keys, at, strict=True) if i is None]
    if len(without) == len(at):
        raise DataError(
            f"none of the keys of {source} has a label: {listed(without)}; expected names such as "
            f"{listed(names[:3])}, of which one is the end of the other, folders included"
        )
    failed = [k for k, s in zip(predictions.keys, predictions.status, strict=True) if s != "ok"]
    scored = set(at)
    unscored = [n for i, n in enumerate(names) if i not in scored]
    notes = check_share(failed, len(at), f"images have no scores in {source}", partial)
    notes += check_share(without, len(at), f"images of {source} have no label", partial)
    return notes + check_share(unscored, len(names), f"labelled images are lacking in {source}", partial)


def _heads(mapping: Mapping, predictions: Predictions, notes: list[str]) -> tuple[list[int], Ints]:
    """Columns of the mapped emotions that have a head, and each one's class."""
    heads = [(SLUGS.index(e), c) for c, emotions in enumerate(mapping.classes.values()) for e in emotions]
    lacking = [SLUGS[column] for column, _ in heads if not predictions.has[column]]
    if lacking:  # without --partial, read_predictions has refused it
        notes.append(f"{len(lacking)} mapped emotions have no head: {listed(lacking)}")
    known = [(column, c) for column, c in heads if predictions.has[column]]
    return [column for column, _ in known], np.array([c for _, c in known], dtype=np.int64)


def _noise(owner: Ints, classes: int, heads: int) -> Floats:
    """[C] share of images that the rule accepts for a class when all scores are standard normal noise."""
    rng = np.random.default_rng(SEED)
    total = np.zeros(classes)
    step = 10_000
    for _ in range(0, _DRAWS, step):
        hits, _ = rule(rng.standard_normal((step, len(owner))), owner, classes, heads)
        total += hits.sum(axis=0)
    return np.asarray(total / _DRAWS, dtype=np.float64)


def _intervals(true: Ints, hits: Bools, top: Ints, bootstraps: int) -> dict[str, Interval]:
    """95% intervals over resamples of images."""
    n, classes = hits.shape
    one = np.eye(classes)[true]
    right = {"any_hit": (one * hits).sum(axis=1), "argmax": (top == true).astype(np.float64)}

    def figures(counts: Floats) -> dict[str, Floats]:
        out, per = {}, counts @ one
        for k, r in right.items():
            out[k] = counts @ r / n
            out[f"balanced_{k}"] = np.asarray(mean_known(ratio((counts * r) @ one, per), axis=1))
        return out

    whole = figures(np.ones((1, n)))
    parts = [figures(counts) for counts in count_chunks(np.random.default_rng(SEED), n, bootstraps)]
    return {k: interval(float(v[0]), np.concatenate([part[k] for part in parts]), SHARE) for k, v in whole.items()}
