"""A tiny model with the real head_dim of 72, in both layouts of the heads; and where the engine runs."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")

from emonet_fast import taxonomy  # noqa: E402
from emonet_fast.checkpoint.spec import Checkpoint  # noqa: E402

WIDTHS = {"small": (144, 32, 16, 1), "large": (144, 64, 32, 16, 1)}


def write(layout: str, folder: Path, dimensions: tuple[taxonomy.Dimension, ...] = taxonomy.DIMENSIONS) -> Checkpoint:
    """A tiny model with a head for each of some dimensions."""
    from emonet_fast.checkpoint import open_checkpoint

    from ...tiny import write_tiny

    how = {"widths": WIDTHS[layout], "attention_heads": 2, "intermediate": 304, "image": 48, "dimensions": dimensions}
    return open_checkpoint(write_tiny(folder / layout, **how), folder / "cache")


@pytest.fixture(scope="session")
def device() -> "torch.device":
    """The GPU where there is one, else the host with Triton's interpreter."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


@pytest.fixture(scope="session", params=["small", "large"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """2 layers, hidden 144 (2 heads of 72), MLP 304, 9 tokens, 44 heads."""
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    return write(request.param, tmp_path_factory.mktemp("tiny"))
