"""Score what OpenCV reads, a camera by its number or a file (extra `video`, pip install opencv-python).

python examples/opencv_loop.py 0
python examples/opencv_loop.py talk.mp4 --checkpoint large
"""

import argparse
import time
from collections.abc import Iterator

import cv2
import numpy as np

import emonet_fast as ef


def frames(source: str, live: bool) -> Iterator[tuple[float, np.ndarray]]:
    """Times in seconds and frames [H, W, 3] uint8 RGB, where OpenCV gives BGR."""
    capture = cv2.VideoCapture(int(source) if live else source)
    if not capture.isOpened():
        raise SystemExit(f"{source} cannot be opened")
    began = time.monotonic()
    try:
        while True:
            good, frame = capture.read()
            if not good:
                return
            seconds = time.monotonic() - began if live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def main() -> None:
    parser = argparse.ArgumentParser(description="Score what OpenCV reads.")
    parser.add_argument("source", help="a camera's number, or a file")
    parser.add_argument("--checkpoint", default="large")
    parser.add_argument("--faces", default="detect", help="none or detect")
    arguments = parser.parse_args()

    live = arguments.source.isdecimal()  # then the newest frame wins
    options = ef.VideoOptions(fps=2, live=live, faces=ef.FaceOptions(faces=arguments.faces))
    with ef.Scorer(arguments.checkpoint) as scorer:
        for timeline in ef.stream(scorer, frames(arguments.source, live), options):
            for row in range(len(timeline)):
                strongest = ", ".join(f"{name} {share:.2f}" for name, share in timeline.scores.top(3)[row])
                print(f"{timeline.seconds[row]:.2f} s, track {timeline.track[row]}: {strongest}", flush=True)


if __name__ == "__main__":
    main()
