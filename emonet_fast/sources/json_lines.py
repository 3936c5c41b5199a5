"""JSON lines, one object a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of each line that is not blank. Raises DataError where a line is no object."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is not JSON ({error}); expected one object a line") from None
            if not isinstance(line, dict):
                raise DataError(f"{path}, line {number} is a {type(line).__name__}; expected an object")
            yield number, line
