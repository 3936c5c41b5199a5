"""Runs an exported model in the runtimes that are here, and compares its outputs with those stored beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BackendError, DataError
from ..files import is_file, is_folder
from ..optional import available, import_onnxruntime, openvino_core
from ..records import Float32Array
from ..sources.folder import hash_of
from .expected import Expected, Progress, lowest_cosine, read_expected
from .run import CHECK, MODEL

Array = npt.NDArray[Any]
Run = Callable[[Array], Mapping[str, Float32Array]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What one runtime made of a model.

    Args:
        runtime: its name, with the version.
        error: the largest difference of a score; None where there was none to compare.
        cosine: the lowest cosine of two embeddings; None likewise.
        passed: whether both are within the tolerances; None where it was not run.
        why: it was not run, or what it said when it failed.
    """

    runtime: str
    error: float | None = None
    cosine: float | None = None
    passed: bool | None = None
    why: str = ""

    def text(self) -> str:
        """One line."""
        if self.error is None and self.cosine is None:
            return f"{self.runtime}: {'FAILS' if self.passed is False else 'not run'}, {self.why}"
        figures = [] if self.error is None else [f"largest error of a score {self.error:.2g}"]
        figures += [] if self.cosine is None else [f"lowest cosine of an embedding {self.cosine:.7f}"]
        return f"{self.runtime}: {'within tolerance' if self.passed else 'FAILS'}, {', '.join(figures)}"


def check(path: Path, progress: Progress = lambda *_: None) -> tuple[Expected, tuple[Checked, ...]]:
    """Run a model, a file or a folder that `export` wrote, on the input stored beside it.

    progress: told the runtime, and how many pictures of how many it has run.

    Returns what is expected, and what each runtime made of it. Raises DataError where the check is missing or damaged,
    or the files are not those that were written with it.
    """
    model = path / MODEL if is_folder(path) else path
    if not is_file(model):
        raise DataError(f"{path} is no exported model: there is no file {model}")
    beside = model.with_name(f"model{CHECK}") if model.name == MODEL else model.with_name(model.name + CHECK)
    expected = read_expected(beside)
    for name, recorded in expected.about["files"].items():
        file = model.with_name(Path(name).name)
        try:
            found = hash_of(file)
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror or error}); it is a part of {path}") from None
        if found != recorded:
            raise DataError(
                f"{file} is not the file that was written with {beside.name}: its SHA-256 is {found}, expected "
                f"{recorded}. Export the model again, or get it again."
            )
    return expected, (_onnxruntime(model, expected, progress), _openvino(model, expected, progress))


def _onnxruntime(model: Path, expected: Expected, progress: Progress) -> Checked:
    if model.name == MODEL:
        return Checked("ONNX Runtime", why="which does not read OpenVINO's format")
    if not available("onnxruntime"):
        return Checked("ONNX Runtime", why="the package onnxruntime is not installed")
    ort = import_onnxruntime()

    def opened() -> Run:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = list(expected.outputs)
        return lambda x: dict(zip(names, session.run(names, {"pixels": x}), strict=True))

    return _compared(f"ONNX Runtime {ort.__version__}", opened, expected, progress)


def _openvino(model: Path, expected: Expected, progress: Progress) -> Checked:
    from ..optional import import_openvino

    version = import_openvino().get_version().partition("-")[0]

    def opened() -> Run:
        # float32: by itself a CPU with bf16 would compute in it
        compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda x: {name: compiled({"pixels": x})[name].copy() for name in expected.outputs}

    return _compared(f"OpenVINO {version}", opened, expected, progress)


def _compared(runtime: str, opened: Callable[[], Run], expected: Expected, progress: Progress) -> Checked:
    pictures, parts = len(expected.pixels), []
    progress(runtime, 0, pictures)
    try:
        run = opened()
        for batch in _batches(expected.pixels, expected.rows):
            parts.append(run(batch))
            progress(runtime, min(len(parts) * expected.rows, pictures), pictures)
    except Exception as fault:  # whatever a runtime says of a model that it does not take
        return Checked(runtime, passed=False, why=f"{type(fault).__name__}: {str(fault).strip()[:500]}")
    got = {name: np.concatenate([part[name] for part in parts])[: len(expected.pixels)] for name in expected.outputs}
    for name, want in expected.outputs.items():
        if got[name].shape != want.shape:
            return Checked(runtime, passed=False, why=f"{name} is {got[name].shape}, expected {want.shape}")
    apart = [np.abs(got[name] - want).max() for name, want in expected.outputs.items() if name != "embedding"]
    error = float(np.max(apart)) if apart else None  # NaN where one is not finite
    cosine = lowest_cosine(got["embedding"], expected.outputs["embedding"]) if "embedding" in got else None
    limits = expected.about["tolerances"]
    passed = (error is None or error <= limits["error"]) and (cosine is None or cosine >= limits["cosine"])
    return Checked(runtime, error, cosine, passed)


def _batches(pixels: Array, rows: int) -> list[Array]:
    """Batches of so many rows; the last one is filled up with the first pictures."""
    short = -len(pixels) % rows
    filled = np.concatenate([pixels, np.resize(pixels, (short, *pixels.shape[1:]))]) if short else pixels
    return [np.ascontiguousarray(filled[i : i + rows]) for i in range(0, len(filled), rows)]


def summary(expected: Expected) -> str:
    """What a model was held to, in one line."""
    limits = expected.about["tolerances"]
    return (
        f"held to the float32 network on {len(expected.pixels)} pictures: scores within {limits['error']:.2g}, "
        f"cosine of embeddings {limits['cosine']:.6f} or more"
    )


def check_ran(results: tuple[Checked, ...]) -> bool:
    """Whether all that ran passed. Raises BackendError where nothing could run it."""
    ran = [result.passed for result in results if result.passed is not None]
    if not ran:
        raise BackendError("no runtime that is installed reads this model; install onnxruntime")
    return all(ran)
