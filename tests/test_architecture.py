"""The arrows between rooms point one way, as docs/architecture.md draws its floors."""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emonet_fast"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
# Doors of the package, which know every room: its public names and its command line.
DOORS = {"__init__", "__main__"}


def imports(path):
    """Modules of the package that a file imports, lazily too, but not for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in for_types:
            base = [*parts[: len(parts) - node.level], *(node.module.split(".") if node.module else [])]
            yield from ((*base, name.name) for name in node.names)


def room(parts):
    return parts[0]


def rooms():
    """{room: the other rooms that it imports}"""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        mine = room(path.relative_to(PACKAGE).with_suffix("").parts)
        found.setdefault(mine, set()).update(room(parts) for parts in imports(path))
    return {mine: others - {mine} for mine, others in found.items() if mine not in DOORS}


def floors():
    """{room: its floor}, from the page's table."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    return {name: int(floor) for floor, names in rows for name in re.findall(r"`(\w+)`", names)}


def test_every_room_stands_on_a_floor():
    assert set(floors()) == set(rooms()) | {"kernels"}


def test_a_room_imports_only_what_is_below_it():
    floor = floors()
    words = {name for name, number in floor.items() if number == 0}
    for mine, others in rooms().items():
        above = {other for other in others if floor[other] >= floor[mine]}
        assert not above - (words if mine in words else set()), f"{mine} imports {', '.join(sorted(above))}"


def test_no_two_files_import_each_other():
    files = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    graph = {}
    for mine, path in files.items():
        targets = {parts if parts in files else parts[:-1] for parts in imports(path)}
        graph[mine] = {parts for parts in targets if parts in files} - {mine}
    while leaves := {mine for mine, others in graph.items() if not others & graph.keys()}:
        graph = {mine: others for mine, others in graph.items() if mine not in leaves}
    assert not graph, f"these files import each other in a circle: {sorted('/'.join(parts) for parts in graph)}"


def test_a_class_name_stands_for_one_thing():
    names = Counter(
        node.name
        for folder in (PACKAGE, ROOT / "kernels")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in names.items() if count > 1]


def test_named_files_exist():
    for name in re.findall(r"`((?:emonet_fast|kernels|csrc|benchmarks|tests|docs|examples)/[\w./-]+)`", PAGE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`([a-z_]+/[\w/]+\.\w+)`", PAGE):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
