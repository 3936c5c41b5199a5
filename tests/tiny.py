"""Tiny published checkpoints written by torch and transformers themselves, not by this package."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from emonet_fast import taxonomy

HIDDEN, HEADS, LAYERS = 48, 4, 2


def write_tiny(
    folder: Path,
    *,
    seed: int = 0,
    widths: tuple[int, ...] = (HIDDEN, 24, 12, 1),
    attention_heads: int = HEADS,
    intermediate: int = 100,
    image: int = 32,
    contrast: float = 1.0,
    dimensions: tuple[taxonomy.Dimension, ...] = taxonomy.DIMENSIONS,
) -> Path:
    """A random checkpoint of 2 layers, hidden widths[0]: a few hundred kilobytes in the published layout.

    dimensions: those that have a head.
    contrast: of the patches. With 1 pictures are much alike to it, so that bf16 already costs a third of the spread.
    """
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.SiglipVisionConfig(
        hidden_size=widths[0],
        intermediate_size=intermediate,
        num_hidden_layers=LAYERS,
        num_attention_heads=attention_heads,
        image_size=image,
        patch_size=16,
    )
    model = transformers.SiglipVisionModel(config)
    with torch.no_grad():
        for parameter in model.parameters():  # the default start leaves biases at 0 and norms at 1
            parameter.add_(0.3 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
        next(p for n, p in model.named_parameters() if n.endswith("patch_embedding.weight")).mul_(contrast)
    model.save_pretrained(folder / "encoder")
    preprocessor = {
        "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2, "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7], "size": {"height": image, "width": image},
        "image_processor_type": "SiglipImageProcessor",
    }  # fmt: skip
    (folder / "encoder" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "heads").mkdir()
    rng = np.random.default_rng(seed)
    for dimension in dimensions:
        state = {}
        for i, (inside, outside) in enumerate(pairwise(widths)):
            state[f"layers.{3 * i}.weight"] = torch.randn(outside, inside) / inside**0.5
            state[f"layers.{3 * i}.bias"] = torch.randn(outside)
        torch.save(state, folder / "heads" / f"{dimension.file_stem}.pth")
    means = {d.file_stem: {"mean": float(m)} for d, m in zip(dimensions, rng.normal(size=len(dimensions)), strict=True)}
    (folder / "heads" / "neutral_stats_cache").write_text(json.dumps(means))
    return folder
