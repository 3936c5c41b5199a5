"""What MkDocs adds to the pages of docs/ while it builds the site; mkdocs.yml names this file as a hook.

- the package's version stands beside the site's name, on every page;
- `<!-- commands -->` becomes the reference of all commands, made from the parser itself;
- `<!-- from README: TITLE -->` becomes that section of README.md, which so stands in one place;
- `<!-- screenshot: NAME | WORDS -->` becomes build/screenshots/NAME.webp where `make screenshots` has drawn it.
"""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from emonet_fast import __version__
from emonet_fast.commands.main import cli
from emonet_fast.commands.outputs import STATUSES
from emonet_fast.commands.parts import SECTIONS

ROOT = Path(__file__).parents[1]
BAR = "&#124;"  # ends no cell of a table
PROGRAM = "emonet-fast "
SHOTS = ROOT / "build" / "screenshots"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.site_name = f"{config.site_name} {__version__}"
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for path in sorted(SHOTS.glob("*.webp")):
        files.append(File.generated(config, f"screenshots/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(text: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    made = {
        r"commands": lambda: "\n".join([statuses(), *reference(cli, "emonet-fast")]),
        r"from README: (.+)": section,
        r"screenshot: (\S+) \| (.+)": picture,
    }
    for marker, make in made.items():
        text = re.sub(f"^<!-- {marker} -->$", lambda found, make=make: make(*found.groups()), text, flags=re.MULTILINE)
    return text


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark the options within lines of text, which a browser would break after a hyphen."""

    def marked(code: re.Match[str]) -> str:
        return re.sub(r"(?<![\w-])--?[a-z][\w-]*", r'<span class="option">\g<0></span>', code[0])

    return re.sub(r"<code>[^<]*</code>", marked, html)


def statuses() -> str:
    """The exit statuses of all commands as a table."""
    rows = [f"| {status.value} | {plain(words)} |" for status, words in STATUSES.items()]
    return "\n".join(["| exit status | meaning |", "|---|---|", *rows, ""])


def picture(name: str, words: str) -> str:
    """A screenshot with its words below, or nothing where it is not drawn."""
    if not (SHOTS / f"{name}.webp").exists():
        return ""
    return f"![{words}](screenshots/{name}.webp)\n\n*{words}. The weights are untrained, so the numbers mean nothing.*"


def section(title: str) -> str:
    """The text of a section of README.md; its links lead to pages of docs/."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no section {title!r}")
    return found[1].strip().replace("](docs/", "](")


def reference(command: click.Command, path: str) -> Iterator[str]:
    """Markdown of a command and of those below it: what it does, its options by section, its examples."""
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        if command is not cli:
            yield f"## {path.removeprefix(PROGRAM)}\n\n{plain(command.help)}\n"
        for name in command.list_commands(context):
            yield from reference(command.commands[name], f"{path} {name}")
        return
    yield f"## {path.removeprefix(PROGRAM)}\n\n{plain(command.help)}\n"
    yield "```text\n" + " ".join([path, *command.collect_usage_pieces(context)]) + "\n```\n"
    yield "| option | meaning |\n|---|---|"
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    for title in (*SECTIONS, None):
        here = [option for option in options if getattr(option, "section", None) == title]
        rows = [row for option in here if (row := option.get_help_record(context))]
        if rows and title:
            yield f"| **{title}** | |"
        for names, words in rows:
            yield f"| <code>{escape(names).replace('|', BAR)}</code> | {plain(words)} |"
    lines = [f"# {purpose}\n{path} {arguments}".rstrip() for purpose, arguments in getattr(command, "examples", ())]
    yield "\n```bash\n" + "\n".join(lines) + "\n```\n"


def plain(text: str | None) -> str:
    """A text of a help page as Markdown that shows the same signs; what stands in backquotes is code already."""
    paragraphs = [" ".join(part.split()) for part in (text or "").split("\n\n")]
    parts = "\n\n".join(paragraphs).split("`")
    signs = {**{sign: f"\\{sign}" for sign in "*_[]"}, "<": "&lt;", ">": "&gt;", "|": BAR}
    parts[::2] = [part.translate(str.maketrans(signs)) for part in parts[::2]]
    return "`".join(parts)
