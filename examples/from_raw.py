"""Bring raw outputs of your own model run to the published scores: minus the neutral mean, then softmax.

python examples/from_raw.py raw.csv means.json

raw.csv: a header `image,elation,awe,...` and a line for each image. means.json: {"elation": 0.3, "awe": 0.1, ...}.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

import emonet_fast as ef


def main() -> None:
    parser = argparse.ArgumentParser(description="Bring raw outputs to the published scores.")
    parser.add_argument("raw", type=Path)
    parser.add_argument("means", type=Path)
    arguments = parser.parse_args()

    with arguments.raw.open(newline="") as file:
        header, *rows = csv.reader(file)
    raw = np.array([row[1:] for row in rows], dtype=np.float32)
    means = json.loads(arguments.means.read_text())

    # Emotions may have any published spelling. The softmax needs all 40 of them.
    scores = ef.Scores.from_raw(raw, header[1:], means, keys=[row[0] for row in rows])
    for key, strongest in zip(scores.keys, scores.top(3), strict=True):
        print(key, *(f"{name} {value:.3f}" for name, value in strongest), sep="  ")


if __name__ == "__main__":
    main()
