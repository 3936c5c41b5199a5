"""What scores are worth: the paper's own figures from anybody's predictions, and what the paper leaves out.

`predictions` and `annotations` read, `align` joins them, `hq`, `binary`, `any_hit` and `demographics` compute,
`result` is what they give, and `report` and `charts` show it. `run` joins these. Importing this package is cheap: each
public name loads what it needs at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .result import Result
    from .run import evaluate_any_hit, evaluate_binary, evaluate_demographics, evaluate_hq

_HOME = {
    "Result": "result",
    "evaluate_any_hit": "run",
    "evaluate_binary": "run",
    "evaluate_demographics": "run",
    "evaluate_hq": "run",
}
__all__ = ["Result", "evaluate_any_hit", "evaluate_binary", "evaluate_demographics", "evaluate_hq"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
