"""What the package depends on, and under which licences: `make sbom`.

    python -m release.licences [--output FOLDER]

Looks at the environment that runs it. What the default install or an extra for users needs, however far down, may not
be under the GPL, nor carry a library under it; LGPL and MPL are weak enough. What only the extras of this project's own
work need (tests, benchmarks, pages, releases) may be. Licences come from pip-licenses; EXPLAINED holds the exceptions.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "emonet-fast"
WORK = frozenset({"test", "bench", "docs", "release"})
# GPL and AGPL, but not LGPL: a library that is only used at run time leaves the user's own licence alone.
STRONG = re.compile(
    r"(?<!L)(?<!Lesser )(?<!Library or Lesser )\bA?GPL|(?<!Lesser )General Public Licen[cs]e", re.IGNORECASE
)
# Libraries under the GPL that wheels carry, whatever the package itself says.
CARRIED = re.compile(r"/lib(x264|x265|xvidcore|postproc|fdk-aac)\b[^/]*$")
EXPLAINED = {
    "pillow-heif": "BSD-3-Clause; its wheels hold x265, which is GPL-2.0. Only in the extra heif, which says so",
    "av": "BSD-3-Clause; its wheels hold FFmpeg with x264 and x265, which are GPL. Only in the extra video",
}


@cache
def installed() -> dict[str, Distribution]:
    """By name, what this environment has; of two the one that is imported. Looking for one at a time takes minutes."""
    found: dict[str, Distribution] = {}
    for one in distributions():
        found.setdefault(canonicalize_name(one.name), one)
    return found


@cache
def asked(name: str) -> list[Requirement]:
    """Every requirement that an installed package states."""
    one = installed().get(name)
    return [Requirement(text) for text in (one and one.requires) or []]


def needs(name: str, extras: Iterable[str] = ()) -> list[Requirement]:
    """What an installed package needs here with these extras; nothing for one that is not installed."""
    chosen = [{"extra": extra} for extra in ("", *extras)]
    return [need for need in asked(name) if need.marker is None or any(map(need.marker.evaluate, chosen))]


def closure(extras: Iterable[str]) -> set[str]:
    """Names of all packages below the project with these extras, installed or not, without the project."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(PROJECT, frozenset(extras))]
    while left:
        pair = left.pop()
        if pair in seen:
            continue
        seen.add(pair)
        left += [(canonicalize_name(need.name), frozenset(need.extras)) for need in needs(*pair)]
    return {name for name, _ in seen} - {PROJECT}


def user_extras() -> list[str]:
    """The extras that users install."""
    return sorted(set(installed()[PROJECT].metadata.get_all("Provides-Extra") or []) - WORK)


def known(licences: list[dict[str, str]]) -> dict[str, str]:
    """{package: its licence}, of what is installed, from pip-licenses' JSON."""
    return {canonicalize_name(row["Name"]): row["License"] for row in licences}


def faults(found: dict[str, str], at_run_time: set[str]) -> list[str]:
    """One line for each package at run time whose licence conflicts, that states none, or that carries the GPL's."""
    lines = []
    for name in sorted((at_run_time & found.keys()) - EXPLAINED.keys()):
        licence, inside = found[name], carried(name)
        if licence in ("", "UNKNOWN") or conflicts(licence):
            lines.append(f"{name}: {licence or 'no licence stated'}")
        elif inside:
            lines.append(f"{name}: {licence}, but it carries {', '.join(inside)}")
    return lines


def carried(name: str) -> list[str]:
    """Files of an installed package that are libraries under the GPL."""
    one = installed().get(name)
    files = (one and one.files) or []
    return sorted(str(file) for file in files if CARRIED.search(f"/{file}"))


def conflicts(licence: str) -> bool:
    """Whether every one of the alternatives that a licence offers is the GPL."""
    choices = re.split(r"\s+OR\s+", licence)
    return all(STRONG.search(choice) for choice in choices)


def tool(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603


def bill(text: str, names: set[str]) -> dict[str, Any]:
    """CycloneDX's JSON about the project, with these components alone: the environment holds tools besides.

    The project is what the bill is of, not one of its components; where it was installed from, a folder of this
    machine, is nobody's business.
    """
    whole: dict[str, Any] = json.loads(text)
    parts = {canonicalize_name(part["name"]): part for part in whole.get("components", [])}
    project = {key: value for key, value in parts[PROJECT].items() if key != "externalReferences"}
    whole["metadata"]["component"] = project
    whole["components"] = [part for name, part in parts.items() if name in names]
    inside = {part["bom-ref"] for part in whole["components"]}
    direct = {
        part["bom-ref"] for name, part in parts.items() if name in {canonicalize_name(n.name) for n in needs(PROJECT)}
    }
    edges = [edge for edge in whole.get("dependencies", []) if edge["ref"] in inside | {project["bom-ref"]}]
    for edge in edges:
        # The tool counts the extras' dependencies as the project's own.
        wanted = direct if edge["ref"] == project["bom-ref"] else inside
        edge["dependsOn"] = [ref for ref in edge.get("dependsOn", []) if ref in wanted]
    whole["dependencies"] = edges
    return whole


def check_schema(text: str) -> None:
    """Hold a bill to CycloneDX's schema, since it is no longer as its tool wrote it.

    Raises:
        SystemExit: it breaks the schema.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    if (error := JsonStrictValidator(version).validate_str(text)) is not None:
        raise SystemExit(f"the bill breaks CycloneDX's schema: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/release"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    found = known(json.loads(tool("piplicenses", "--format=json", "--from=mixed", "--with-system")))
    default, users = closure([]), closure(user_extras())
    lines = [
        f"| {name} | {installed()[name].version} | {EXPLAINED.get(name, found[name])} |"
        for name in sorted(users & found.keys())
    ]
    head = ["| package | version | licence |", "|---|---|---|"]
    (folder / "licences.md").write_text("\n".join([*head, *lines, ""]), "utf-8")
    environment = tool(
        "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON", sys.executable
    )
    sbom = bill(environment, default)
    text = json.dumps(sbom, indent=1, sort_keys=True) + "\n"
    check_schema(text)
    (folder / "sbom.cdx.json").write_text(text, "utf-8")
    print(f"{len(sbom['components'])} packages of the default install in {folder / 'sbom.cdx.json'}")
    print(f"{len(lines)} packages at run time, with all extras, in {folder / 'licences.md'}")
    if missing := sorted(users - found.keys()):
        print(f"not installed here, so not looked at: {', '.join(missing)}")
    own = sorted(name for name, licence in found.items() if name not in users and conflicts(licence))
    print(f"under the GPL, for this project's own work alone: {', '.join(own) or 'none'}")
    for line in faults(found, users):
        print(f"conflicts: {line}", file=sys.stderr)
    return 1 if faults(found, users) else 0


if __name__ == "__main__":
    sys.exit(main())
