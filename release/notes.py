"""The section of CHANGELOG.md about one version, as the text of a release: `make release-notes`.

python -m release.notes [VERSION]
"""

import re
import sys
from pathlib import Path

from emonet_fast._version import __version__

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(changelog: str, version: str) -> tuple[str, str]:
    """The date of a version, or "unreleased", and its section without the heading.

    Raises:
        SystemExit: there is no such section, or it is empty.
    """
    parts = re.split(r"^## (\S+), (.+)$", changelog, flags=re.MULTILINE)[1:]
    found = {name: (date, text.strip()) for name, date, text in zip(*[iter(parts)] * 3, strict=True)}
    if not found.get(version, ("", ""))[1]:
        raise SystemExit(f"CHANGELOG.md says nothing of {version}; it has {', '.join(found) or 'no version'}")
    return found[version]


def main() -> None:
    version = sys.argv[1] if len(sys.argv) > 1 else __version__
    date, text = notes(CHANGELOG.read_text("utf-8"), version)
    print(f"# emonet-fast {version}, {date}\n\n{text}")


if __name__ == "__main__":
    main()
