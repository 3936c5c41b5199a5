"""Every block of code of the documents is run by a test, or says why not; what is not run is held to what it names."""

import ast
import importlib
import json
import re
import tomllib

import click
import pytest
import yaml

from emonet_fast.commands.main import cli

from .blocks import BLOCKS, PAGES, ROOT, commands

RUN = ("bash", "python")  # by test_run.py
READ = {"json": lambda text: each_json(text), "yaml": lambda text: list(yaml.safe_load_all(text))}
PROGRAMS = ("emonet-fast", "pip", "make", "python", "curl", "openssl", "ray", "docker")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


def each_json(text):
    """Every document of a text of one or several, one after the other."""
    while text := text.strip():
        _, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]


def test_every_fence_is_read():
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE)
        assert 2 * sum(block.page == page.name for block in BLOCKS) == len(fences), page.name


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block):
    if block.language == "text":
        starts = {line.split()[0] for line in block.text.splitlines() if line.split()}
        assert not starts & set(PROGRAMS), f"{block}: this is code; name its language, as in ```bash"
    elif block.language in READ:
        READ[block.language](block.text)
    elif block.test:
        assert block.page in (ROOT / block.test).read_text("utf-8")
    else:
        assert block.language in RUN or block.why, f"{block}: no test runs {block.language!r}; <!-- not run: REASON -->"


def test_code_is_fenced():
    for page in PAGES:
        for line in page.read_text("utf-8").splitlines():
            assert not re.match(rf" {{4,}}({'|'.join(PROGRAMS)}) ", line) or in_fence(page, line), (
                f"{page.name}: {line}"
            )


def in_fence(page, line):
    return any(block.page == page.name and line in block.text.splitlines() for block in BLOCKS)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "bash"], ids=str)
def test_commands_name_what_exists(block):
    for program, *words in commands(block.text):
        if program == "emonet-fast" and "..." not in words:
            parse(cli, words)
        elif program == "make":
            for word in words:
                name = re.escape(word.partition("=")[0])
                assert re.search(rf"^{name}{r' *[?:+]?=' if '=' in word else ':'}", MAKEFILE, re.MULTILINE), word
        elif program == "pip":
            for names in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
                assert set(names.split(",")) <= EXTRAS, names
        elif program == "python" and words[0] == "-m" and words[1].split(".")[0] in ("benchmarks", "tests"):
            path = ROOT / words[1].replace(".", "/")
            sources = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.glob("*.py"))
            assert sources, words[1]


def parse(command, words):
    """What click takes is right; a word may be a variable of the shell."""
    while isinstance(command, click.Group):
        with command.make_context(
            "page", [words[0]] if words[0] not in command.commands else [], resilient_parsing=True
        ):
            command, words = command.commands[words[0]], words[1:]
    with command.make_context("page", [re.sub(r"\$\{?\w+\}?", "1", word) for word in words]):
        pass


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python" and b.why], ids=str)
def test_python_that_is_not_run_can_be_compiled_and_names_what_exists(block):
    tree = compile(block.text, str(block), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "emonet_fast":
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_sentences_have_their_options(page):
    """`emonet-fast score --report F`: every option that stands in the same code as a command is one of it."""
    for code in re.findall(r"(?<!`)`(emonet-fast [^`]+)`(?!`)", page.read_text("utf-8")):
        command, words = cli, code.split()[1:]
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {
            "--help",
            "-h",
        }
        used = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
        assert used <= known | ({"--version"} if command is cli else set()), f"`{code}`: {used - known}"
