"""The built wheel: its contents, and a new user's environment with it and no extras."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # setuptools takes along what an older build left there
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


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
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", str(wheel)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"the default dependencies cannot be installed here: {done.stderr[-300:]}")
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
    in_bare(
        bare,
        "-c",
        "from PIL import Image; Image.new('RGB', (64, 48), 'red').save(r'%s')" % (tmp_path / "red.png"),
    )
    command = [bare.with_name("emonet-fast"), "score", tmp_path / "red.png", "-c", published_small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("1 picture: 1 scored as a whole")


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
