"""Build the conda package and run its recipe's tests where no conda channel can be reached: `make conda`.

    python -m release.channel [--python COMMAND] [--output FOLDER]

A Python of this machine and the wheels of the package index are packed as conda packages, which stand in for
conda-forge's. So this shows that the recipe builds, installs and scores, not that conda-forge's own packages fit.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "release" / "conda" / "recipe.yaml"
TOOLS = ("setuptools", "pybind11")  # what the recipe builds with, beside pip
# Tests, other people's packages and static libraries of a Python are no part of it.
LEFT_OUT = re.compile(r"(^|/)(test|tests|site-packages|__pycache__|idlelib|tkinter|lib2to3|config-3[^/]*)/|\.a$")
WHERE = """
import json, sys, sysconfig
print(json.dumps([sys.version.split()[0], sys.base_prefix, sysconfig.get_path("purelib")]))
"""


def conda_name(name: str) -> str:
    """How conda-forge calls a package of the index, of those that this one needs."""
    return {"huggingface-hub": "huggingface_hub"}.get(canonicalize_name(name), name.lower())


def conda_needs(package: Distribution, names: dict[str, str]) -> list[str]:
    """The packages that one needs without extras; names: {canonical name: conda's} of all that are there."""
    needs = [Requirement(text) for text in package.requires or []]
    here = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return ["python", *(names[canonicalize_name(need.name)] for need in here)]


def installed_files(package: Distribution, site: Path) -> list[tuple[Path, Path]]:
    """A package's files and their places below site-packages; not its commands, which name another Python."""
    found = []
    for file in package.files or []:
        place = Path(str(file.locate())).resolve()
        if place.is_file() and place.is_relative_to(site) and "__pycache__" not in place.parts:
            found.append((place, place.relative_to(site)))
    return found


def python_files(prefix: Path) -> list[tuple[Path, Path]]:
    """An interpreter's own files and their places below its prefix."""
    paths = [path for top in ("bin", "lib", "include") for path in sorted((prefix / top).rglob("*")) if path.is_file()]
    pairs = [(path, path.relative_to(prefix)) for path in paths]
    kept = [(path, to) for path, to in pairs if not LEFT_OUT.search(str(to))]
    return [(path, to) for path, to in kept if to.parts[0] != "bin" or to.name.startswith("python")]


class Channel:
    """A folder that conda's tools read packages from.

    Args:
        folder: is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, dict[str, Any]] = {}
        for name in ("linux-64", "noarch"):
            (folder / name).mkdir(parents=True)

    def put(self, name: str, version: str, files: Iterable[tuple[Path, Path]], depends: list[str]) -> None:
        """Pack files, each with its place, as a package of this platform."""
        import rattler_build as rattler

        entries = [rattler.FileEntry.from_paths(place, to) for place, to in files]
        made = rattler.assemble_package(
            name,
            version,
            "linux-64",
            "0",
            self.folder / "linux-64",
            files=entries,
            depends=depends,
            compression_level=1,
        )
        raw = made.path.read_bytes()
        about = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends}
        sums = {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "subdir": "linux-64"}
        self._found[made.path.name] = about | sums

    def write_index(self) -> None:
        for subdir, found in (("linux-64", self._found), ("noarch", {})):
            index = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": found}
            (self.folder / subdir / "repodata.json").write_text(json.dumps(index), "utf-8")


def run(*command: object) -> str:
    texts = [str(part) for part in command]
    return subprocess.run(texts, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603


def fill(channel: Channel, python: str, folder: Path) -> None:
    """Put in an interpreter and, from the package index, what the recipe builds with and runs with."""
    version, prefix, _ = json.loads(run(*python.split(), "-c", WHERE))
    run(*python.split(), "-m", "venv", folder)
    inside = folder / "bin" / "python"
    needs = [text for text in recipe_needs() if not text.startswith("python")]
    run(inside, "-m", "pip", "install", "--quiet", *TOOLS, *needs)
    site = Path(json.loads(run(inside, "-c", WHERE))[2]).resolve()
    channel.put("python", version, python_files(Path(prefix)), [])
    packages = list(distributions(path=[str(site)]))
    names = {canonicalize_name(one.name): conda_name(one.name) for one in packages}
    library = Path("lib", site.parent.name, "site-packages")
    for one in packages:
        files = [(place, library / to) for place, to in installed_files(one, site)]
        channel.put(conda_name(one.name), one.version, files, conda_needs(one, names))
    channel.write_index()


def recipe_needs() -> list[str]:
    """What the recipe runs with, as requirements of pip, which differ by a space."""
    run_part = RECIPE.read_text("utf-8").partition("  run:\n")[2].partition("\ntests:")[0]
    return [line.strip("- ").replace(" ", "") for line in run_part.splitlines() if line.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that stands in for conda-forge's")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "conda", help="folder of the package; made anew"
    )
    asked = parser.parse_args()
    import rattler_build as rattler
    from rattler_build.progress import SimpleProgressCallback

    shutil.rmtree(asked.output, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="emonet-fast-conda-") as name:
        channel = Channel(Path(name) / "channel")
        fill(channel, asked.python, Path(name) / "environment")
        (variant,) = rattler.Stage0Recipe.from_file(RECIPE).render(rattler.VariantConfig())
        variant.run_build(
            tool_config=rattler.ToolConfiguration(test_strategy="native"),
            output_dir=asked.output,
            channels=[channel.folder.as_uri()],
            progress_callback=SimpleProgressCallback(),
        )
    for package in sorted(asked.output.glob("noarch/*.conda")):
        print(f"built and tried {package}")


if __name__ == "__main__":
    main()
