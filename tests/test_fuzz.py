"""A bounded share of every kind of damage, the same seeds each time (`make fuzz` runs more)."""

from importlib import import_module

import pytest

from .fuzz import KINDS
from .fuzz.runner import run


@pytest.mark.parametrize("kind", KINDS)
def test_damage(kind, tmp_path):
    faults = run(kind, range(import_module(f"tests.fuzz.{kind}").QUICK), tmp_path)
    assert not faults, "\n".join(map(str, faults))
