"""A pytest inside a test."""

import os


def alone() -> dict[str, str]:
    """The environment without what pytest-xdist tells its workers: pytest-benchmark measures nothing beside others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
