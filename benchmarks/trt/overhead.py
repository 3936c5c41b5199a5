"""What one call of the extension costs the host: Engine.run on the fake TensorRT and driver of tests/csrc.

The fake does nothing at a call but to queue, so this is the way from Python to `enqueueV3` (or the graph's launch) and
back. Needs g++ and the package's sources; compiles as a user's installation does, with optimisation.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.csrc.building import make_extension, make_fakes, open_fakes

LINES = ["size 1", "size 64", "input pixels uint8 3 8 8", "output embedding float32 1152", "output raw float32 40"]
BLOB = "\n".join(["fake-engine", *LINES, ""]).encode()
CALLS, ROUNDS = 200, 15
BAR = 20.0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        make_fakes(Path(folder))
        began = time.perf_counter()
        make_extension(Path(folder), optimise="-O2")
        built = time.perf_counter() - began
        fakes = open_fakes(Path(folder))
        extension = fakes.extension
        device = extension.Device(extension.Cuda([fakes.driver]), 0)
        engine = extension.Engine(extension.TensorRt([fakes.nvinfer], [fakes.parser]), device, BLOB)
        stream = extension.Stream(device)
        # Small rows: the fake's GPU is this host, and its work is no part of a call.
        pixels = device.array((64, 3, 8, 8), "uint8")
        arrays = [device.array((64, width), "float32") for width in (1152, 40)]
        outputs = [array.address for array in arrays]
        engine.prepare(64)
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(CALLS):
                engine.run(pixels.address, 64, outputs, stream.handle)
            seconds.append((time.perf_counter() - began) / CALLS)
            stream.synchronize()
    median = statistics.median(seconds) * 1e6
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{median:.1f} us a call of batch 64 (median of {ROUNDS} rounds of {CALLS}); bar {BAR:.0f} us")
    print(f"{built:.0f} s to build the extension by setup.py ({compiler}); bar 60 s")
    return 0 if median <= BAR and built <= 60 else 1


if __name__ == "__main__":
    sys.exit(main())
