"""Strict JSON: one object, no key twice, no NaN; typed look-ups whose errors name the file and the field."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from ..errors import CheckpointError

# An index or a safetensors header of a published encoder has 0.1 MB. JSON in memory takes up to 60 times as much.
MAX_BYTES = 4 * 1024 * 1024


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = sorted(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    if twice:
        raise ValueError(f"the same key twice: {', '.join(map(repr, twice))}")
    return dict(pairs)


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON or a score can have")


def parse(text: str | bytes, what: str) -> dict[str, Any]:
    """The JSON object in `text`; `what` names it in errors.

    Raises CheckpointError when it is not UTF-8, not JSON or not an object, has a key twice, or NaN or Infinity.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{what} is not readable JSON ({error or 'nested too deep'}); expected one JSON object. "
            "The file may be damaged or cut short: get it again."
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{what} holds a JSON {type(value).__name__}; expected a JSON object {{...}}.")
    return value


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file of at most MAX_BYTES; see `parse`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(
                f"{path} has {path.stat().st_size} bytes; expected a JSON file of at most {MAX_BYTES}."
            )
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} could not be read ({error.strerror}); expected a JSON file there.") from None
    return parse(data, str(path))


def whole(doc: Mapping[str, Any], key: str, what: str, default: int | None = None) -> int:
    """doc[key] as a whole number from 1 to 2^31 - 1, or the default where the key is missing."""
    value = doc.get(key, default)
    if type(value) is not int or not 1 <= value < 2**31:
        raise CheckpointError(f"{what}: {key} is {value!r}; expected a whole number of at least 1.")
    return value


def number(doc: Mapping[str, Any], key: str, what: str, default: float | None = None) -> float:
    """doc[key] as a finite float, or the default where the key is missing."""
    value = doc.get(key, default)
    if not is_finite(value):
        raise CheckpointError(f"{what}: {key} is {value!r}; expected a finite number.")
    return float(value)


def flag(doc: Mapping[str, Any], key: str, what: str, default: bool | None = None) -> bool:
    """doc[key] as true or false, or the default where the key is missing."""
    value = doc.get(key, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{what}: {key} is {value!r}; expected true or false.")
    return value


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a number (true and false are none) that float64 can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
