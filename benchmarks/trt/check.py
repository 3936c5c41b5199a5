"""The TensorRT engine on a GPU: `make trt-check`. Builds bf16 and FP8 engines and measures them beside the others.

Parts: engines (build, fidelity, which layers use FP8), throughput (in turns with the `cuda` backend and torch.compile),
latency at batch 1, start (a fresh process from the stored engine to its first score). Each is tried by itself, and the
results are written after each, to benchmarks/results/trt-<GPU>.json and .md. Needs TensorRT with its builder, our
extension (docs/tensorrt.md), PyTorch with CUDA and transformers; no network.

--dry runs the scripts on the fakes of tests/csrc (compiled for it, or those in a FOLDER where building.py has put
them): it proves them, measures nothing.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import emonet_fast

ROOT = Path(__file__).parents[2]

NEEDS = (
    "trt-check needs, in one environment: TensorRT with its builder and its headers (docs/tensorrt.md), g++, "
    "setuptools 77 or newer, pybind11, PyTorch with CUDA, Triton, transformers and this package's own dependencies; "
    "`make trt-check PYTHON=...` names its interpreter"
)
try:
    import torch
except ImportError as missing:
    sys.exit(f"trt-check: {missing}\n{NEEDS}")

from benchmarks.gpu.context import Context, Side, case, describe  # noqa: E402
from benchmarks.gpu.engines import flop_an_image, make_engine, random_batches, weight_sets  # noqa: E402
from benchmarks.gpu.published import Published  # noqa: E402
from emonet_fast.backends.tensorrt.backend import TensorRtBackend  # noqa: E402
from emonet_fast.backends.tensorrt.libraries import Libraries, find, open_native  # noqa: E402
from emonet_fast.checkpoint import open_checkpoint  # noqa: E402
from emonet_fast.errors import BackendError  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SCHEMA = 1
PRECISIONS = ("bf16", "fp8")
OWN_HEADS = "bf16, heads in the graph"
# Name, precision, what computes the heads.
ENGINES = (("bf16", "bf16", "auto"), ("fp8", "fp8", "auto"), (OWN_HEADS, "bf16", "graph"))
# Targets on one H200, images a second; seconds from a stored engine to the first score.
TARGETS = {"bf16": 1000.0, "fp8": 1400.0}
START_TARGET = 5.0
_START = """
import sys, time
began = time.perf_counter()
import numpy as np
from emonet_fast import Scorer
packed, cache, precision, batch = sys.argv[1:]
scorer = Scorer(packed, device="cuda", backend="tensorrt", precision=precision, batch_size=int(batch), cache_dir=cache)
scores = scorer([np.full((480, 640, 3), 127, np.uint8)])
assert np.isfinite(scores.raw).all()
print(time.perf_counter() - began)
"""


@dataclass
class Run:
    """What every part gets, and the results so far."""

    context: Context
    batch: int
    libraries: Libraries
    packed: Path
    parts: dict[str, Any] = field(default_factory=dict)
    backends: dict[str, TensorRtBackend] = field(default_factory=dict)


def engines(run: Run) -> dict[str, Any]:
    """Both engines, built and held to their gates; where Triton computes the heads, one with its own heads too."""
    found: dict[str, Any] = {}
    for name, precision, heads in ENGINES:
        if heads == "graph" and any(backend.heads == "graph" for backend in run.backends.values()):
            continue
        began = time.perf_counter()
        try:
            backend = TensorRtBackend(
                run.context.checkpoint,
                "cuda",
                precision,
                run.batch,
                run.context.cache,
                libraries=run.libraries,
                heads=heads,
            )
        except Exception as error:
            found[name] = {"failed": describe(error)}
            continue
        run.backends[name] = backend
        report = backend.report
        assert report is not None, "the cache of this run began empty"
        native = backend.runner.native
        found["tensorrt"], found["gpu"] = native.version, native.gpu.name
        found[name] = {
            "heads": backend.heads,
            "build_s": time.perf_counter() - began,
            "fidelity": {k: v for k, v in asdict(report.fidelity).items() if k != "spearman"},
            "spearman_min": report.fidelity.spearman_min,
            "keep": report.keep,
            "layers": report.precisions.text().splitlines(),
            "warnings": report.precisions.warnings(),
            "buffers_mb": backend.runner.engine.buffer_bytes / 1e6,
            "graphs": backend.runner.engine.captured(),
        }
    return found


def call(run: Run, backend: TensorRtBackend, pixels: Any) -> Callable[[], None]:
    """One batch from PyTorch's memory to scores on the GPU, on PyTorch's stream, heads included."""
    runner, context = backend.runner, run.context
    vision, n, device = context.checkpoint.vision, len(pixels), runner.native.device
    embedding = device.array((n, vision.hidden_size), "float32")
    raw = device.array((n, len(context.checkpoint.names)), "float32")
    done = runner.native.extension.Event(device)

    def once() -> None:
        stream = torch.cuda.current_stream(context.device).cuda_stream if context.cuda else 0
        runner.launch(pixels.data_ptr(), embedding, raw, stream)
        if not context.cuda:  # the fake is lazy, and these tensors do not live for ever
            done.record(stream)
            done.synchronize()

    return once


def sides(run: Run, batch: int) -> dict[str, Side]:
    """TensorRT's engines and ours of the `cuda` backend, on the same pictures."""
    context, inputs = run.context, random_batches(run.context, batch)
    found = {}
    for name, backend in run.backends.items():
        found[f"tensorrt {name}"] = Side(
            lambda backend=backend: [call(run, backend, x) for x in inputs], graph=False, images=batch
        )
    weights = weight_sets(context, *PRECISIONS) if context.cuda else weight_sets(context, "bf16")
    for precision in weights:
        engine = make_engine(context, weights[precision], precision, batch)
        found[f"cuda {precision}"] = Side(
            lambda engine=engine: [lambda x=x: engine.run(x) for x in inputs], graph=False, images=batch
        )
    return found


