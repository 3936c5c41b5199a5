"""Copies this checkout's sources into one folder, where `emonet_fast/kernels` is in its place: nothing is installed.

Whatever starts there (`python -m` puts its folder first on the path) finds the whole package, and so do the programs
that tests start with the root as their folder. No path has to be set, no network and no setuptools is needed.

`python benchmarks/gpu/install.py TREE` makes it anew; with further arguments, Python is run there with these.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("benchmarks", "csrc", "emonet_fast", "kernels", "tests", "pyproject.toml", "setup.py", "README.md", "LICENSE")


def install(tree: Path) -> None:
    """Make `tree` anew."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(ROOT / name, tree / name)
    (tree / "emonet_fast" / "kernels").symlink_to(Path("..") / "kernels")


if __name__ == "__main__":
    folder, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    if arguments:
        sys.exit(subprocess.run([sys.executable, *arguments], cwd=folder, check=False).returncode)
    install(folder)
