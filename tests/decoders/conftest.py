"""Fixtures of this folder."""

import pytest


@pytest.fixture
def wide_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resize takes thousands of values a block: Triton's interpreter needs as long for one value as for all.

    tests/kernels runs the kernel with the blocks that a GPU gets.
    """
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("triton", reason="Triton is not installed")
    from emonet_fast.kernels import resize

    monkeypatch.setattr(resize, "BLOCK", 1 << 15)
    monkeypatch.setitem(resize._LAUNCH.constants, "BLOCK", resize.BLOCK)
