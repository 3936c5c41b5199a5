"""Heads that we write score the same by PyTorch alone, by our reader, and by the engine and the command."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner

from emonet_fast import Scorer
from emonet_fast.checkpoint import encoder_hash, open_checkpoint, pack_to
from emonet_fast.checkpoint.heads import Switches, read_heads
from emonet_fast.checkpoint.heads_writer import write_heads
from emonet_fast.commands.main import cli
from emonet_fast.training import LAYOUTS
from emonet_fast.training.stack import Standard, new_stack, to_layers

torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH, NAMES = 48, ("awe", "tired_of_it")


def plain(path, hidden):
    """The published module with a file's tensors, by PyTorch alone."""
    steps, inside = [], WIDTH
    for outside in hidden:
        steps += [torch.nn.Linear(inside, outside), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
        inside = outside
    module = torch.nn.Module()
    module.layers = torch.nn.Sequential(*steps, torch.nn.Linear(inside, 1))
    module.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return module.eval().layers


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_written_head_scores_the_same_everywhere(layout, tiny_folder, tmp_path):
    rng = np.random.default_rng(0)
    hidden, cache = LAYOUTS[layout].hidden, tmp_path / "cache"
    standard = Standard(rng.normal(size=WIDTH) / WIDTH, 3.0, np.array([0.3, -0.2]), np.array([20.0, 15.0]))
    # He's gain, so that scores of deep heads vary as those of trained ones
    stack = [(6**0.5 * weight, bias) for weight, bias in new_stack(2, (WIDTH, *hidden, 1), seed=1)]
    heads = to_layers(stack, NAMES, standard)
    encoder = encoder_hash(open_checkpoint(tiny_folder, cache))
    files = write_heads(tmp_path / "heads", heads, switches=Switches(encoder=encoder))
    packed = tmp_path / "packed.safetensors"
    pack_to(tiny_folder, packed, cache, heads=tmp_path / "heads")

    values = (3 * rng.normal(size=(50, WIDTH))).astype(np.float32)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    with torch.inference_mode():
        modules = [plain(file, hidden) for file in files[:2]]
        expected = np.stack([module(torch.from_numpy(unit))[:, 0].numpy() for module in modules], axis=1)
    assert expected.std(axis=0).min() > 0.1, "scores that do not vary would pass any comparison"
    close = 1e-6 * np.ptp(expected)  # float32 sums of 1,024 numbers, in three orders
    read = read_heads(tmp_path / "heads", WIDTH)
    for h, name in enumerate(NAMES):
        y = unit
        for i, (weight, bias) in enumerate(read[name]):
            y = (np.maximum(y, 0) if i else y) @ weight.T + bias
        np.testing.assert_allclose(y[:, 0], expected[:, h], atol=close)

    with Scorer(packed, cache_dir=cache) as scorer:
        found = scorer.score_embeddings(values)
    np.testing.assert_allclose(found.raw, expected, atol=close)
    np.save(tmp_path / "e.npy", values)
    done = CliRunner().invoke(
        cli,
        ["score", str(tmp_path / "e.npy"), "--checkpoint", str(packed), "--cache-dir", str(cache),
         "-o", str(tmp_path / "scores.csv")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    for h, name in enumerate(NAMES):
        np.testing.assert_allclose([float(row[f"raw_{name}"]) for row in rows], expected[:, h], atol=close)
