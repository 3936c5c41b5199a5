"""The published pipeline in PyTorch: transformers' SigLIP plus one plain MLP per dimension. Never optimised.

`verify`, the tests and the benchmarks compare with it (extra `reference`). It reads a folder in the published layout
by transformers' and torch's own readers, so that a fault of this package's readers shows as a difference.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import taxonomy
from ..checkpoint.spec import RESAMPLE_NAMES, Checkpoint, Preprocess
from ..optional import need
from ..records import Float32Array, UInt8Array
from .base import Outputs

if TYPE_CHECKING:
    from ..checkpoint.published import Published

_PURPOSE = "the reference pipeline"


class Reference:
    """transformers' image processor and vision model, and the heads, one call for each head.

    `model` is transformers' SiglipVisionModel, float32 on the host. `heads` has one torch module for each score, in the
    order of the outputs. Precision "bf16" holds for everything after the processor. Raises MissingPackageError when the
    extra `reference` is not installed.
    """

    name = "reference"

    def __init__(
        self,
        model: Any,
        heads: list[Any],
        make_processor: Callable[[], Any],
        precision: str,
        l2_normalise: bool,
        device: str = "cpu",
    ) -> None:
        torch = need("torch", _PURPOSE)
        self.precision = precision
        self.l2_normalise = l2_normalise
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.device = device
        self._model = model.eval().to(device, self._dtype)
        self._heads = [head.eval().to(device, self._dtype) for head in heads]
        self._make_processor = make_processor

    @classmethod
    def from_published(
        cls,
        published: "Published",
        names: tuple[str, ...],
        l2_normalise: bool,
        precision: str = "fp32",
        device: str = "cpu",
    ) -> "Reference":
        """Read a published folder by transformers and torch; `names` are the slugs in the order of the outputs."""
        torch, transformers = need("torch", _PURPOSE), need("transformers", _PURPOSE)
        model = transformers.SiglipVisionModel.from_pretrained(published.encoder, dtype=torch.float32)
        files = {taxonomy.find(path.name).slug: path for path in published.heads.glob("model_*_best.pth")}
        states = [torch.load(files[name], map_location="cpu", weights_only=True) for name in names]
        heads = [_head(state.get("state_dict", state)) for state in states]
        return cls(
            model,
            heads,
            lambda: _processor_class().from_pretrained(published.encoder),
            precision,
            l2_normalise,
            device,
        )

    @classmethod
    def from_packed(cls, checkpoint: Checkpoint, precision: str = "fp32", device: str = "cpu") -> "Reference":
        """Build the same from a packed checkpoint."""
        model, tensors = read_packed(checkpoint)
        count = len(checkpoint.head_widths) - 1
        heads = [
            _mlp([(tensors[f"heads.{i}.weight"][row], tensors[f"heads.{i}.bias"][row]) for i in range(count)])
            for row in range(len(checkpoint.names))
        ]
        return cls(
            model, heads, lambda: image_processor(checkpoint.preprocess), precision, checkpoint.l2_normalise, device
        )

    def score(self, pictures: list[UInt8Array]) -> Outputs:
        """Score pictures [H, W, 3] uint8 RGB of any sizes."""
        from PIL import Image

        images = [Image.fromarray(rgb) for rgb in pictures]
        return self.score_processed(self._processor(images=images, return_tensors="np")["pixel_values"])

    @cached_property
    def _processor(self) -> Any:
        """transformers' image processor. It is made late, since it needs Pillow, which ready pixels do not."""
        return self._make_processor()

    def score_processed(self, pixels: Float32Array) -> Outputs:
        """As `score`, for normalised pixels [n, 3, S, S] float32."""
        torch = need("torch", _PURPOSE)
        with torch.inference_mode():
            embedding = self._model(torch.from_numpy(pixels).to(self.device, self._dtype)).pooler_output
            features = embedding
            if self.l2_normalise:
                features = embedding / embedding.norm(p=2, dim=-1, keepdim=True)
            raw = torch.cat([head(features) for head in self._heads], dim=1)
        return Outputs(_numpy(embedding), _numpy(raw))


def read_packed(checkpoint: Checkpoint) -> tuple[Any, dict[str, Any]]:
    """Return transformers' vision model of a packed checkpoint, float32 on the host, and all tensors by name.

    Raises MissingPackageError when the extra `reference` is not installed.
    """
    need("torch", _PURPOSE)
    transformers = need("transformers", _PURPOSE)
    from safetensors import safe_open

    vision = checkpoint.vision
    config = transformers.SiglipVisionConfig(
        hidden_size=vision.hidden_size,
        intermediate_size=vision.intermediate_size,
        num_hidden_layers=vision.num_hidden_layers,
        num_attention_heads=vision.num_attention_heads,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        layer_norm_eps=vision.layer_norm_eps,
    )
    with safe_open(checkpoint.path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    state = {k: v for k, v in tensors.items() if k.startswith("vision_model.")}
    return transformers.SiglipVisionModel.from_pretrained(None, config=config, state_dict=state), tensors


def _numpy(tensor: Any) -> Float32Array:
    values: Float32Array = tensor.float().cpu().numpy()
    return values


def _head(state: dict[str, Any]) -> Any:
    """An MLP from a published state dict with keys layers.<i>.weight and layers.<i>.bias."""
    indices = sorted({int(key.split(".")[1]) for key in state})
    return _mlp([(state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]) for i in indices])


def _mlp(pairs: list[tuple[Any, Any]]) -> Any:
    """Linear, ReLU, ..., Linear from pairs (weight [out, in], bias [out]). Dropout does nothing at inference."""
    nn = need("torch.nn", _PURPOSE)
    layers: OrderedDict[str, Any] = OrderedDict()
    for i, (weight, bias) in enumerate(pairs):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers[f"linear{i}"] = linear
        if i < len(pairs) - 1:
            layers[f"relu{i}"] = nn.ReLU()
    return nn.Sequential(layers)


def _processor_class() -> Any:
    """The SigLIP processor that uses Pillow: a class of its own from transformers 5 on, the only one before."""
    transformers = need("transformers", _PURPOSE)
    if int(transformers.__version__.split(".")[0]) >= 5:
        return need("transformers.models.siglip.image_processing_pil_siglip", _PURPOSE).SiglipImageProcessorPil
    return need("transformers.models.siglip.image_processing_siglip", _PURPOSE).SiglipImageProcessor


def image_processor(spec: Preprocess) -> Any:
    """transformers' SigLIP image processor with a checkpoint's settings."""
    numbers = {name: number for number, name in RESAMPLE_NAMES.items()}
    return _processor_class()(
        size={"height": spec.size, "width": spec.size},
        resample=numbers[spec.resample],
        rescale_factor=spec.rescale_factor,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
    )
