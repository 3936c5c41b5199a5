"""Heads that we write: PyTorch, our reader and our writer agree on every bit of them."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import taxonomy
from emonet_fast.checkpoint.heads import MEANS_FILE, Layers, Switches, find_means, read_heads, read_means, read_switches
from emonet_fast.checkpoint.heads_writer import write_heads
from emonet_fast.checkpoint.torchzip_writer import write_torch_state_dict
from emonet_fast.errors import CheckpointError, EmonetError

torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
NAMES = ("Jealousy & Envy", "Hope/Enthusiasm/Optimism", "smile of my own")


def layers_of(widths: tuple[int, ...], seed: int = 0) -> Layers:
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((o, i)).astype(np.float32), rng.standard_normal(o).astype(np.float32))
        for i, o in pairwise(widths)
    ]


def module_of(widths: tuple[int, ...]) -> "torch.nn.Module":
    """The published module: Sequential of Linear, ReLU and Dropout under the name `layers`."""
    steps: list[torch.nn.Module] = []
    for i, o in pairwise(widths[:-1]):
        steps += [torch.nn.Linear(i, o), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
    module = torch.nn.Module()
    module.layers = torch.nn.Sequential(*steps, torch.nn.Linear(widths[-2], 1))
    return module


@settings(max_examples=25, deadline=None)
@given(widths=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, widths: list[int], seed: int) -> None:
    folder, shape = tmp_path_factory.mktemp("heads") / "heads", (*widths, 1)
    heads = {name: layers_of(shape, seed + i) for i, name in enumerate(NAMES)}
    paths = write_heads(folder, heads)
    assert {p.name for p in paths} == {
        "model_jealousy_&_envy_best.pth", "model_hope_enthusiasm_optimism_best.pth", "model_smile_of_my_own_best.pth",
    }  # fmt: skip
    read = read_heads(folder, shape[0])
    assert list(read) == ["hope_enthusiasm_optimism", "jealousy_envy", "smile_of_my_own"]
    for name, path in zip(heads, paths, strict=True):
        module = module_of(shape)
        module.load_state_dict(torch.load(path, weights_only=True), strict=True)
        linears = [m for m in module.layers if isinstance(m, torch.nn.Linear)]
        for mine, ours, linear in zip(heads[name], read[taxonomy.find(name).slug], linears, strict=True):
            for a, b, c in zip(mine, ours, (linear.weight, linear.bias), strict=True):
                assert a.tobytes() == b.tobytes() == c.detach().numpy().tobytes()
                assert a.shape == b.shape == tuple(c.shape)


def test_statistics_and_switches(tmp_path: Path) -> None:
    heads = {name: layers_of((5, 1)) for name in NAMES}
    neutral = {name: (0.1 + i, 2.0) for i, name in enumerate(NAMES)}
    write_heads(tmp_path / "h", heads, neutral, switches=Switches(l2_normalise=False))
    found = find_means(tmp_path / "h")
    assert found is not None
    assert found.name == MEANS_FILE
    assert json.loads(found.read_text())["model_jealousy_&_envy_best"] == {"mean": 0.1, "std": 2.0}
    assert read_means(found, ("jealousy_envy", "smile_of_my_own")) == {"jealousy_envy": 0.1, "smile_of_my_own": 2.1}
    assert read_switches(tmp_path / "h") == Switches(l2_normalise=False)
    write_heads(tmp_path / "plain", heads)
    assert find_means(tmp_path / "plain") is None
    assert len(list((tmp_path / "plain").iterdir())) == len(heads)


def test_the_same_heads_give_the_same_bytes(tmp_path: Path) -> None:
    state = {"layers.0.weight": np.ones((1, 3), np.float32), "layers.0.bias": np.zeros(1, np.float32)}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_torch_state_dict(tmp_path / name / "x.pth", state)
    assert (tmp_path / "a" / "x.pth").read_bytes() == (tmp_path / "b" / "x.pth").read_bytes()


GOOD = layers_of((4, 3, 1))
BAD: dict[str, tuple[dict[str, Layers], str]] = {
    "none": ({}, "no heads came"),
    "no letters": ({"?": GOOD}, "with letters a to z or digits"),
    "one name twice": ({"Jealousy & Envy": GOOD, "jealousy_envy": GOOD}, "would both be 'jealousy_envy'"),
    "mixed widths": ({"Awe": GOOD, "Fear": layers_of((4, 1))}, "has widths 4-1; expected 4-3-1"),
    "NaN": ({"Awe": [(GOOD[0][0] * np.float32("nan"), GOOD[0][1]), GOOD[1]]}, "NaN or infinity"),
    "two values": ({"Awe": layers_of((4, 2))}, "gives 2 values"),
    "no chain": ({"Awe": [GOOD[0], *layers_of((5, 1))]}, r"expected \[out, 3\]"),
    "float64": ({"Awe": [(w.astype(np.float64), b) for w, b in GOOD]}, "expected float32"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_is_no_head_is_refused_and_nothing_written(tmp_path: Path, case: str) -> None:
    heads, text = BAD[case]
    with pytest.raises(CheckpointError, match=text):
        write_heads(tmp_path / "h", heads)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_leaves_no_half_head() -> None:
    with pytest.raises(EmonetError, match="cannot write"):
        write_torch_state_dict(Path("/dev/full/x.pth"), {"layers.0.bias": np.zeros(1, np.float32)})
