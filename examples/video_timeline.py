"""Follow the faces of a video and print the strongest emotion of each over time (extra `video`).

python examples/video_timeline.py talk.mp4 --checkpoint large --faces detect
"""

import argparse

import emonet_fast as ef


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the emotions in a video over time.")
    parser.add_argument("video")
    parser.add_argument("--checkpoint", default="large")
    parser.add_argument("--faces", default="detect", help="none, detect or boxes:FILE")
    parser.add_argument("--fps", type=float, default=2.0, help="sampled frames a second")
    arguments = parser.parse_args()

    options = ef.VideoOptions(fps=arguments.fps, faces=ef.FaceOptions(faces=arguments.faces))
    with ef.Scorer(arguments.checkpoint) as scorer:
        for timeline in ef.stream(scorer, arguments.video, options):
            # A timeline holds some consecutive rows: one for each face of a frame.
            strongest = timeline.scores.top(1)
            for i, seconds in enumerate(timeline.seconds):
                text = "{} {:.2f}".format(*strongest[i][0]) if strongest[i] else timeline.scores.reason[i]
                print(f"{seconds:8.2f} s  face {timeline.track[i]}  {text}")


if __name__ == "__main__":
    main()
