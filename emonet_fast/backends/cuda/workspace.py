"""The network's buffers, allocated once for the largest batch; smaller batches use their beginning."""

from dataclasses import dataclass
from typing import Any

from ...checkpoint.spec import Checkpoint
from ...optional import need


@dataclass(frozen=True, slots=True)
class Views:
    """The buffers of one batch size. M: its rows of tokens, batch * tokens. All rows are contiguous.

    "low" below is bf16, or float32 in precision "fp32".

    Args:
        batch: images.
        stream: [M, D] low, the residual stream.
        delta: [M, D] low, what is to be added to the stream.
        normed: [M, D] low.
        patches: [M, 3 P P] low.
        qkv: [M, 3 D] low.
        wide: [M, MLP] low.
        tokens: [M, D] float32.
        narrow8: [M, D] e4m3; None but for FP8.
        wide8: [M, MLP] e4m3; None but for FP8.
        scales: [M] float32; None but for FP8.
        embedding: [batch, D] float32.
        raw: [batch, H] float32.
    """

    batch: int
    stream: Any
    delta: Any
    normed: Any
    patches: Any
    qkv: Any
    wide: Any
    tokens: Any
    narrow8: Any
    wide8: Any
    scales: Any
    embedding: Any
    raw: Any


class Workspace:
    """Static buffers for up to `images` images, filled with zeros. They take workspace_bytes.

    patches, qkv, wide and tokens share memory, since none is needed while another one is.
    """

    def __init__(self, checkpoint: Checkpoint, images: int, precision: str, device: Any) -> None:
        torch = need("torch", "the GPU engine")
        self.checkpoint, self.precision = checkpoint, precision
        d, m = checkpoint.vision.hidden_size, images * checkpoint.vision.tokens
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16

        def zeros(count: int, dtype: Any) -> Any:
            return torch.zeros(count, dtype=dtype, device=device)

        self._narrow = [zeros(m * d, dtype) for _ in range(3)]
        self._shared = zeros(m * _shared_bytes(checkpoint, precision), torch.uint8)
        self._eight = None
        if precision == "fp8":
            self._eight = [
                zeros(m * d, torch.float8_e4m3fn),
                zeros(m * checkpoint.vision.intermediate_size, torch.float8_e4m3fn),
                torch.ones(m, dtype=torch.float32, device=device),
            ]
        self._embedding = zeros(images * d, torch.float32)
        self._raw = zeros(images * len(checkpoint.names), torch.float32)

    def views(self, batch: int) -> Views:
        """Return the buffers for `batch` images, 1 <= batch <= images."""
        vision = self.checkpoint.vision
        d, mlp, m = vision.hidden_size, vision.intermediate_size, batch * vision.tokens
        stream, delta, normed = (_matrix(flat, m, d) for flat in self._narrow)
        shared = self._shared.view(stream.dtype)
        narrow8 = wide8 = scales = None
        if self._eight is not None:
            narrow8, wide8 = _matrix(self._eight[0], m, d), _matrix(self._eight[1], m, mlp)
            scales = self._eight[2][:m]
        return Views(
            batch=batch,
            stream=stream,
            delta=delta,
            normed=normed,
            patches=_matrix(shared, m, 3 * vision.patch_size**2),
            qkv=_matrix(shared, m, 3 * d),
            wide=_matrix(shared, m, mlp),
            tokens=_matrix(self._shared.view(self._embedding.dtype), m, d),
            narrow8=narrow8,
            wide8=wide8,
            scales=scales,
            embedding=_matrix(self._embedding, batch, d),
            raw=_matrix(self._raw, batch, len(self.checkpoint.names)),
        )


def workspace_bytes(checkpoint: Checkpoint, images: int, precision: str) -> int:
    """Device memory that a Workspace takes, in bytes."""
    vision = checkpoint.vision
    row = 3 * vision.hidden_size * (4 if precision == "fp32" else 2) + _shared_bytes(checkpoint, precision)
    if precision == "fp8":
        row += vision.hidden_size + vision.intermediate_size + 4
    outputs = images * 4 * (vision.hidden_size + len(checkpoint.names))
    return images * vision.tokens * row + outputs


def _shared_bytes(checkpoint: Checkpoint, precision: str) -> int:
    """Bytes a row of the memory that patches, qkv, wide and tokens share."""
    vision = checkpoint.vision
    widest = max(vision.intermediate_size, 3 * vision.hidden_size, 3 * vision.patch_size**2)
    return max(widest * (4 if precision == "fp32" else 2), 4 * vision.hidden_size)


def _matrix(flat: Any, m: int, columns: int) -> Any:
    return flat[: m * columns].view(m, columns)
