"""Compiles every kernel for every supported GPU without a GPU. It refuses spills, too much shared memory, a known race.

    python -m emonet_fast.kernels.aot [--capability 90 ...] [--kernel heads ...]

Each kernel file has `variants(capability) -> list[Variant]`: what its launcher would compile for that GPU, by the same
function that configures the launch. Compiling needs no GPU, only Triton's own ptxas. A kernel that spills still gives
right results, only slowly, and shared memory above the limit fails at the first launch: neither would show in tests
that run on a CPU. Not under TRITON_INTERPRET=1, which replaces the kernels by functions that cannot be compiled.
"""

import argparse
import importlib
import multiprocessing
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from emonet_fast.errors import BackendError

from .races import refilled_operands

CAPABILITIES = (80, 86, 89, 90, 100, 120)

# The most shared memory that one block may ask for (opt-in), in KiB: CUDA C++ Programming Guide, table "Technical
# Specifications per Compute Capability".
SHARED_LIMIT_KIB = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

# Columns of tensor memory of a multiprocessor of capability 10.0.
TENSOR_MEMORY_COLUMNS = 512


@dataclass(frozen=True)
class Launch:
    """A kernel's compile-time arguments, and the compiler's options."""

    constants: Mapping[str, Any]
    num_warps: int
    num_stages: int = 1

    @property
    def options(self) -> dict[str, int | bool]:
        """The compiler's options, as keyword arguments of a launch."""
        # Triton 3.9 warns where enable_fp_fusion is left out, and 3.10 changes its default.
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, "enable_fp_fusion": True}

    @property
    def keywords(self) -> dict[str, Any]:
        """All keyword arguments of a launch."""
        return {**self.constants, **self.options}


@dataclass(frozen=True)
class Variant:
    """One specialisation of a kernel, as the launcher would have it compiled."""

    name: str  # tells it from the kernel's other variants, such as 'large b64 bf16'
    kernel: Any  # the function decorated with `triton.jit`
    types: Mapping[str, str]  # of the runtime arguments: '*bf16', 'i32', 'fp32'
    launch: Launch
    fixed: Mapping[str, Any] = field(default_factory=dict)  # runtime arguments that are None or 1 at every launch

    @property
    def constants(self) -> dict[str, Any]:
        """The value of every argument that is known when the kernel is compiled."""
        return {**self.fixed, **self.launch.constants}

    @property
    def signature(self) -> dict[str, str]:
        """Every argument, in order, with its type."""
        constants = self.constants
        return {name: "constexpr" if name in constants else self.types[name] for name in self.kernel.arg_names}

    @property
    def attributes(self) -> dict[tuple[int, ...], list[list[Any]]]:
        """What the JIT would find out about the runtime pointers and integers, by position.

        All are divisible by 16, but for those that the kernel does not let it look at. It never looks at floats.
        """
        known: dict[tuple[int, ...], list[list[Any]]] = {}
        for position, (name, kind) in enumerate(self.signature.items()):
            if kind != "constexpr" and kind[0] in "*iu":
                unseen = name in self.kernel.do_not_specialize
                known[(position,)] = [] if unseen else [["tt.divisibility", 16]]
        return known

    @property
    def minimum(self) -> int:
        """The lowest capability that it can be compiled for; FP8 (e4m3) needs 89."""
        return 89 if "*fp8e4nv" in self.signature.values() else 80


@dataclass(frozen=True)
class Resources:
    """What one compiled kernel takes of a multiprocessor."""

    registers: int  # per thread, at entry; a warp-specialised kernel gives some away later
    spill_bytes: int  # stack and local memory per thread: 0 unless registers ran out (or a kernel indexes an array)
    shared_bytes: int  # per block
    tensor_columns: int  # of tensor memory (capability 10.0 only)
    races: tuple[str, ...]  # shared memory that is refilled while wgmma may still read it: see `races.py`
    seconds: float  # to compile, near 0 where Triton's cache held it

    def faults(self, capability: int) -> list[str]:
        """Why this must not be shipped; empty for a sound kernel."""
        texts = []
        if self.spill_bytes:
            texts.append(f"spills {self.spill_bytes} B")
        limit = SHARED_LIMIT_KIB[capability] * 1024
        if self.shared_bytes > limit:
            texts.append(f"shared memory above {limit} B")
        if self.tensor_columns > TENSOR_MEMORY_COLUMNS:
            texts.append(f"tensor memory above {TENSOR_MEMORY_COLUMNS} columns")
        if self.races:
            texts.append(f"race: wgmma reads {', '.join(self.races)} while it is refilled")
        return texts


def refuse_interpreter() -> None:
    """Raises BackendError when TRITON_INTERPRET=1 has replaced the kernels, so that they cannot be compiled."""
    if knobs.runtime.interpret:
        raise BackendError(
            "the kernels were loaded for Triton's interpreter (TRITON_INTERPRET=1) and cannot be compiled: "
            "run this in a process of its own without that variable"
        )


