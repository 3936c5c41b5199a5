"""What the page scripts write into documents: the lines between a block's two markers."""

import re
from collections.abc import Mapping


def page(text: str, blocks: Mapping[str, str], where: str) -> str:
    """The text with what stands between each block's two markers replaced. where: the document, for the error.

    Raises:
        SystemExit: a block has no markers there.
    """
    for name, block in blocks.items():
        pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{where} has no markers for {name}")
        made = f"<!-- {name} -->\n{block}\n<!-- /{name} -->"
        text = pattern.sub(lambda _, made=made: made, text)
    return text
