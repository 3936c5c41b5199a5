"""Install packages in a fresh environment and score a picture there, with nothing of the checkout.

    python3.13 release/trial.py dist/emonet_fast-0.1.0-py3-none-any.whl [ANOTHER ...]

Needs nothing but Python, so that any Python tries them, one in a container or a chroot too. The first package comes
with its dependencies, each further one takes its place. The last line is JSON: the interpreter and the scores.
"""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# A row of colours and a ramp, so that the two layers of the checkpoint see something.
PICTURE = (
    "import sys; from PIL import Image; Image.linear_gradient('L').resize((96, 64)).convert('RGB').save(sys.argv[1])"
)
PLACE = "import emonet_fast; print(emonet_fast.__file__)"
EXTENSION = "import emonet_fast._tensorrt"


class TrialError(Exception):
    """A package that does not do what it should."""


def environment(folder: Path) -> Path:
    """A new virtual environment of the running Python with pip; its interpreter."""
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def run(python: Path, *command: object, home: Path) -> str:
    """The standard output of a command of the environment, which sees no other folder of this machine by its variables.

    Raises:
        TrialError: it failed.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "SYSTEMROOT"))}
    path = os.pathsep.join([str(python.parent), "/usr/bin", "/bin"])
    variables = {**kept, "PATH": path, "HOME": str(home), "EMONET_FAST_CACHE": str(home / "cache"), "LANG": "C.UTF-8"}
    done = subprocess.run(  # noqa: S603
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=home, env=variables
    )
    if done.returncode != 0:
        raise TrialError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def install(python: Path, package: Path, home: Path, *, alone: bool) -> None:
    """Install a package. alone: over another build of it, whose dependencies are there already."""
    how = ["--force-reinstall", "--no-deps"] if alone else []
    run(python, python, "-m", "pip", "install", "--quiet", *how, package, home=home)


def score(python: Path, home: Path, checkpoint: Path) -> list[float]:
    """The raw scores of one picture by the installed command.

    Raises:
        TrialError: they are not 40 finite numbers or more.
    """
    picture, table = home / "picture.png", home / "scores.csv"
    run(python, python, "-c", PICTURE, picture, home=home)
    command = python.with_name("emonet-fast")
    run(python, command, "score", picture, "--checkpoint", checkpoint, "--output", table, home=home)
    with table.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    table.unlink()
    raw = [float(value) for name, value in row.items() if name.startswith("raw_")]
    if len(raw) < 40 or not all(map(math.isfinite, raw)) or row["status"] != "ok":
        raise TrialError(f"expected a row of 40 finite scores or more, got {row}")
    return raw


def version_of(package: Path) -> str:
    """The version in the name of a wheel or of a source archive."""
    found = re.match(r"emonet_fast-([^-]+?)(-|\.tar\.gz$)", package.name)
    if found is None:
        raise TrialError(f"{package.name} is no wheel or source archive of emonet-fast")
    return found[1]


def trial(packages: list[Path], folder: Path) -> list[float]:
    """Install each package and try it; the scores, which are the same by all of them.

    Raises:
        TrialError: an installation, an import, a command or the scores fail.
    """
    python, home = environment(folder / "venv"), folder / "home"
    home.mkdir()
    command = python.with_name("emonet-fast")
    first: list[float] = []
    for package in packages:
        install(python, package, home, alone=bool(first))
        if not Path(run(python, python, "-c", PLACE, home=home).strip()).is_relative_to(folder.resolve()):
            raise TrialError("emonet_fast was imported from elsewhere")
        if version_of(package) not in run(python, command, "--version", home=home):
            raise TrialError(f"--version does not say {version_of(package)}")
        if "score" not in run(python, command, "--help", home=home):
            raise TrialError("--help does not name score")
        if package.suffix == ".whl" and not package.name.endswith("-none-any.whl"):
            run(python, python, "-c", EXTENSION, home=home)
        if not first:
            run(python, command, "synthetic", home / "weights", "--layers", "2", "--heads", "small", home=home)
        scores = score(python, home, home / "weights")
        if first and scores != first:
            raise TrialError(f"{package.name} gives other scores than {packages[0].name}")
        first = scores
        print(f"{package.name}: imported and scored by Python {sys.version.split()[0]}", flush=True)
    return first


def main(arguments: list[str]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="emonet-fast-trial-"))
    try:
        scores = trial([Path(name).resolve() for name in arguments], folder)
    except TrialError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"python": sys.version.split()[0], "scores": scores}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
