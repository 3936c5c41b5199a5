"""int8 on the CPU beside the published pipeline, in turns: `make bench-int8`.

    python -m benchmarks.int8 [--checkpoint C] [--recipe RECIPE ...] [--nncf PYTHON] [--without-bf16] [--proof 64]

Each side is a process of its own, so that its memory is its own; one works while the others wait. An image is a JPEG
of 1024 x 1024 in memory, and its raw scores. `int8, naive` rounds to nearest by the largest inputs of --calibration
pictures; it is there for the speed, and for what fidelity costs without care. --nncf is the Python of an environment
with nncf and this package's dependencies: its default quantisation of the same tower, by as many pictures.

--without-bf16 stands in for a processor without bf16: oneDNN is told that AVX-512 VNNI is all there is, and the engines
then keep float parts in float32. --proof compares so many other pictures with float32, and takes 7 s for each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measurements
from benchmarks.run import FULL
from benchmarks.run import checkpoint as untrained
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.fidelity import measure
from emonet_fast.options import default_cache_dir
from emonet_fast.taxonomy import find

ROOT = Path(__file__).parents[1]
_NO_BF16 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}


@dataclass
class Side:
    """One process that scores what it is told to. Commands and answers are lines."""

    name: str
    process: subprocess.Popen[str]
    opened: dict[str, Any]

    @property
    def label(self) -> str:
        """The name, of a recipe its file's."""
        return f"int8, {Path(self.name[5:]).stem}" if self.name.startswith("int8:") else self.name

    def ask(self, *words: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return answer(self.process)


def answer(process: subprocess.Popen[str]) -> Any:
    """The next line of JSON; libraries print others."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"a side ended (status {process.wait()}): {' '.join(map(str, process.args))}")


def opened(name: str, python: str, packed: Path, folder: Path, options: argparse.Namespace) -> Side:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(_NO_BF16 if options.without_bf16 else {})}
    command = [python, "-m", "benchmarks.int8_side", name, str(packed.resolve()), str(folder)]
    command.append(str(options.calibration))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, **pipes)
    return Side(name, process, answer(process))


def turns(sides: Sequence[Side], rounds: int, files: int) -> dict[str, list[float]]:
    """Seconds of every side in every round; the first round is warm-up."""
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            took = side.ask("score", number % files)["seconds"]
            if number:
                seconds[side.name].append(took)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="with the Large heads (an untrained one is made)")
    parser.add_argument("--recipe", type=Path, nargs="*", default=[], help="int8 recipes of `emonet-fast calibrate`")
    parser.add_argument("--nncf", help="Python of an environment with nncf")
    parser.add_argument("--rounds", type=int, default=7, help="0 measures no speed")
    parser.add_argument("--calibration", type=int, default=12, help="pictures for `int8, naive` and for nncf")
    parser.add_argument("--without-bf16", action="store_true")
    parser.add_argument("--proof", type=int, default=0, help="pictures that are compared with float32")
    parser.add_argument("--keep", action="store_true", help="write the figures into the table of results")
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.checkpoint or str(untrained("large", FULL)), default_cache_dir())
    names = ["published"] if options.rounds else []
    names += ["fp32", *([] if options.without_bf16 else ["bf16"]), "int8, naive"]
    names += [f"int8:{path.resolve()}" for path in options.recipe]
    sides: list[Side] = []
    with tempfile.TemporaryDirectory(prefix="emonet-fast-bench-") as name:
        folder = Path(name)
        files = write_pictures(folder)
        try:
            for name in names:
                sides.append(opened(name, sys.executable, checkpoint.path, folder, options))
            if options.nncf:
                sides.append(opened("nncf", options.nncf, checkpoint.path, folder, options))
            fast = speed(sides, options.rounds, files, options.without_bf16) if options.rounds else {}
            close = proof(sides, folder, options.proof, checkpoint) if options.proof else {}
        finally:
            for side in sides:
                side.process.kill()
    for case, value in (*fast.items(), *close.items()):
        print(f"{case}: {value['summary']}")
    if options.keep and fast:
        measurements.keep("int8", fast)
    if options.keep and close:
        measurements.keep("int8-proof", close)


def speed(sides: Sequence[Side], rounds: int, files: int, without_bf16: bool) -> dict[str, Any]:
    """Times and memory of every side, by the name of the case."""
    seconds = turns(sides, rounds, files)
    values = {}
    for side in sides:
        own, memory = seconds[side.name], side.ask("memory")
        factor = statistics.median(a / b for a, b in zip(seconds["published"], own, strict=True))
        text = f"{statistics.median(own):.3f} s/image, {factor:.2f}x, {memory['now']:.0f} MB"
        case = f"{side.label}{', without bf16' if without_bf16 else ''}"
        values[case] = {"summary": text, "seconds": own, "factor": factor, "memory_mb": memory, **side.opened}
    return values


def proof(sides: Sequence[Side], folder: Path, count: int, checkpoint: Checkpoint) -> dict[str, Any]:
    """How close our sides and nncf come to the float32 engine, and whether the gate would take them."""
    emotions = [i for i, slug in enumerate(checkpoint.names) if find(slug).is_emotion]
    ours = [side for side in sides if side.name != "published"]
    for side in ours:
        side.ask("proof", count)
    outputs = {side.name: np.load(folder / f"{side.name.replace('/', '_')}.npz") for side in ours}
    pairs = {name: (values["embedding"], values["raw"]) for name, values in outputs.items()}
    values = {}
    for side in ours[1:]:  # the first is float32
        found = measure(pairs["fp32"], pairs[side.name], emotions)
        text = f"RMS {found.rms_relative:.1%}, Spearman {found.spearman_min:.4f}, cosine {found.cosine_mean:.4f}"
        text += f", top-1 {found.top1_agreement:.3f}"
        values[side.label] = {"summary": text, "pictures": count, **asdict(found)}
    return values


def write_pictures(folder: Path, count: int = 4) -> int:
    """JPEGs as the other benchmarks have them."""
    from benchmarks.pictures import encoded, photograph

    for i in range(count):
        (folder / f"{i}.jpg").write_bytes(encoded(photograph(1024, 1024, i), quality=80))
    return count


if __name__ == "__main__":
    main()
