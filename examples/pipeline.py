"""Score frames from another program: raw RGB on standard input, JSON lines on standard output (extra `video`).

ffmpeg -i talk.mp4 -f rawvideo -pix_fmt rgb24 - | python examples/pipeline.py 640 360 25 --checkpoint large
"""

import argparse
import json
import sys
from collections.abc import Iterator

import numpy as np

import emonet_fast as ef


def frames(width: int, height: int, rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Times in seconds and frames [H, W, 3] uint8, until the input ends."""
    number, size = 0, width * height * 3
    while len(data := sys.stdin.buffer.read(size)) == size:
        yield number / rate, np.frombuffer(data, np.uint8).reshape(height, width, 3)
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Score raw RGB frames from standard input.")
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("rate", type=float, help="frames a second")
    parser.add_argument("--checkpoint", default="large")
    parser.add_argument("--faces", default="detect", help="none or detect")
    arguments = parser.parse_args()

    options = ef.VideoOptions(fps=2, faces=ef.FaceOptions(faces=arguments.faces))
    source = frames(arguments.width, arguments.height, arguments.rate)
    with ef.Scorer(arguments.checkpoint) as scorer:
        for timeline in ef.stream(scorer, source, options):  # memory stays bounded, however long the input is
            for row in timeline.to_dicts():
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
