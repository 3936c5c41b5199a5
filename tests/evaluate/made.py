"""Made-up predictions, annotations and data sets in exactly the published layouts."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emonet_fast import taxonomy
from emonet_fast.evaluate import metrics
from emonet_fast.evaluate.align import ImageId
from emonet_fast.evaluate.annotations import Ratings
from emonet_fast.evaluate.predictions import NAMES, SLUGS, Predictions
from emonet_fast.evaluate.result import Figure, Result, Table

GROUPED = [f"{d.group} Emotions|{d.name}" for d in taxonomy.EMOTIONS]
AGES = [str(a) for a in range(20, 90, 10)]
GENDERS = ["man", "non-binary", "woman"]
ETHNICITIES = ["Asian", "Black or African American", "White"]


def ratings(values: np.ndarray, human: Sequence[bool] | None = None, names: Sequence[str] | None = None) -> Ratings:
    """Ratings [R, N, 40] of images a0000.png, a0001.png, ..."""
    size = len(values)
    return Ratings(
        "made up",
        tuple(ImageId(name=f"a{i:04}.png") for i in range(values.shape[1])),
        tuple(names or [f"human-{i + 1}" for i in range(size)]),
        np.array([True] * size if human is None else human),
        np.asarray(values, dtype=np.float64),
    )


def predictions(values: np.ndarray, keys: Sequence[str] | None = None) -> Predictions:
    """Predictions [N, 40] for the same images, as if from files of another ending."""
    n = len(values)
    names = tuple(keys or [f"faces/a{i:04}.jpg" for i in range(n)])
    return Predictions("made up", names, np.asarray(values, np.float64), np.ones(40, bool), ("ok",) * n)


def hq_csv(path: Path, given: Ratings) -> Path:
    """The published hq.csv: annotations as a dict's text, with an extra dimension."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "annotator", "human", "annotations"])
        for i, image in enumerate(given.images):
            for r, rater in enumerate(given.raters):
                row = given.values[r, i]
                if not np.isnan(row).all():
                    cells = {g: _number(v) for g, v in zip(GROUPED, row, strict=True)} | {"Extra Dimensions|Arousal": 2}
                    writer.writerow([image.name, rater, bool(given.human[r]), cells])
    return path


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def parquet(path: Path, values: np.ndarray, keys: Sequence[str], status: Sequence[str] | None = None) -> Path:
    """Our parquet of raw scores [N, 40] and scores 0.5 lower, null in rows that are not ok."""
    states = list(status or ["ok"] * len(values))
    mask = np.array([s != "ok" for s in states])
    table = {"key": pa.array(keys, pa.string()), "status": states, "reason": [""] * len(values)}
    table |= {f"raw_{s}": pa.array(values[:, i].astype(np.float32), mask=mask) for i, s in enumerate(SLUGS)}
    table |= {f"score_{s}": pa.array(values[:, i] - 0.5, mask=mask) for i, s in enumerate(SLUGS)}
    pq.write_table(pa.table(table), path)
    return path


def laion_jsonl(path: Path, values: np.ndarray, keys: Sequence[str]) -> Path:
    """The published JSON lines of mean-subtracted scores [N, 40]."""
    stems = [d.file_stem for d in taxonomy.EMOTIONS]
    with path.open("w", encoding="utf-8") as file:
        for key, row in zip(keys, values.tolist(), strict=True):
            heads = {
                s: {"raw": v + 0.5, "mean_subtracted": v, "softmax": 0.025} for s, v in zip(stems, row, strict=True)
            }
            heads["model_valence_best"] = {"raw": -1.0, "mean_subtracted": -1.5, "softmax": None}
            file.write(json.dumps({"image_path": key, "results": heads}) + "\n")
    return path


def dataset(
    path: Path,
    labels: Sequence[str | None],
    names: Sequence[str | None],
    demographics: Sequence[tuple[int, int, int]] | None = None,
) -> Path:
    """One shard as published: image struct `path`, prompt, class labels, subset, `label` as a Python list's text."""
    n = len(labels)
    given = demographics or [(i % 7, i % 3, i % 3) for i in range(n)]
    classes = {
        "age": AGES,
        "ethnicity": ETHNICITIES,
        "gender": GENDERS,
        "emotion": list(NAMES),
        "subset": ["flux", "mj"],
    }
    features = {c: {"names": v, "_type": "ClassLabel"} for c, v in classes.items()}
    features |= {"path": {"_type": "Image"}, "prompt": {"dtype": "string", "_type": "Value"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "path": pa.array(
                [{"bytes": b"\xff\xd8" + bytes([i % 256]), "path": p} for i, p in enumerate(names)], image
            ),
            "prompt": [f"a close-up photo {i}" for i in range(n)],
            "age": pa.array([g[0] for g in given], pa.int64()),
            "ethnicity": pa.array([g[1] for g in given], pa.int64()),
            "gender": pa.array([g[2] for g in given], pa.int64()),
            "emotion": pa.array([i % 40 for i in range(n)], pa.int64()),
            "subset": pa.array([i % 2 for i in range(n)], pa.int64()),
            "label": pa.array(labels, pa.string()),
        }
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=5)
    return path


def interval_alpha(values: np.ndarray) -> float:
    """Krippendorff's alpha of ratings [R, N], from the parts that the evaluation puts together."""
    kept = metrics.alpha_raters(values)
    return float(metrics.alpha_of_sums(metrics.unit_sums(kept).sum(axis=0))) if len(kept) >= 2 else float("nan")


def figure_of(result: Result, slug: str) -> Figure:
    """The figure of that name."""
    return next(f for f in result.figures if f.slug == slug)


def table_of(result: Result, slug: str) -> Table:
    """The table of that name."""
    return next(t for t in result.tables if t.slug == slug)


def hq_label(row: Mapping[str, np.ndarray]) -> str:
    """`label` of HQ: [{annotator: {"Group|Emotion": 0..7}}, ...]."""
    return repr([{a: {g: _number(v) for g, v in zip(GROUPED, r, strict=True)}} for a, r in row.items()])
