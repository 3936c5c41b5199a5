"""The source archive and the wheel built from it: their contents, and a new user's environment without extras."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from release import trial

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folder with both. The wheel is made from the archive, which so has all that a build needs."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # setuptools takes along what an older build left there
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(packages):
    return next(packages.glob("*.whl"))


def test_the_archive_holds_sources_alone(packages):
    """Tests need what no archive has: benchmarks, pages, pictures."""
    with tarfile.open(next(packages.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "setup.py", "csrc/tensorrt/engine.h", "kernels/attention.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "release", "docs", "examples"))]


def test_top_level_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"emonet_fast"}
    assert "emonet_fast/py.typed" in names
    assert {f"emonet_fast/reports/{n}.html" for n in ("base", "parts", "pictures", "timeline")} <= set(names)
    assert "emonet_fast/bulk/report/page.html" in names
    assert "emonet_fast/evaluate/report.html" in names
    # A wheel without TensorRT's extension serves any machine.
    extension = any(name.startswith("emonet_fast/_tensorrt.") for name in names)
    assert wheel.name.endswith("-py3-none-any.whl") != extension


def test_wheel_holds_every_module(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.endswith(".py")}
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "emonet_fast").rglob("*.py")}
    kernels = {f"emonet_fast/kernels/{p.name}" for p in (ROOT / "kernels").glob("*.py")}
    assert inside == ours | kernels


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """An environment with the wheel and its default dependencies only."""
    folder = tmp_path_factory.mktemp("bare")
    python = trial.environment(folder)
    try:
        trial.install(python, wheel, folder, alone=False)
    except trial.TrialError as error:
        pytest.skip(f"the default dependencies cannot be installed here: {str(error)[-300:]}")
    return python


def in_bare(python, *arguments):
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bare_environment_has_no_torch_and_scores(bare, published_small, tmp_path):
    """Nobody's PyTorch: a picture scored from a checkpoint in the published layout, by the installed command."""
    extras = ("torch", "transformers", "pandas", "scipy", "matplotlib", "nvidia")
    code = f"import importlib.util as u; print(*[n for n in {extras} if u.find_spec(n)])"
    assert in_bare(bare, "-c", code).strip() == ""
    assert len(trial.score(bare, tmp_path, published_small)) == 44


def test_bare_environment_is_small(bare):
    """At most 560 MB of site-packages, pip and all."""
    code = (
        "import sysconfig, pathlib; p = pathlib.Path(sysconfig.get_path('purelib'))\n"
        "print(sum(f.lstat().st_size for f in p.rglob('*') if f.is_file()))"
    )
    assert int(in_bare(bare, "-c", code)) < 560e6


def test_dali_by_name_names_its_extra(bare, published_small):
    command = [bare.with_name("emonet-fast"), "score", "x", "-c", published_small, "--decoder", "dali"]
    (bare.parent / "x").write_bytes(b"no picture")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=bare.parent)
    assert done.returncode == 2
    assert "pip install 'emonet-fast[dali]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_extra_is_named(bare, published_small):
    command = [bare.with_name("emonet-fast"), "verify", "-c", published_small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'emonet-fast[reference]'" in done.stderr
    assert "Traceback" not in done.stderr
