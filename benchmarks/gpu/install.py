"""Puts this checkout's package into a folder, where `emonet_fast.kernels` is in its place; no network, nothing else.

By pip and setuptools, as a user's `pip install --no-deps --no-build-isolation .` does. Where setuptools is missing or
older than pyproject.toml asks for (77: it then refuses the licence field), the two folders are copied instead.
"""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fault() -> str:
    """Why setuptools cannot build the package here, or ""."""
    asked = re.search(r"setuptools>=(\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    lowest = int(asked.group(1)) if asked else 0
    try:
        found = version("setuptools")
    except PackageNotFoundError:
        return f"setuptools is not installed; pyproject.toml asks for {lowest} or newer"
    if int(found.split(".")[0]) < lowest:
        return f"setuptools {found} is installed; pyproject.toml asks for {lowest} or newer"
    return ""


def install(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # files of an older build would come along
    why = fault()
    if not why:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", target, ROOT], check=True)
        return
    print(f"gpu-check: {why}: the package is copied to {target.name}/ instead of built", file=sys.stderr)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "emonet_fast", target / "emonet_fast", ignore=ignored)
    shutil.copytree(ROOT / "kernels", target / "emonet_fast" / "kernels", ignore=ignored)


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve())
