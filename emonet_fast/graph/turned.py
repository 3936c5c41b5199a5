"""The same network in other coordinates, which suit 8 bits better.

A LayerNorm without its factors commutes with every orthogonal matrix Q that leaves the mean of the channels alone
(Q 1 = 1). So the stream may be turned by Q at no cost: what writes into it is turned, what reads it is turned back, and
each LayerNorm's factors go into the weights that read it. One channel that reaches 18 deviations on some picture is
then a little of every channel, and one scale holds the inputs of all pictures. Sources: Ashkboos et al., "SliceGPT",
arXiv 2401.15024, and "QuaRot", arXiv 2404.00456.

Attention takes means of its values, weights of 1 in all: what is taken off a value's bias is missing in its output, and
comes back in the bias of the layer behind. So the inputs of `out` may lose what they have in common. And as these means
are taken channel by channel, each head's values may be turned among themselves, and turned back in the layer behind.
"""

from dataclasses import dataclass

import numpy as np

from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..records import Float32Array

_BLOCKS, _EMBEDDINGS = "vision_model.encoder.layers.", "vision_model.embeddings."


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Other coordinates for a tower.

    Args:
        stream: [hidden, hidden] float32, orthogonal; its rows and columns add up to 1. A row x of the residual stream
            becomes x @ stream.
        centre: [blocks, hidden] float32, what is taken off the values of each block's attention.
        values: [head_dim, head_dim] float32, orthogonal. What a head gives, less its centre, becomes that @ values.
    """

    stream: Float32Array
    centre: Float32Array
    values: Float32Array

    def turn_values(self, x: Float32Array) -> Float32Array:
        """Turn the values x [n, hidden] of all heads, which lie one behind the other."""
        turned: Float32Array = (x.reshape(len(x), -1, len(self.values)) @ self.values).reshape(x.shape)
        return turned


def random_rotation(hidden: int) -> Float32Array:
    """A turn that favours no direction. A recipe keeps it, so it need not be the same on every machine.

    Uniformly distributed over the orthogonal matrices that leave the mean alone (Mezzadri, arXiv math-ph/0609050).
    """
    q, r = np.linalg.qr(np.random.default_rng(0).normal(size=(hidden - 1, hidden - 1)))
    inner = np.eye(hidden)
    inner[1:, 1:] = q * np.sign(np.diagonal(r))
    normal = np.full(hidden, hidden**-0.5)  # of the mirror that exchanges the mean and the first axis
    normal[0] -= 1
    mirror = np.eye(hidden) - np.outer(normal, normal) * (2 / (normal @ normal))
    return np.asarray(mirror @ inner @ mirror, np.float32)


class TurnedFile(SafetensorsFile):
    """A checkpoint's tensors as a turned tower has them; `turn` None leaves them as they are.

    The outputs of the last block are still turned: they times `turn.stream` transposed are those of the checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, turn: Turn | None) -> None:
        super().__init__(checkpoint.path)
        self._turn = turn

    def array(self, name: str) -> Float32Array:
        values: Float32Array = super().array(name)
        if self._turn is None or not name.startswith((_BLOCKS, _EMBEDDINGS)):
            return values
        turn, (prefix, _, kind) = self._turn, name.rpartition(".")
        part = prefix.rpartition(".")[2]
        if part.startswith("layer_norm"):
            values = np.full_like(values, kind == "weight")
        elif part in ("fc1", "q_proj", "k_proj", "v_proj"):  # reads the stream
            norm = f"{_BLOCKS}{_block(name)}.layer_norm{2 if part == 'fc1' else 1}"
            if kind == "weight":
                values = (values * super().array(f"{norm}.weight")) @ turn.stream
                values = np.ascontiguousarray(turn.turn_values(values.T).T) if part == "v_proj" else values
            else:
                values = values + super().array(f"{prefix}.weight") @ super().array(f"{norm}.bias")
                if part == "v_proj":
                    values = turn.turn_values((values - turn.centre[_block(name)])[None])[0]
        elif part == "position_embedding" or kind == "bias":
            if part == "out_proj":
                values = values + super().array(f"{prefix}.weight") @ turn.centre[_block(name)]
            values = values @ turn.stream
        else:
            values = (turn.stream.T @ values.reshape(len(values), -1)).reshape(values.shape)
            values = turn.turn_values(values) if part == "out_proj" else values
        return values


def _block(name: str) -> int:
    return int(name[len(_BLOCKS) :].partition(".")[0])
