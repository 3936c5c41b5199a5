"""The options of all commands: each spelt once, the same ones everywhere, and help texts that can be read."""

import ast
import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import emonet_fast
from emonet_fast.commands import main, parts
from emonet_fast.commands.options import STATUSES, Exit
from emonet_fast.errors import OptionError
from emonet_fast.options import FaceOptions, Options, VideoOptions

COMMANDS = Path(emonet_fast.__file__).parent / "commands"
ENGINE = ("score", "video", "bulk", "verify", "build", "profile")
FACES = ("score", "video", "bulk")
DECLARING = ("INPUT", "FACES", "ENGINE", "SERVER", "OUTPUT", "option")
# What would change nothing: videos are frames, an engine is built from weights alone, bulk knows engines by their plan,
# verify scores one picture after the other.
WITHOUT = {
    "video": {"--exif", "--max-bytes", "--max-memory", "--max-seconds"},
    "build": {
        "--decoder",
        "--exif",
        "--threads",
        "--streams",
        "--max-pixels",
        "--max-bytes",
        "--max-memory",
        "--max-seconds",
        "--trust-engine",
        "--recipe",
        "--accept-fidelity",
    },
    "bulk": {"--trust-engine"},
    "verify": {"--streams"},
}
# Declared twice, as another kind of value is meant.
TWO_MEANINGS = {
    "--baseline": "files of this command; serve: each with a name",
    "--batch-size": "pictures of a call; train: rows of a step",
    "--checkpoint": "weights to take; train: optional, whose encoder is packed; export: optional beside --check",
    "--dataset": "a data set to read; train: one to name in the card",
    "--device": "any place of an engine; train: cpu or cuda",
    "--embeddings": "a switch; bulk: a number type",
    "--faces": "of a file too; serve: not",
    "--format": "of a model; score: of what is printed",
    "--heads": "a folder to take; checkpoint demo: a size to make",
    "--images": "pictures to calibrate with; labels template: to label",
    "--json": "a file; doctor: a switch",
    "--kind": "which value; probe: how its strength is chosen",
    "--labels": "any labels; evaluate any-hit: classes, or names that say them",
    "--pictures": "how many; report: a switch",
    "--precision": "of an engine; calibrate: what is certified; train: what it multiplies in; export: of weights",
    "--recipe": "what int8 computes by; calibrate: what is proven",
    "--seed": "what is drawn from it: weights, folds, or a training",
    "--unit": "columns of people; evaluate compare: one, or none",
}


def every(group: click.Group = main.cli, before: str = "") -> dict[str, click.Command]:
    """Each command by its words, without groups."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= every(command, f"{before}{name} ") if isinstance(command, click.Group) else {before + name: command}
    return found


def options(name: str) -> dict[str, click.Option]:
    return {o.opts[0]: o for o in every()[name].params if isinstance(o, click.Option)}


def help_of(*words: str, width: int = 80) -> str:
    done = CliRunner().invoke(main.cli, [*words, "-h"], prog_name="emonet-fast", terminal_width=width)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("record", "commands"), [(Options, ENGINE), (FaceOptions, FACES)])
def test_every_command_has_all_options_of_a_record(record, commands):
    """One for each field, with the same text, choices and default, but for those that would change nothing there."""
    first = options("score")
    fields = {f.name for f in dataclasses.fields(record)}
    own = {name for name, option in first.items() if option.name in fields}
    assert len(own) == len(fields)
    for name in commands:
        there = options(name)
        assert not WITHOUT.get(name, set()) & set(there)
        for option in own - WITHOUT.get(name, set()):
            facts, expected = there[option].to_info_dict(), first[option].to_info_dict()
            if option == "--faces":  # a video's faces are looked for
                assert facts.pop("default") == ("detect" if name == "video" else "none")
                expected.pop("default")
            assert facts == expected, (name, option)


def test_defaults_are_those_of_the_records():
    for name, record in (("score", Options()), ("score", FaceOptions()), ("video", VideoOptions().faces)):
        context = click.Context(every()[name])
        by_field = {option.name: option for option in options(name).values()}
        for field in dataclasses.fields(record):
            if field.name != "cache_dir":  # a folder that depends on the environment
                assert by_field[field.name].get_default(context) == getattr(record, field.name), (name, field.name)


def test_each_option_is_spelt_once():
    spelt: Counter[str] = Counter()
    for path in COMMANDS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in DECLARING:
                usage = ast.unparse(node.args[0]).lstrip("f").strip("'\"")  # or the names of what was declared
                spelt.update([usage.split()[0].split("/")[0]] if usage.startswith("--") else [])
    used = {option for name in every() for option in options(name)} | {"--verbose"}
    assert set(spelt) == used - {"--help"}
    assert {name for name, times in spelt.items() if times > 1} == set(TWO_MEANINGS)


@pytest.mark.parametrize("name", list(every()))
def test_help_has_sections_and_examples(name):
    command, text = every()[name], help_of(*name.split())
    declared = {option.section for option in command.params if isinstance(option, click.Option)}
    titles = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [s for s in ("Input", "Faces", "Engine", "Server", "Output") if s in declared] + [
        "Other options",
        "Examples",
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert len(command.examples) >= 2
    for _, arguments in command.examples:
        assert f"\n  emonet-fast {name} {arguments}".rstrip() + "\n" in text.replace(" \\\n      ", " ")
        assert _parses(command, arguments)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help
            assert option.help[0].isupper()
            assert option.help[-1] == "."


def test_a_command_that_was_called_by_itself_knows_both_names_of_help():
    def trial():
        """Try it."""

    made = parts.command(("try it", ""))(trial)
    with made.make_context("trial", []) as context:
        assert set(made.get_help_option(context).opts) == {"-h", "--help"}


def _parses(command: click.Command, arguments: str) -> bool:
    """Whether click takes the example, without running it."""
    command.make_context("example", arguments.split())
    return True


def test_lists_of_commands_are_whole_and_in_the_order_of_use():
    for words in ((), ("evaluate",)):
        text = help_of(*words)
        assert "..." not in text.partition("Commands:")[2]
        assert max(map(len, text.splitlines())) <= 80
    listed = [line.split()[0] for line in help_of().partition("Commands:\n")[2].split("\n\n")[0].splitlines()]
    assert listed[:4] == ["score", "video", "bulk", "report"]
    assert listed[-1] == "recover"
    assert sorted(listed) == sorted(main.cli.commands)


def test_exit_statuses_are_told_once():
    assert set(STATUSES) == set(Exit)
    text = " ".join(help_of().split())
    assert all(f" {status.value} {words}" in text for status, words in STATUSES.items())


def test_python_m_and_the_program_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "emonet_fast", "score", "-h"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Usage: emonet-fast score ")


def test_version():
    done = CliRunner().invoke(main.cli, ["--version"])
    assert done.output == f"emonet-fast, version {emonet_fast.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "-c", "c"], "backend is 'auto'; expected tensorrt"),
        (["bulk", "a", "-c", "c", "-o", "o", "--device", "cpu", "--devices", "cpu,cpu"], "expected one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(OptionError, match=words):
        CliRunner().invoke(main.cli, arguments, catch_exceptions=False)
