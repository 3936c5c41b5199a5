"""How long reading labels takes, in seconds of processor, and its memory: wide and long tables, and joining.

    python -m benchmarks.labels FOLDER [--rows 262144] [--heads 40]

Writes tables below FOLDER: one row a picture (CSV, parquet), one label a row (parquet), and three annotators' rows of
a third of the pictures (CSV). Each is read in a process of its own, whose memory before reading is taken off.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from emonet_fast import taxonomy

# Prints the seconds of processor of reading and of joining, and the peak of memory above what was there before, in MB;
# of the program alone (Linux), as getrusage's peak is also that of whoever started it.
_READ = """
import sys, time
import numpy, pyarrow.compute, pyarrow.csv, pyarrow.parquet
from emonet_fast.targets import join, read_targets
peak = lambda: int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1000
before, began = peak(), time.process_time()
targets = read_targets(sys.argv[1])
read, memory = time.process_time() - began, peak() - before
began = time.process_time()
join(targets, list(reversed(targets.keys)))
equal = time.process_time() - began
began = time.process_time()
join(targets, ["data/" + key for key in targets.keys])
tails = time.process_time() - began
print(f"{read:.1f} s, {memory:,.0f} MB, joined by equal keys {equal:.1f} s, by tails {tails:.1f} s")
"""


def tables(folder: Path, rows: int, heads: int) -> list[Path]:
    """Write the tables. Returns their paths."""
    rng = np.random.default_rng(0)
    names = [d.slug for d in taxonomy.EMOTIONS][:heads]
    keys = [f"faces/{i // 1000:04}/{i:07}.jpg" for i in range(rows)]
    values = rng.integers(0, 8, (rows, heads)).astype(np.float64)
    wide = pa.table({"key": keys} | {name: values[:, h] for h, name in enumerate(names)})
    third = pa.table({"key": keys[: rows // 3]})
    several = pa.concat_tables(
        third.append_column("annotator", pa.array([who] * len(third))) for who in ("anna", "ben", "cleo")
    )
    for h, name in enumerate(names):
        several = several.append_column(name, pa.array(values[: len(several), h]))
    order = rng.permutation(rows * heads)
    long = pa.table(
        {
            "key": pa.array(keys).take(pa.array(order // heads)),
            "emotion": pa.array(names).take(pa.array(order % heads)),
            "value": values.ravel()[order],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("wide.csv", "wide.parquet", "long.parquet", "annotators.csv")]
    pc.write_csv(wide, paths[0])
    pq.write_table(wide, paths[1])
    pq.write_table(long, paths[2])
    pc.write_csv(several, paths[3])
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--heads", type=int, default=40)
    asked = parser.parse_args()
    for path in tables(asked.folder, asked.rows, asked.heads):
        print(f"{path.name}:", end=" ", flush=True)
        subprocess.run([sys.executable, "-c", _READ, str(path)], check=True)


if __name__ == "__main__":
    main()
