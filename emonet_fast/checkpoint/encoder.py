"""The published encoder folder: its configuration, its preprocessing, and whether its tensors fit them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..text import listed
from . import jsonfile
from .expected import tower_tensors
from .spec import RESAMPLE_NAMES, Preprocess, VisionConfig
from .tensors import EncoderFiles

FLOAT_DTYPES = ("F32", "F16", "BF16", "F64")
_SIGLIP, _TOWER = "siglip", "siglip_vision_model"
_MAX_LAYERS = 1024  # far beyond any SigLIP; a damaged number must not make a list of billions of names


def read_vision_config(path: Path) -> VisionConfig:
    """Sizes of the vision tower from `config.json`: a full SigLIP configuration or that of its vision tower.

    A missing field has the default of transformers' SiglipVisionConfig, which leaves such fields out. Raises
    CheckpointError when it is not SigLIP, or a variant that the engine does not compute.
    """
    doc = jsonfile.read(path)
    kind = doc.get("model_type")
    what = str(path)
    if kind == _SIGLIP:
        doc, what = doc.get("vision_config") or {}, f"{path}, vision_config"
        kind = doc.get("model_type", _TOWER) if isinstance(doc, dict) else type(doc).__name__
    if kind != _TOWER:
        raise CheckpointError(
            f"{what}: model_type is {kind!r}; expected {_SIGLIP!r} or {_TOWER!r}. Only SigLIP vision "
            "towers of a fixed image size can be computed (SigLIP2's fixed-size models say 'siglip' too)."
        )
    for key, must in (("hidden_act", "gelu_pytorch_tanh"), ("vision_use_head", True), ("num_channels", 3)):
        if doc.get(key, must) != must or isinstance(doc.get(key, must), bool) != isinstance(must, bool):
            raise CheckpointError(f"{what}: {key} is {doc[key]!r}; expected {must!r}, the only one computed here.")
    vision = VisionConfig(
        hidden_size=jsonfile.whole(doc, "hidden_size", what, 768),
        intermediate_size=jsonfile.whole(doc, "intermediate_size", what, 3072),
        num_hidden_layers=jsonfile.whole(doc, "num_hidden_layers", what, 12),
        num_attention_heads=jsonfile.whole(doc, "num_attention_heads", what, 12),
        image_size=_square(doc, "image_size", what, 224),
        patch_size=_square(doc, "patch_size", what, 16),
        layer_norm_eps=jsonfile.number(doc, "layer_norm_eps", what, 1e-6),
    )
    check_vision(vision, what)
    return vision


def _square(doc: Mapping[str, Any], key: str, what: str, default: int) -> int:
    """A side in pixels; transformers 5 also writes [side, side]."""
    value = doc.get(key, default)
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return jsonfile.whole({key: value}, key, what)


def check_vision(vision: VisionConfig, what: str) -> None:
    """Raises CheckpointError where these sizes cannot belong together. what: names their place in errors."""
    if vision.hidden_size % vision.num_attention_heads:
        raise CheckpointError(
            f"{what}: hidden_size {vision.hidden_size} and num_attention_heads {vision.num_attention_heads}; "
            "expected a width that the heads divide."
        )
    if vision.num_hidden_layers > _MAX_LAYERS:
        raise CheckpointError(
            f"{what}: num_hidden_layers is {vision.num_hidden_layers}; expected at most {_MAX_LAYERS}."
        )
    if vision.patch_size > vision.image_size:
        raise CheckpointError(
            f"{what}: patch_size {vision.patch_size} and image_size {vision.image_size}; "
            "expected at least one patch in an image."
        )
    if not 0 < vision.layer_norm_eps < 1:
        raise CheckpointError(f"{what}: layer_norm_eps is {vision.layer_norm_eps}; expected between 0 and 1.")


def read_preprocess(path: Path, image_size: int) -> Preprocess:
    """Preprocessing from `preprocessor_config.json`. Nothing but the rescale factor (1/255) is assumed.

    Raises CheckpointError when a field is missing, or asks for something else than resize, rescale and normalise.
    """
    doc, what = jsonfile.read(path), str(path)
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if not jsonfile.flag(doc, key, what, True):
            raise CheckpointError(f"{what}: {key} is false; expected true: the engine always does it.")
    for key in ("do_center_crop", "do_pad"):
        if doc.get(key):
            raise CheckpointError(f"{what}: {key} is {doc[key]!r}; expected none: pictures are squashed.")
    size = doc.get("size")
    if size != {"height": image_size, "width": image_size}:
        raise CheckpointError(
            f'{what}: size is {size!r}; expected {{"height": {image_size}, "width": {image_size}}}, '
            "the image_size of config.json."
        )
    preprocess = Preprocess(
        size=image_size,
        resample=_resample(doc.get("resample"), what),
        rescale_factor=jsonfile.number(doc, "rescale_factor", what, 1 / 255),
        mean=three(doc, "image_mean", what),
        std=three(doc, "image_std", what),
    )
    check_preprocess(preprocess, what)
    return preprocess


def _resample(value: object, what: str) -> str:
    name = RESAMPLE_NAMES.get(value) if type(value) is int else str(value).lower()
    if name is None or name not in RESAMPLE_NAMES.values():
        known = ", ".join(f"{k} ({v})" for k, v in RESAMPLE_NAMES.items())
        raise CheckpointError(f"{what}: resample is {value!r}; expected Pillow's number or name: {known}.")
    return name


def three(doc: Mapping[str, Any], key: str, what: str) -> tuple[float, float, float]:
    """doc[key] as one finite number for each of R, G and B."""
    value = doc.get(key)
    if not isinstance(value, list) or len(value) != 3 or not all(map(jsonfile.is_finite, value)):
        raise CheckpointError(f"{what}: {key} is {value!r}; expected three finite numbers: R, G, B.")
    return (float(value[0]), float(value[1]), float(value[2]))


def check_preprocess(preprocess: Preprocess, what: str) -> None:
    """Raises CheckpointError where pixels would become infinite or all alike."""
    if preprocess.rescale_factor <= 0 or min(preprocess.std) <= 0:
        raise CheckpointError(
            f"{what}: rescale_factor {preprocess.rescale_factor} and std {preprocess.std}; expected both above 0."
        )


def check_tensors(files: EncoderFiles, vision: VisionConfig) -> None:
    """Raises CheckpointError where tensors and configuration differ; the text names every kind of difference."""
    expected = tower_tensors(vision)
    wrong = [
        f"{name} in {files.file_of(name).name} is {info.dtype} {list(info.shape)}, "
        f"expected a float of shape {list(expected[name])}"
        for name, info in files.infos.items()
        if name in expected and (info.shape != expected[name] or info.dtype not in FLOAT_DTYPES)
    ]
    missing = [name for name in expected if name not in files.infos]
    unknown = [f"{name} in {files.file_of(name).name}" for name in files.infos if name not in expected]
    kinds = {"missing": missing, "wrong": wrong, "unknown": unknown}
    faults = [f"{kind} ({len(items)}): {listed(items)}" for kind, items in kinds.items() if items]
    if faults:
        raise CheckpointError(
            f"{files.paths[0]} does not fit config.json ({vision.num_hidden_layers} layers "
            f"of {vision.hidden_size}, image {vision.image_size}, patch {vision.patch_size}): "
            f"{'; '.join(faults)}. "
            "Weights and configuration must come from the same model: get both again."
        )