def compile_variant(variant: Variant, capability: int) -> Resources:
    """Compile one variant for one GPU and read what it takes. Raises what Triton or ptxas raises, or BackendError."""
    source = ASTSource(variant.kernel, variant.signature, variant.constants, variant.attributes)
    start = time.perf_counter()
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=variant.launch.options)
    seconds = time.perf_counter() - start
    # The cuobjdump that comes with Triton reads the cubin.
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        text = subprocess.check_output([knobs.nvidia.cuobjdump.path, "-res-usage", cubin], text=True)  # noqa: S603
    usage = {key: [int(n) for n in re.findall(rf"\b{key}:(\d+)", text)] for key in ("REG", "STACK", "LOCAL")}
    if not all(usage.values()):
        raise BackendError(f"cuobjdump's report has another form than expected: {text!r}")
    return Resources(
        registers=max(usage["REG"]),
        spill_bytes=max(usage["STACK"]) + max(usage["LOCAL"]),
        # Triton asks for all of it at launch. The cubin's own SHARED is 0, or from 9.0 on the 1024 bytes that the
        # hardware keeps for itself in every block and that the limits have already been reduced by.
        shared_bytes=compiled.metadata.shared,
        tensor_columns=getattr(compiled.metadata, "tmem_size", None) or 0,
        races=tuple(refilled_operands(compiled.asm["ttgir"])),
        seconds=seconds,
    )


def kernel_files() -> list[str]:
    """Names of this package's modules that have kernels."""
    package = importlib.import_module("emonet_fast.kernels")
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "aot")
    return [name for name in names if hasattr(_module(name), "variants")]


def _module(name: str) -> Any:
    return importlib.import_module(f"emonet_fast.kernels.{name}")


@dataclass(frozen=True)
class Row:
    """One line of the table. It has plain values, so that it can come from another process."""

    file: str
    kernel: str
    variant: str
    capability: int
    resources: Resources | None
    faults: list[str]


def judge(file: str, variant: Variant, capability: int) -> Row:
    """Compile one variant. A failure to compile is a fault like any other."""
    name = variant.kernel.__name__
    try:
        resources = compile_variant(variant, capability)
    except Exception as error:  # every kind of compiler failure belongs into the table, beside the others
        return Row(file, name, variant.name, capability, None, [f"{type(error).__name__}: {error}"])
    return Row(file, name, variant.name, capability, resources, resources.faults(capability))


def check(file: str, capability: int, index: int) -> Row:
    """Compile variant `index` of one kernel file, in a worker: kernels themselves cannot be sent to it."""
    return judge(file, _module(file).variants(capability)[index], capability)


def check_all(files: list[str], capabilities: list[int], jobs: int) -> Iterator[Row]:
    """Compile everything, in the order of files, capabilities and variants."""
    work = [
        (file, capability, index)
        for file in files
        for capability in capabilities
        for index, variant in enumerate(_module(file).variants(capability))
        if capability >= variant.minimum
    ]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(check, *zip(*work, strict=True)) if work else ()


def _line(row: Row) -> str:
    numbers = "     -      -       -      -"
    if r := row.resources:
        numbers = f"{r.registers:6} {r.spill_bytes:6} {r.shared_bytes:7} {r.seconds:6.1f}"
    return f"{row.kernel:28} {row.variant:34} {row.capability:4} {numbers}  {'; '.join(row.faults) or 'ok'}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command: 0 where every variant is sound, 1 where one is not, 2 where nothing could be compiled."""
    first_line = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m emonet_fast.kernels.aot", description=first_line)
    parser.add_argument("--capability", type=int, nargs="+", default=list(CAPABILITIES), choices=CAPABILITIES)
    parser.add_argument("--kernel", nargs="+", help="kernel files, such as heads; default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    try:
        refuse_interpreter()
    except BackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    files = kernel_files()
    if unknown := set(options.kernel or files) - set(files):
        print(f"error: no kernel file {', '.join(sorted(unknown))}; there are {', '.join(files)}", file=sys.stderr)
        return 2
    start, rows = time.perf_counter(), []
    print(f"Triton {triton.__version__}")
    print(f"{'kernel':28} {'variant':34} arch   regs spill B  shared seconds")
    for row in check_all(options.kernel or files, options.capability, options.jobs):
        rows.append(row)
        print(_line(row), flush=True)
    bad = sum(bool(row.faults) for row in rows)
    print(f"{len(rows)} compiled in {time.perf_counter() - start:.0f} s, {bad} with faults")
    return 1 if bad else 0 if rows else 2


if __name__ == "__main__":
    # Run as a script this file is `__main__`: the workers and the kernel files know it by its real name.
    from emonet_fast.kernels import aot

    sys.exit(aot.main())
