"""Names and shapes of a checkpoint's tensors: the one table of what a vision tower and its heads consist of."""

from collections.abc import Sequence

from .spec import Description, VisionConfig

PREFIX = "vision_model."
PATCHES = f"{PREFIX}embeddings.patch_embedding.weight"


def tower_tensors(vision: VisionConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the vision tower, in the order of data."""
    d, mlp = vision.hidden_size, vision.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {PATCHES: (d, 3, vision.patch_size, vision.patch_size)}

    def add(name: str, *shape: int) -> None:
        shapes[PREFIX + name] = shape

    def add_pair(name: str, *shape: int) -> None:
        add(f"{name}.weight", *shape)
        add(f"{name}.bias", shape[0])

    add("embeddings.patch_embedding.bias", d)
    add("embeddings.position_embedding.weight", vision.tokens, d)
    for i in range(vision.num_hidden_layers):
        layer = f"encoder.layers.{i}"
        add_pair(f"{layer}.layer_norm1", d)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add_pair(f"{layer}.self_attn.{name}", d, d)
        add_pair(f"{layer}.layer_norm2", d)
        add_pair(f"{layer}.mlp.fc1", mlp, d)
        add_pair(f"{layer}.mlp.fc2", d, mlp)
    add_pair("post_layernorm", d)
    add("head.probe", 1, 1, d)
    add("head.attention.in_proj_weight", 3 * d, d)
    add("head.attention.in_proj_bias", 3 * d)
    add_pair("head.attention.out_proj", d, d)
    add_pair("head.layernorm", d)
    add_pair("head.mlp.fc1", mlp, d)
    add_pair("head.mlp.fc2", d, mlp)
    return shapes


def head_tensors(heads: int, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Name and shape of the stacked heads: `heads.{i}.weight` [H, out, in], `heads.{i}.bias` [H, out]."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(len(widths) - 1):
        shapes[f"heads.{i}.weight"] = (heads, widths[i + 1], widths[i])
        shapes[f"heads.{i}.bias"] = (heads, widths[i + 1])
    return shapes


def packed_tensors(description: Description) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a packed checkpoint: the tower's, then the heads'."""
    return tower_tensors(description.vision) | head_tensors(len(description.names), description.head_widths)