def throughput(run: Run) -> dict[str, Any]:
    """Pixels on the GPU to scores on the GPU, the largest batch, all sides in turns."""
    context, inputs = run.context, random_batches(run.context, run.batch)
    published = Published(context.checkpoint, context.device, torch.bfloat16)
    options: dict[str, Any] = {"backend": "eager"} if context.dry else {"mode": "max-autotune"}
    compiled = torch.compile(lambda x: published.stacked(published.normalised(x)), dynamic=False, **options)

    def reference() -> list[Any]:
        for x in inputs * 2:  # compiles, then records its own CUDA graph
            compiled(x)
        return [lambda x=x: compiled(x) for x in inputs]

    all_sides = sides(run, run.batch) | {"torch.compile bf16": Side(reference, graph=False, images=run.batch)}
    with torch.inference_mode():
        flop = run.batch * flop_an_image(context.checkpoint)
        rows = case(context, "throughput", f"batch {run.batch}", all_sides, flop=flop, rounds=9)
    return {"rows": rows}


def latency(run: Run) -> dict[str, Any]:
    """One picture that lies on the GPU."""
    with torch.inference_mode():
        return {"rows": case(run.context, "latency", "batch 1", sides(run, 1), rounds=40)}


def start(run: Run) -> dict[str, Any]:
    """Seconds from a fresh interpreter's first line to the first score, engine and packed weights stored."""
    if run.context.dry:
        return {"skipped": "a fresh process would not find the fakes"}
    found: dict[str, Any] = {}
    for precision in (name for name in run.backends if name in PRECISIONS):
        command = [sys.executable, "-c", _START, str(run.packed), str(run.context.cache), precision, str(run.batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = re.search(r"[\d.]+\s*$", done.stdout)
        found[precision] = float(seconds[0]) if done.returncode == 0 and seconds else {"failed": done.stderr[-300:]}
    return found


PARTS: tuple[Callable[[Run], dict[str, Any]], ...] = (engines, throughput, latency, start)


def table(doc: dict[str, Any]) -> str:
    """The results for people."""
    parts = doc["parts"]
    made = parts.get("engines", {})
    lines = [f"TensorRT {made.get('tensorrt', '?')} on {made.get('gpu', '?')}, emonet-fast {doc['emonet_fast']}, "]
    lines[0] += f"batch {doc['batch']}, {doc['layers']} layers, synthetic weights" + (", DRY RUN" if doc["dry"] else "")
    lines += [
        "",
        "| engine | heads | build | cosine min | score error max / RMS | Spearman min | layers in bf16 | warnings |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in (name for name, _, _ in ENGINES if name in made or name in PRECISIONS):
        one = made.get(name, {"failed": "not tried"})
        if "failed" in one:
            lines.append(f"| {name} |  | failed: {one['failed']} |  |  |  |  |  |")
            continue
        f = one["fidelity"]
        lines.append(
            f"| {name} | {one['heads']} | {one['build_s']:.0f} s | {f['cosine_min']:.6f} | {f['max_error']:.3f} / "
            f"{f['rms_error']:.4f} | {one['spearman_min']:.5f} | {len(one['keep'])} | {len(one['warnings'])} |"
        )
    lines += ["", "| what | side | ms | images/s | target (H200) |", "|---|---|---|---|---|"]
    for part in ("throughput", "latency"):
        for row in parts.get(part, {}).get("rows", []):
            lines.append(_row(row, part))
    for precision, seconds in parts.get("start", {}).items():
        if isinstance(seconds, float):
            lines.append(f"| stored engine to first score | tensorrt {precision} | {1e3 * seconds:.0f} |  | 5000 ms |")
    return "\n".join(lines) + "\n"


def _row(row: dict[str, Any], part: str) -> str:
    if "failed" in row:
        return f"| {part}, {row['shape']} | {row['side']} | failed: {row['failed']} |  |  |"
    backend, _, precision = row["side"].partition(" ")
    aimed = part == "throughput" and backend == "tensorrt" and precision in TARGETS
    target = f"{TARGETS[precision]:.0f}" if aimed else ""
    speed = row.get("images_per_second", float("nan"))
    median = row["ms"].get("median", float("nan"))
    return f"| {part}, {row['shape']} | {row['side']} | {median:.3f} | {speed:.0f} | {target} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", nargs="?", const=Path(), type=Path, metavar="FOLDER", help="of the fakes")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--layers", type=int, default=27, help="of the synthetic checkpoint (%(default)s)")
    parser.add_argument("--results", type=Path, help="folder of the two files")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emonet-fast-trt-check-") as name:
        return check(asked, Path(name))


def check(asked: argparse.Namespace, folder: Path) -> int:
    dry = asked.dry is not None
    device = torch.device("cpu" if dry else "cuda")
    try:
        run = prepared(asked, folder, device)
    except BackendError as error:
        print(f"trt-check: {error}\n{NEEDS}", file=sys.stderr)
        return 1
    doc = {
        "schema": SCHEMA,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "emonet_fast": emonet_fast.__version__,
        "torch": str(torch.__version__),
        "dry": dry,
        "batch": run.batch,
        "layers": run.context.checkpoint.vision.num_hidden_layers,
        "parts": run.parts,
    }
    results = asked.results or (ROOT / "build" / "trt-check" if dry else RESULTS)
    results.mkdir(parents=True, exist_ok=True)
    failed = False
    for part in PARTS:
        print(f"{part.__name__} ...", flush=True)
        try:
            run.parts[part.__name__] = part(run)
        except Exception as error:
            run.parts[part.__name__] = {"failed": describe(error)}
        failed = failed or "failed" in json.dumps(run.parts[part.__name__])
        gpu = re.sub(r"[^A-Za-z0-9]+", "-", str(run.parts.get("engines", {}).get("gpu", "none"))).strip("-").lower()
        (results / f"trt-{gpu}.json").write_text(json.dumps(doc, indent=1) + "\n")
        (results / f"trt-{gpu}.md").write_text(table(doc))
    print(table(doc))
    return int(failed)


def prepared(asked: argparse.Namespace, folder: Path, device: torch.device) -> Run:
    """The checkpoint and what stands for TensorRT."""
    from emonet_fast.testing.synthetic import write_synthetic

    cache = folder / "cache"
    if asked.dry is None:
        libraries, batch = find(), asked.batch
        open_native(libraries, "cuda")  # says what is missing before a checkpoint of 4 GB is written
        write_synthetic(folder / "published", heads="large", layers=asked.layers)
        checkpoint = open_checkpoint(folder / "published", cache)
    else:
        checkpoint, libraries = dry_parts(asked.dry if asked.dry.name else made_fakes(folder / "fakes"), folder)
        batch = 2
    context = Context(device, asked.dry is not None, cache, checkpoint, checkpoint)
    return Run(context, batch, libraries, checkpoint.path)


def made_fakes(folder: Path) -> Path:
    """The fakes and the extension against them, compiled into `folder`."""
    from tests.csrc.building import make_extension, make_fakes

    print("compiling the fakes ...", flush=True)
    folder.mkdir()
    make_fakes(folder)
    make_extension(folder)
    return folder


def dry_parts(fakes_folder: Path, folder: Path) -> tuple[Any, Libraries]:
    """A tiny checkpoint, and fakes that answer as the float32 network does."""
    from emonet_fast.backends.openvino.observe import observe
    from emonet_fast.engines.pictures import generated_pixels
    from tests.csrc.building import open_fakes
    from tests.tiny import write_tiny

    checkpoint = open_checkpoint(write_tiny(folder / "published", widths=(144, 24, 12, 1)), folder / "cache")
    fakes = open_fakes(fakes_folder)
    pixels = generated_pixels(checkpoint, 64, 0)
    seen = observe(checkpoint, pixels)
    for row, embedding, raw in zip(pixels, seen.embedding, seen.raw, strict=True):
        fakes.answer(*(np.ascontiguousarray(part) for part in (row, embedding, raw)))
    return checkpoint, Libraries(fakes.extension, (fakes.driver,), (fakes.nvinfer,), (fakes.parser,))


if __name__ == "__main__":
    sys.exit(main())
