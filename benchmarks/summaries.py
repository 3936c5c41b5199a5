"""How long `summarise` takes, and how much memory, on made scores of many tracks.

    python -m benchmarks.summaries [--rows 2000000] [--by source ...]

Rows come as a video table has them: 40 heads, 600 rows a video, two tracks in turns. Prints the processor's seconds, as
other programs may run beside it, and the largest memory of the process that summarises.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emonet_fast import taxonomy

VIDEO = 600
_SUMMARISE = """
import resource, sys
from emonet_fast import summarise
summary = summarise(sys.argv[1], sys.argv[2:] or None)
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"{used.ru_utime + used.ru_stime:.0f} s of processor time, {used.ru_maxrss / 1e6:.2f} GB, "
      f"{summary.groups.num_rows} groups")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--by", nargs="*", default=[], help="columns; none: each track")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write(path, arguments.rows)
        print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e9:.2f} GB of parquet")
        subprocess.run([sys.executable, "-c", _SUMMARISE, str(path), *arguments.by], check=True)


def write(path: Path, rows: int) -> None:
    """A table of so many rows, a video after the other."""
    rng = np.random.default_rng(0)
    slugs = [d.slug for d in taxonomy.EMOTIONS]
    facts = {"checkpoint": "made", "checkpoint_hash": "sha256:00", "precision": "fp32"}
    writer = None
    for begin in range(0, rows, 100 * VIDEO):
        n = min(100 * VIDEO, rows - begin)
        place = np.arange(begin, begin + n)
        raw = rng.normal(1, 1, (n, len(slugs))).astype(np.float32)
        columns = {
            "source": pa.array([f"v{i}.mp4" for i in (place // VIDEO).tolist()]).dictionary_encode(),
            "seconds": place % VIDEO * 0.5,
            "track": place % 2,
            "status": pa.array(["ok"] * n).dictionary_encode(),
            **{f"raw_{slug}": raw[:, i] for i, slug in enumerate(slugs)},
            **{f"score_{slug}": raw[:, i].astype(np.float64) - 0.5 for i, slug in enumerate(slugs)},
        }
        table = pa.table(columns).replace_schema_metadata(facts)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=4096)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main()
