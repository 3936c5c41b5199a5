"""How large the page of many pictures is, how long a browser takes to open it, and what memory writing it takes.

    python -m benchmarks.picture_report [--rows 10000]

Pictures are cut out of the photographs of scikit-image; scores are made. The browser is chromium without a window: the
time is that of a process which starts, opens the page, runs its script and draws it. Without chromium there is no such
time. Writing is measured in seconds of the processor.
"""

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from emonet_fast import taxonomy
from emonet_fast.reports.pictures import PictureReport
from emonet_fast.scores import Scores
from emonet_fast.thumbnails import thumbnail

_BATCH = 50
_NAMES = tuple(d.slug for d in taxonomy.DIMENSIONS)
# What is opened: the page as it is, and sorted by an emotion, for which every row's softmax is computed.
_VIEWS = {"open": "", "open, sorted by softmax": "#emotion=anger&order=down&kind=softmax"}


def write(path: Path, rows: int) -> float:
    """Write the page; returns the processor's seconds that the report took, without making pictures and scores."""
    from skimage import data

    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    rng = np.random.default_rng(0)
    report, seconds = PictureReport(path, f"{rows} pictures", {}), 0.0
    for start in range(0, rows, _BATCH):
        raw = rng.gamma(0.5, 1.5, (min(_BATCH, rows - start), len(_NAMES)))
        keys = [f"pictures/of-many-people/{start + i:06}.jpg" for i in range(len(raw))]
        scores = Scores.from_raw(raw, _NAMES, dict.fromkeys(_NAMES, 0.1), keys=keys)
        shots = []
        for i in range(len(raw)):
            photograph = photographs[i % len(photographs)]
            top, left = (int(rng.integers(0, side - 220)) for side in photograph.shape[:2])
            shots.append(thumbnail(photograph[top : top + 220, left : left + 200]))
        began = time.process_time()
        report.write(scores, shots)
        seconds += time.process_time() - began
    began = time.process_time()
    report.close()
    return seconds + time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        seconds = write(path, rows)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"rows: {rows:,}")
        print(f"size: {path.stat().st_size / 1e6:.1f} MB")
        print(f"write: {seconds:.1f} s, the process had {memory:.0f} MB at most")
        for name, fragment in _VIEWS.items() if chromium else ():
            flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
            shot = f"--screenshot={folder}/page.png"
            began = time.perf_counter()
            subprocess.run(
                [str(chromium), *flags, "--window-size=1200,1800", shot, path.as_uri() + fragment],
                check=True,
                capture_output=True,
                timeout=300,
            )
            print(f"{name}: {time.perf_counter() - began:.1f} s, with the browser's own start")


if __name__ == "__main__":
    main()
