"""One other package on given crops, in its own environment: prints one JSON line. Imports nothing of this repository.

    python others_inside.py NAME ROUNDS CROP...

Each package as its own documentation shows it, on face crops as they are, where it can be told not to look for a face.
"""

import json
import sys
import time


def deepface(crops):
    from deepface import DeepFace

    def run():
        for path in crops:
            DeepFace.analyze(path, actions=["emotion"], detector_backend="skip", enforce_detection=False, silent=True)

    return run


def emotiefflib(crops):
    import numpy as np
    from emotiefflib.facial_analysis import EmotiEffLibRecognizer
    from PIL import Image

    recognizer = EmotiEffLibRecognizer(engine="onnx", model_name="enet_b0_8_best_vgaf", device="cpu")

    def run():
        recognizer.predict_emotions([np.asarray(Image.open(path).convert("RGB")) for path in crops], logits=False)

    return run


def pyfeat(crops):
    from feat import Detectorv1

    detector = Detectorv1(emotion_model="resmasknet", device="cpu")
    return lambda: detector.detect(crops, data_type="image", progress_bar=False)


def main():
    name, rounds, crops = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    try:
        run = globals()[name.replace("-", "")](crops)
        run()
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            run()
            seconds.append((time.perf_counter() - began) / len(crops))
        found = {"seconds_an_image": seconds}
    except BaseException as error:  # whatever a foreign package does, even leaving the process, becomes a reason
        found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
