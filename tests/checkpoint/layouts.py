"""Tiny checkpoints in the published layout, and torch files made by hand; written without the readers under test."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from emonet_fast import taxonomy

HIDDEN, MLP, LAYERS, IMAGE, PATCH = 48, 64, 2, 32, 16
WIDTHS = (HIDDEN, 6, 5, 1)
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": HIDDEN,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "image_size": IMAGE,
    "patch_size": PATCH,
}
PREPROCESSOR = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.25, 0.125],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": IMAGE, "width": IMAGE},
}
EMOTIONS = tuple(d.name for d in taxonomy.EMOTIONS)


def tower(seed: int = 0, prefix: str = "vision_model.") -> dict[str, np.ndarray]:
    """The vision tower's tensors as transformers names and shapes them, written down by hand."""
    d, layer = HIDDEN, "encoder.layers.{}."
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.patch_embedding.weight": (d, 3, PATCH, PATCH),
        "embeddings.patch_embedding.bias": (d,),
        "embeddings.position_embedding.weight": ((IMAGE // PATCH) ** 2, d),
        "head.probe": (1, 1, d),
        "head.attention.in_proj_weight": (3 * d, d),
        "head.attention.in_proj_bias": (3 * d,),
    }
    linears = {"head.attention.out_proj": (d, d), "head.mlp.fc1": (MLP, d), "head.mlp.fc2": (d, MLP)}
    norms = ["post_layernorm", "head.layernorm"]
    for i in range(LAYERS):
        at = layer.format(i)
        linears |= {f"{at}self_attn.{n}_proj": (d, d) for n in ("q", "k", "v", "out")}
        linears |= {f"{at}mlp.fc1": (MLP, d), f"{at}mlp.fc2": (d, MLP)}
        norms += [f"{at}layer_norm1", f"{at}layer_norm2"]
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    rng = np.random.default_rng(seed)
    return {prefix + n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


TEXT = {
    "text_model.embeddings.token_embedding.weight": np.ones((7, 3), np.float32),
    "logit_scale": np.zeros(1, np.float32),
}


def head_state(seed: int, widths: tuple[int, ...] = WIDTHS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 7])
    state = {}
    for i in range(len(widths) - 1):
        state[f"layers.{3 * i}.weight"] = rng.standard_normal((widths[i + 1], widths[i])).astype(np.float32)
        state[f"layers.{3 * i}.bias"] = rng.standard_normal(widths[i + 1]).astype(np.float32)
    return state


def mean_of(i: int) -> float:
    return 0.125 * i - 1.0


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def write_head(folder: Path, name: str, state: Mapping[str, np.ndarray]) -> Path:
    path = folder / f"{taxonomy.file_stem(name)}.pth"
    save_torch(path, OrderedDict(state))
    return path


def save_torch(path: Path, state: Any) -> None:
    """torch.save, with numpy arrays turned into tensors."""
    import torch

    def tensors(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value.copy())
        return type(value)((k, tensors(v)) for k, v in value.items()) if isinstance(value, dict) else value

    torch.save(tensors(state), path)


def write_published(folder: Path, names: tuple[str, ...] = EMOTIONS, seed: int = 0, means: bool = True) -> Path:
    """encoder/ with a full SiglipConfig and a text tower beside the vision tower; heads/ by official name."""
    encoder, heads = folder / "encoder", folder / "heads"
    encoder.mkdir(parents=True)
    heads.mkdir()
    write_json(encoder / "config.json", {"model_type": "siglip", "text_config": {}, "vision_config": VISION})
    write_json(encoder / "preprocessor_config.json", PREPROCESSOR)
    save_file(TEXT | tower(seed), encoder / "model.safetensors")
    for i, name in enumerate(names):
        write_head(heads, name, head_state(seed + i))
    if means:
        stats = {taxonomy.file_stem(n): {"mean": mean_of(i), "std": 1.0} for i, n in enumerate(names)}
        write_json(heads / "neutral_stats_cache_large", stats)
    return folder


class TorchFile:
    """A torch zip archive put together by hand: any pickle, any members."""

    def __init__(self, program: bytes, members: Mapping[str, bytes] | None = None, root: str = "archive") -> None:
        self.members = {"data.pkl": program, "byteorder": b"little", "version": b"3\n", **(members or {})}
        self.root = root
        self.compression = zipfile.ZIP_STORED

    def data(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", self.compression) as archive:
            for name, data in self.members.items():
                archive.writestr(f"{self.root}/{name}", data)
        return out.getvalue()

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Named:
    """Pickled as GLOBAL module.name and called with args, whatever it is."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args


class _Writer(pickle._Pickler):  # the Python one: it lets a test name things that cannot be imported here
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _Storage):
            return ("storage", _Global(f"torch.{value.kind}"), value.key, "cpu", value.count)
        return None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Global):
            module, _, name = value.name.rpartition(".")
            self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        elif isinstance(value, _Named):
            self.save(_Global(value.name))
            self.save(value.args)
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


class _Global:
    def __init__(self, name: str) -> None:
        self.name = name


def program(value: Any) -> bytes:
    """A protocol 2 pickle of a value that may hold `storage`, `tensor`, `name` and `call`."""
    out = io.BytesIO()
    _Writer(out, protocol=2).dump(value)
    return out.getvalue()


def storage(kind: str, key: str, count: int) -> Any:
    return _Storage(kind, key, count)


def name(full: str) -> Any:
    return _Global(full)


def call(full: str, *args: Any) -> Any:
    return _Named(full, *args)


def tensor(held: Any, offset: Any, shape: Any, strides: Any) -> Any:
    return call("torch._utils._rebuild_tensor_v2", held, offset, shape, strides, False, call("collections.OrderedDict"))
