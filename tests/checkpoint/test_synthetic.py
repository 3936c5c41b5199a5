"""The synthetic checkpoint: its layout, and that it behaves like a trained one. Measured with PyTorch at 2 layers."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from emonet_fast import taxonomy
from emonet_fast.checkpoint import heads_writer
from emonet_fast.checkpoint.expected import tower_tensors
from emonet_fast.checkpoint.heads import MEANS_FILE
from emonet_fast.engines.drawing import calibration_pictures
from emonet_fast.errors import OptionError
from emonet_fast.testing import synthetic, synthetic_tower
from emonet_fast.testing.synthetic import HEAD_WIDTHS, HEADS, write_synthetic

from ..pictures import photographs
from ..tolerances import FAULT, FP32_SCORE_SHALLOW

PICTURES = 16  # each costs a second here; `make bench` tries the rank bar of each head on 64


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def resized(rgb: np.ndarray, resample: Image.Resampling = Image.Resampling.BILINEAR) -> np.ndarray:
    """[3, 384, 384] float32 in -1..1."""
    image = Image.fromarray(rgb).resize((384, 384), resample)
    return (np.asarray(image, np.float32) / 127.5 - 1).transpose(2, 0, 1)


class Reference:
    """transformers and nn.Linear, written for this file: pixels [N, 3, 384, 384] to embeddings and scores."""

    def __init__(self, folder: Path) -> None:
        torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
        transformers = pytest.importorskip("transformers", reason="the reference is not installed")
        self.torch = torch
        self.tower, self.loaded = transformers.SiglipVisionModel.from_pretrained(
            folder / "encoder", output_loading_info=True
        )
        self.tower.eval()
        paths = [folder / "heads" / f"{d.file_stem}.pth" for d in taxonomy.DIMENSIONS]
        self.heads = [torch.load(path, weights_only=True) for path in paths]

    def embed(self, pixels: list[np.ndarray], dtype: str = "float32", batch: int = 8) -> np.ndarray:
        torch, kind = self.torch, getattr(self.torch, dtype)
        self.tower.to(torch.float32)
        exact = {k: v.clone() for k, v in self.tower.state_dict().items()} if dtype != "float32" else None
        out = []
        with torch.inference_mode():
            self.tower.to(kind)
            for start in range(0, len(pixels), batch):
                x = torch.from_numpy(np.stack(pixels[start : start + batch])).to(kind)
                out.append(self.tower(pixel_values=x).pooler_output.float().numpy())
        if exact is not None:
            self.tower.to(torch.float32).load_state_dict(exact)
        return np.concatenate(out)

    def score(self, embeddings: np.ndarray, normalise: bool = True) -> np.ndarray:
        """[N, 44]."""
        torch = self.torch
        x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True) if normalise else embeddings
        columns = []
        for head in self.heads:
            h, names = torch.from_numpy(x), [k.removesuffix(".weight") for k in head if k.endswith("weight")]
            for i, name in enumerate(names):
                h = h.relu() if i else h
                h = torch.nn.functional.linear(h, head[f"{name}.weight"], head[f"{name}.bias"])
            columns.append(h[:, 0].numpy())
        return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def reference(published_small: Path) -> Reference:
    return Reference(published_small)


@pytest.fixture(scope="module")
def shots() -> list[np.ndarray]:
    """Photographs, and two crops of each."""
    whole = photographs()
    top = [rgb[: len(rgb) // 2, rgb.shape[1] // 3 :] for rgb in whole]
    corner = [rgb[len(rgb) // 2 :, : rgb.shape[1] // 2] for rgb in whole]
    return whole + top + corner


@pytest.fixture(scope="module")
def embeddings(reference: Reference, shots: list[np.ndarray]) -> np.ndarray:
    return reference.embed([resized(rgb) for rgb in shots])


@pytest.fixture(scope="module")
def scores(reference: Reference, embeddings: np.ndarray) -> np.ndarray:
    return reference.score(embeddings)


# -- layout --------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "_CALIBRATION_PICTURES", 6)
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_synthetic(tmp_path / name, heads="small", layers=1, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    changed = {name for name in first if first[name] != other[name]}
    assert {name for name in first if name.endswith((".pth", "model.safetensors"))} <= changed


def test_files_and_tensors_are_the_published_ones(published_small):
    stems = {d.file_stem for d in taxonomy.DIMENSIONS}
    heads = published_small / "heads"
    assert {p.stem for p in heads.glob("*.pth")} == stems
    assert set(json.loads((heads / MEANS_FILE).read_text())) == stems
    assert json.loads((heads / "emonet_fast.json").read_text()) == {"untrained": True, "l2_normalise": True}
    preprocessor = json.loads((published_small / "encoder/preprocessor_config.json").read_text())
    assert preprocessor["resample"] == 2
    assert preprocessor["image_processor_type"] == "SiglipImageProcessor"
    with safe_open(published_small / "encoder/model.safetensors", "numpy") as file:
        names = set(file.keys())
        vision = {n for n in names if n.startswith("vision_model.")}
        assert vision == set(tower_tensors(synthetic_tower.vision_config(2)))
        assert {"logit_scale", "text_model.final_layer_norm.weight"} <= names - vision
        assert file.get_tensor("vision_model.head.attention.in_proj_weight").shape == (3 * 1152, 1152)
        assert all(file.get_slice(n).get_dtype() == "F32" for n in names)


def test_transformers_finds_every_tensor_it_wants(reference):
    loaded = reference.loaded
    assert not loaded["missing_keys"]
    assert not loaded["mismatched_keys"]
    assert not [name for name in loaded["unexpected_keys"] if name.startswith("vision_model.")]
    assert reference.tower.config.hidden_act == "gelu_pytorch_tanh"


@pytest.mark.parametrize("variant", ["small", "large"])
def test_torch_loads_the_heads(variant, request):
    torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    folder = request.getfixturevalue(f"published_{variant}")
    assert len(list((folder / "heads").glob("*.pth"))) == {"small": 44, "large": 40}[variant]
    for dimension in HEADS[variant][39:]:  # "Jealousy & Envy" and the extra dimensions, where there are any
        state = torch.load(folder / "heads" / f"{dimension.file_stem}.pth", weights_only=True)
        widths = HEAD_WIDTHS[variant]
        assert [tuple(v.shape) for k, v in state.items() if k.endswith("weight")] == list(
            zip(widths[1:], widths, strict=False)
        )
        assert list(state) == [f"layers.{3 * i}.{p}" for i in range(len(widths) - 1) for p in ("weight", "bias")]
        assert "layers.0" in state._metadata


# -- refusals ------------------------------------------------------------------------------------------------


def test_a_filled_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OptionError, match="exists and is not empty"):
        write_synthetic(tmp_path, layers=1)
    assert (tmp_path / "mine.txt").read_text() == "keep"
    with pytest.raises(OptionError, match="is a file"):
        write_synthetic(tmp_path / "mine.txt", layers=1)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"heads": "medium"}, "'large' or 'small'"),
        ({"layers": 0}, "from 1 to 27"),
        ({"layers": 28}, "from 1 to 27"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, setting, text):
    with pytest.raises(OptionError, match=text):
        write_synthetic(tmp_path / "new", **setting)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(heads_writer, "write_torch_state_dict", full_disk)
    monkeypatch.setattr(synthetic, "_CALIBRATION_PICTURES", 6)
    with pytest.raises(OSError, match="no space left"):
        write_synthetic(tmp_path / "new", heads="small", layers=1)
    assert not list(tmp_path.iterdir())


# -- behaviour -----------------------------------------------------------------------------------------------


def test_pictures_differ_in_embedding(embeddings):
    norms = np.linalg.norm(embeddings, axis=1)
    assert norms.min() > 10
    assert norms.max() < 80
    unit = embeddings / norms[:, None]
    others = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    assert -0.5 < others.mean() < 0.9


def test_scores_spread_over_the_scale(published_small, scores):
    assert scores.std(axis=0).min() >= 0.5
    emotions = scores[:, : len(taxonomy.EMOTIONS)]
    assert ((emotions > 0) & (emotions < 7)).mean() > 0.85  # most; the published ones are not clipped either
    statistics = json.loads((published_small / "heads" / MEANS_FILE).read_text())
    means = np.array([statistics[d.file_stem]["mean"] for d in taxonomy.EMOTIONS])
    assert len(set((emotions - means).argmax(axis=1).tolist())) >= 4


def test_last_layers_have_massive_activations(reference, shots):
    seen: dict[int, np.ndarray] = {}
    layers = (
        reference.tower.encoder if hasattr(reference.tower, "encoder") else reference.tower.vision_model.encoder
    ).layers
    hooks = [
        layer.mlp.fc2.register_forward_pre_hook(lambda _, args, i=i: seen.update({i: args[0].abs().numpy()}))
        for i, layer in enumerate(layers)
    ]
    reference.embed([resized(rgb) for rgb in shots[:2]])
    for hook in hooks:
        hook.remove()
    for picture in seen[1]:  # [576, 4304]
        large = picture > 100 * np.median(picture)
        assert 1 <= large.any(axis=1).sum() <= 12
        assert 1 <= large.any(axis=0).sum() <= 24
    assert all((picture < 100 * np.median(picture)).all() for picture in seen[0])


def test_faults_show(reference, shots, embeddings, scores):
    """A wrong channel order, resize filter, missing normalisation or head order: far beyond any tolerance."""
    colour = [0, 1, 2, 3]
    swapped = reference.score(reference.embed([resized(shots[i][..., ::-1]) for i in colour]))
    assert np.abs(swapped - scores[colour]).max(axis=1).min() > 10 * FAULT
    bicubic = [resized(shots[i], Image.Resampling.BICUBIC) for i in colour]
    assert np.abs(reference.score(reference.embed(bicubic)) - scores[colour]).max() > FAULT
    assert np.abs(reference.score(embeddings, normalise=False) - scores).max(axis=1).min() > 20
    assert np.abs(np.roll(scores, 1, axis=1) - scores).max(axis=1).min() > 10 * FAULT


def test_bfloat16_keeps_the_order_and_float32_the_scores(reference):
    def ranks(values: np.ndarray) -> np.ndarray:
        return values.argsort(axis=0).argsort(axis=0).astype(np.float64)

    pixels = [resized(rgb) for rgb in calibration_pictures(PICTURES)]
    exact = reference.score(reference.embed(pixels))
    rough = reference.score(reference.embed(pixels, "bfloat16"))
    noise = (rough - exact).std(axis=0) / exact.std(axis=0)
    assert noise.max() < 0.04
    spearman = [np.corrcoef(a, b)[0, 1] for a, b in zip(ranks(exact).T, ranks(rough).T, strict=True)]
    assert np.mean(spearman) >= 0.998  # of single heads one swap among 16 pictures already costs 0.0029
    one_by_one = reference.score(reference.embed(pixels[:2], batch=1))
    np.testing.assert_allclose(one_by_one, exact[:2], rtol=0, atol=FP32_SCORE_SHALLOW)


# -- calibration pictures ------------------------------------------------------------------------------------


def test_calibration_pictures_are_seeded_and_varied():
    few, many = calibration_pictures(4, seed=3), calibration_pictures(16, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=False))
    assert not np.array_equal(few[0], calibration_pictures(1, seed=4)[0])
    assert all(rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 for rgb in many)
    assert len({rgb.shape for rgb in many}) > 12
    assert np.std([rgb.mean() for rgb in many]) > 15
