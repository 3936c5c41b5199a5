"""The fenced blocks of README.md and docs/, and the lines of a block of bash as lists of words."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages whose blocks of these languages a test of their own runs.
OWN_TESTS = {"summaries.md": (("r", "python"), "tests/summaries/test_docs.py")}
# Programs that set an environment up: they are held to what they name, and not run.
SHOWN = ("pip", "make", "python")
_FENCE = re.compile(
    r"^(?: *<!-- (?P<mark>[^\n]+?) -->\n)?(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """language: the word after the fence. mark: the comment on the line before the fence, or ""."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def why(self) -> str:
        """The reason why no test runs it, or ""."""
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run: ") else ""

    @property
    def test(self) -> str:
        """The test of its own that runs it, or "": it is named in the mark, or in OWN_TESTS."""
        languages, test = OWN_TESTS.get(self.page, ((), ""))
        named = re.search(r"tests/[\w/]+\.py", self.mark)
        return test if self.language in languages else named[0] if named and not self.why else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(page.name, text[: m.start("language")].count("\n") + 1, m["language"].strip(), m["text"], m["mark"] or "")
        for m in _FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def commands(text: str) -> list[list[str]]:
    """The words of each command: comments are left out, lines joined, pipes and redirections end a command."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((i for i, word in enumerate(words) if word in ("|", "&&", ";", "<", ">", ">>", "&")), len(words))
            found.append(words[:end])
            words = words[end + 1 :]
    return found
