"""The compile check (`make compile-check` runs it for every GPU): what passes is what is launched, and it can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

from emonet_fast.kernels.aot import SHARED_LIMIT_KIB, Launch, Resources, Variant, main, refuse_interpreter
from emonet_fast.kernels.races import refilled_operands

from emonet_fast.errors import BackendError

ROOT = Path(__file__).parents[2]


def python(*arguments: str, interpreter: bool = False) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own: in this one the kernels may have been loaded for the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    if interpreter:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_what_is_compiled_is_what_is_launched():
    done = python("-m", "tests.kernels.launched")
    assert done.returncode == 0, done.stdout + done.stderr


# One process for all: to import Triton costs more than to compile these.
TOYS = """
import contextlib, io, json
from emonet_fast.kernels import aot
from tests.kernels.toys import toys
variants = toys()
faults = {expected: aot.judge("toys", variant, 90).faults for expected, variant in variants.items()}
status = {}
for names in ("sound", "sound race", "Error", ""):
    aot.check_all = lambda files, capabilities, jobs: (aot.judge("toys", variants[n], 90) for n in names.split())
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status[names] = aot.main([])
print(json.dumps([faults, status]))
"""


@pytest.fixture(scope="module")
def judged():
    done = python("-c", TOYS)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_faults_are_found(judged):
    found = judged[0]
    assert list(found) == ["sound", "spills", "shared memory above", "race", "Error"]
    assert found.pop("sound") == []
    for expected, faults in found.items():
        assert expected in " ".join(faults)


def test_exit_status(judged):
    assert judged[1] == {"sound": 0, "sound race": 1, "Error": 1, "": 2}


def test_interpreter_is_refused():
    done = python("-m", "emonet_fast.kernels.aot", interpreter=True)
    assert done.returncode == 2
    assert "TRITON_INTERPRET" in done.stderr


def test_unknown_kernel_is_refused():
    done = python("-m", "emonet_fast.kernels.aot", "--kernel", "haeds")
    assert done.returncode == 2
    assert "haeds" in done.stderr
    assert "heads" in done.stderr


def kernel(x, size, count, N):
    """Stands for a Triton function, of which a variant asks two attributes only."""


kernel.arg_names = ["x", "size", "count", "N"]
kernel.do_not_specialize = ["count"]


def test_a_variant_describes_every_argument():
    types = {"size": "i32", "count": "i32", "x": "*fp8e4nv"}
    variant = Variant("toy", kernel, types, Launch({"N": 1}, 4))
    assert list(variant.signature.items()) == [("x", "*fp8e4nv"), ("size", "i32"), ("count", "i32"), ("N", "constexpr")]
    assert variant.attributes == {(0,): [["tt.divisibility", 16]], (1,): [["tt.divisibility", 16]], (2,): []}
    assert variant.minimum == 89
    absent = Variant("toy", kernel, types, Launch({"N": 1}, 4), {"x": None})
    assert absent.constants == {"x": None, "N": 1}
    assert absent.signature["x"] == "constexpr"
    assert absent.minimum == 80
    with pytest.raises(KeyError, match="count"):
        _ = Variant("toy", kernel, {"x": "*bf16", "size": "i32"}, Launch({"N": 1}, 4)).signature


@pytest.mark.parametrize(("capability", "kib"), SHARED_LIMIT_KIB.items())
def test_limit_of_shared_memory(capability, kib):
    fits = Resources(255, 0, kib * 1024, 512, (), 1.0)
    assert not fits.faults(capability)
    assert len(Resources(255, 4, kib * 1024 + 1, 513, ("%a",), 1.0).faults(capability)) == 4


LOOP = """
  %a = ttg.local_alloc : () -> !ttg.memdesc<{buffers}x64x64xbf16, #shared, #smem, mutable> loc(#loc)
  %v = ttg.memdesc_index %a[%c0] : !ttg.memdesc<64x64xbf16> loc(#loc)
  %t = ttg.async_copy_global_to_local %p, %v mask %m : tensor<64x64x!tt.ptr<bf16>> loc(#loc)
  %w = ttg.memdesc_index %a[%c1] : !ttg.memdesc<64x64xbf16> loc(#loc)
  %u = ttg.async_copy_global_to_local %p, %w mask %m : tensor<64x64x!tt.ptr<bf16>> loc(#loc)
  %r = scf.for %i = %c0 to %c9 step %c1 : i32 {{
    %x = ttg.memdesc_index %a[%i] : !ttg.memdesc<64x64xbf16> loc(#loc)
    %y = ttg.memdesc_trans %x {{order = array<i32: 1, 0>}} : !ttg.memdesc<64x64xbf16> loc(#loc)
    %d = ttng.warp_group_dot %q, %y, %e {{inputPrecision = 0 : i32{asynchronous}}} : tensor<64x64xbf16> loc(#loc)
    %f = ttng.warp_group_dot_wait %d, %y {{pendings = {pending} : i32}} : tensor<64x64xf32> loc(#loc)
    %s = ttg.async_copy_global_to_local %p, %x mask %m : tensor<64x64x!tt.ptr<bf16>> loc(#loc)
  }} loc(#loc)
"""


@pytest.mark.parametrize(
    ("buffers", "asynchronous", "pending", "found"),
    [
        (2, ", isAsync = true", 1, ["%a"]),
        (3, ", isAsync = true", 1, []),
        (2, ", isAsync = true", 0, []),
        (2, "", 1, []),
    ],
)
def test_refilled_operands(buffers, asynchronous, pending, found):
    assert refilled_operands(LOOP.format(buffers=buffers, asynchronous=asynchronous, pending=pending)) == found


@pytest.mark.skipif(not os.environ.get("TRITON_INTERPRET"), reason="the interpreter is off")
def test_interpreter_is_refused_in_the_same_process(capsys):
    with pytest.raises(BackendError, match="TRITON_INTERPRET"):
        refuse_interpreter()
    assert main([]) == 2
    assert "TRITON_INTERPRET" in capsys.readouterr().err
