"""Writes the network with Q/DQ nodes around the int8 products of a recipe; everything else is float32.

Smoothing of qkv and fc1 goes into the LayerNorm before them, which nothing else reads; that of out and fc2 is one
multiplication behind attention and GELU, which compilers make part of the quantiser. A compiler takes each product from
codes to codes: scales, bias, GELU and the next quantiser are steps of its kernel.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import TensorProto, helper

from ..checkpoint.layers import layer_behind, layer_of
from ..checkpoint.spec import Checkpoint
from .int8 import Int8Layer, Int8Recipe
from .model import assemble
from .stored import StoringWriter
from .turned import Turn, TurnedFile
from .writer import halves

OPSET = 21
IR_VERSION = 10
MODEL, WEIGHTS = "network.onnx", "network.weights"


def write_int8_model(checkpoint: Checkpoint, folder: Path, recipe: Int8Recipe, part: str = "all") -> Path:
    """Write `network.onnx`, whose path is returned, and `network.weights` (external data) into a folder.

    Inputs and outputs are those of graph.model.build_model; `part` is "all" or "tower". The two files need no other.
    With every layer in int8 they take 0.43 GB for the tower, and 0.4 GB more for the rest with the Large heads.
    """
    path = folder / MODEL
    with (folder / WEIGHTS).open("wb") as data:
        model = assemble(Int8Writer(checkpoint, data, WEIGHTS, recipe), part, OPSET, IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


class Int8Writer(StoringWriter):
    """A StoringWriter with Q/DQ nodes around the products of the recipe's layers."""

    def __init__(self, checkpoint: Checkpoint, data: BinaryIO, location: str, recipe: Int8Recipe) -> None:
        super().__init__(checkpoint, data, location)
        self.file = TurnedFile(checkpoint, recipe.turn)
        self._recipe = recipe
        self._smoothed: dict[str, str] = {}  # by the name of the layer
        self._rounded: dict[str, str] = {}

    def patches(self, x: str, prefix: str) -> str:
        """As in the float graph, but where the rest is bf16 its weights keep 16 bits."""
        coarse, fine = halves(self.file.array(f"{prefix}.weight"))
        names = self.stored(f"{prefix}.weight/coarse", coarse), self.stored(f"{prefix}.weight/fine", fine)
        return self.halved_patches(x, prefix, *names)

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        turn = self._recipe.turn
        if turn is not None and prefix == "vision_model.post_layernorm":
            x = self._turned_back(x, turn)
        layer = self._recipe.layers.get(layer_behind(prefix))
        if layer is not None and layer.smooth is not None:
            for part in ("weight", "bias"):  # GraphWriter finds them under their names
                self.stored(f"{prefix}.{part}", self.file.array(f"{prefix}.{part}") / layer.smooth)
        return super().layer_norm(x, prefix, name)

    def _turned_back(self, x: str, turn: Turn) -> str:
        """The residual stream in the checkpoint's coordinates.

        Where OpenVINO computes in bf16, it leaves in float32 what no product follows. So the stream is an output too,
        which nobody reads: else this product would put all of it into bf16.
        """
        vision = self.checkpoint.vision
        self.outputs.append(
            helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", vision.tokens, vision.hidden_size])
        )
        parts = []
        for part, values in zip(("coarse", "fine"), halves(turn.stream), strict=True):
            weight = self.op("Transpose", [self.stored(f"turn/{part}", values)], f"turn/{part}/back", {"perm": [1, 0]})
            parts.append(self.op("MatMul", [x, weight], f"turned_back/{part}"))
        return self.op("Add", parts, "turned_back")

    def linear(self, x: str, prefix: str, name: str) -> str:
        at = layer_of(prefix)
        layer = None if at is None else self._recipe.layers.get(at)
        if at is None or layer is None:
            return super().linear(x, prefix, name)
        if at not in self._smoothed:
            self._smoothed[at] = self._smooth(x, layer, at)
        bias = self.stored(f"{prefix}.bias", layer.biases[prefix])
        if prefix in layer.floats:
            weight = self.stored(f"{prefix}.weight", layer.floats[prefix].astype(np.float32))
            return self.affine(self._smoothed[at], weight, bias, name)
        if at not in self._rounded:  # once for q, k and v
            self._rounded[at] = self._round(self._smoothed[at], layer, at)
        codes, scales = layer.codes[prefix], layer.scales[prefix]
        inputs = [
            self.stored(f"{prefix}.codes", codes),
            self.stored(f"{prefix}.scales", scales),
            self.stored(f"{prefix}.zeros", np.zeros(len(scales), np.int8)),
        ]
        weight = self.op("DequantizeLinear", inputs, f"{name}/weight/dequantised", {"axis": 0})
        return self.affine(self._rounded[at], weight, bias, name)

    def _smooth(self, x: str, layer: Int8Layer, at: str) -> str:
        """The input of the layer `at`, divided by what it is smoothed by."""
        if layer.smooth is None or at.endswith((".qkv", ".fc1")):  # theirs is in LayerNorm
            return x
        factors = self.stored(f"{at}/smooth", (1 / layer.smooth).astype(np.float32))
        return self.op("Mul", [x, factors], f"{at}/smoothed")

    def _round(self, x: str, layer: Int8Layer, at: str) -> str:
        """The smoothed input of the layer `at`, rounded to codes and taken back to float32."""
        kind = np.uint8 if layer.input_zero else np.int8
        scale = self.inline(f"{at}/scale", np.asarray(layer.input_scale, np.float32))
        zero = self.inline(f"{at}/zero", np.asarray(layer.input_zero, kind))
        codes = self.op("QuantizeLinear", [x, scale, zero], f"{at}/codes")
        return self.op("DequantizeLinear", [codes, scale, zero], f"{at}/input")
