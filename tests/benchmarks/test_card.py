"""What gpu-check asks nvidia-smi of: the card that PyTorch works on, whatever CUDA_VISIBLE_DEVICES says."""

import subprocess
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")

from benchmarks.gpu.facts import nvidia_smi  # noqa: E402
from benchmarks.gpu.memory import driver_mb  # noqa: E402


def test_the_card_is_named_by_its_uuid(monkeypatch):
    commands = []

    def run(command, **settings):
        commands.append(command)
        return SimpleNamespace(stdout="580.1, 1980\n" if "driver_version" in command[1] else "1000\n")

    properties = SimpleNamespace(uuid="1234-abcd")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(subprocess, "run", run)
    assert nvidia_smi("driver_version,clocks.sm") == {"driver_version": "580.1", "clocks_sm": "1980"}
    assert driver_mb() == 1048.576
    assert {command[-1] for command in commands} == {"--id=GPU-1234-abcd"}
    monkeypatch.setattr(subprocess, "run", lambda command, **settings: SimpleNamespace(stdout="[N/A]"))
    assert driver_mb() is None
