"""How long an evaluation of HQ takes: 2500 images x 40 emotions x 22 raters, 1000 resamples, from files to the page.

    python -m benchmarks.evaluation [IMAGES] [RATERS]

Made-up ratings in the published hq.csv layout, everybody rating every image, which is more than HQ has.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emonet_fast import taxonomy
from emonet_fast.evaluate.annotations import hq_from_csv
from emonet_fast.evaluate.hq import hq_figures
from emonet_fast.evaluate.hq_tables import hq_result
from emonet_fast.evaluate.predictions import read_predictions
from emonet_fast.evaluate.report import write_report


def make(folder: Path, images: int, raters: int) -> None:
    """hq.csv and scores.parquet of raters with noise around one truth."""
    rng = np.random.default_rng(0)
    truth = np.clip(rng.gamma(0.6, 1.5, size=(images, 40)), 0, 7)
    names = [f"{d.group} Emotions|{d.name}" for d in taxonomy.EMOTIONS]
    with (folder / "hq.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "annotator", "human", "annotations"])
        for i in range(images):
            levels = np.clip(np.rint(truth[i] + rng.normal(0, 1.5, size=(raters, 40))), 0, 7).astype(int)
            for r in range(raters):
                ratings = dict(zip(names, levels[r].tolist(), strict=True))
                writer.writerow([f"{i:05}.png", f"human-{r + 1}", True, ratings])
    scores = truth + rng.normal(0, 1, size=truth.shape)
    table = {"key": [f"{i:05}.jpg" for i in range(images)], "status": ["ok"] * images}
    table |= {f"raw_{d.slug}": scores[:, e].astype(np.float32) for e, d in enumerate(taxonomy.EMOTIONS)}
    pq.write_table(pa.table(table), folder / "scores.parquet")


def main() -> None:
    images, raters = ([*map(int, sys.argv[1:]), 2500, 22] if len(sys.argv) < 3 else [int(a) for a in sys.argv[1:]])[:2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, images, raters)
        start = time.perf_counter()
        predictions, ratings = read_predictions(folder / "scores.parquet"), hq_from_csv(folder / "hq.csv")
        read = time.perf_counter()
        figures = hq_figures(predictions, ratings)
        computed = time.perf_counter()
        write_report(hq_result(figures, "scores.parquet"), folder / "report.html")
        done = time.perf_counter()
    print(f"{images} images x 40 emotions x {raters} raters, {len(figures.kappa_b)} resamples")
    print(f"read {read - start:.1f} s, computed {computed - read:.1f} s, page {done - computed:.1f} s")
    print(f"together {done - start:.1f} s")


if __name__ == "__main__":
    main()
