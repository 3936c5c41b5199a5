"""Score the pictures of a folder, print the strongest emotions of each, and write a table.

python examples/score_folder.py pictures/ --checkpoint large --output scores.parquet
"""

import argparse
from pathlib import Path

import emonet_fast as ef


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the pictures of a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", default="large")
    parser.add_argument("--output", type=Path, default=Path("scores.parquet"))
    arguments = parser.parse_args()

    paths = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    with ef.Scorer(arguments.checkpoint) as scorer:
        scores = scorer(paths)

    # Every file has a row. One that is no picture has a status and a reason instead of scores.
    for key, status, reason, top in zip(scores.keys, scores.status, scores.reason, scores.top(3), strict=True):
        if top:
            print(key, *(f"{name} {value:.2f}" for name, value in top), sep="  ")
        else:
            print(key, status, reason, sep="  ")
    scores.to_parquet(arguments.output)


if __name__ == "__main__":
    main()
