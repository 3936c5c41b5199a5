"""A tiny model with the real head_dim of 72, in both layouts of the heads; and where the engine runs."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")

from emonet_fast.checkpoint.spec import Checkpoint  # noqa: E402

WIDTHS = {"small": (144, 32, 16, 1), "large": (144, 64, 32, 16, 1)}


@pytest.fixture(scope="session")
def device() -> "torch.device":
    """The GPU where there is one, else the host with Triton's interpreter."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


@pytest.fixture(scope="session", params=["small", "large"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """2 layers, hidden 144 (2 heads of 72), MLP 304, 16 tokens, 44 heads."""
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    from emonet_fast.checkpoint import open_checkpoint

    from ...tiny import write_tiny

    folder: Path = tmp_path_factory.mktemp("tiny")
    where = write_tiny(
        folder / request.param, widths=WIDTHS[request.param], attention_heads=2, intermediate=304, image=64
    )
    return open_checkpoint(where, folder / "cache")
