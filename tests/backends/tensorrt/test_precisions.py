"""What is read out of TensorRT's inspector: written as TensorRT 10 and 11 word it, whole and in part."""

import json

import pytest

from emonet_fast.backends.tensorrt.precisions import read


def layer(name, inputs, kind="gemm", metadata=""):
    values = [{"Name": "x", "Dimensions": [1], "Format/Datatype": text} for text in inputs]
    return {"Name": name, "LayerType": kind, "Inputs": values, "Outputs": [], "Metadata": metadata}


def inspected(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": ["pixels"]})


QKV = [f"layer0/attention/{part}/product" for part in "qkv"]


def test_layers_are_counted_by_what_they_take():
    found = read(
        inspected(layer("a", ["FP8"]), layer("b", ["BFloat16"]), layer("c", ["Row major linear FP32"], "norm"))
    )
    assert [one.precision for one in found.layers] == ["fp8", "bf16", "fp32"]
    assert found.text().splitlines() == [
        "inputs   layers  kind", "bf16          1  gemm", "fp32          1  norm", "fp8           1  gemm",
    ]  # fmt: skip
    assert found.warnings() == []


def test_fp8_asked_for_and_used_or_not():
    fused = layer("__myl_Fc_1", ["E4M3"], metadata="".join(f"[ONNX Layer: {name}]" for name in QKV))
    other = layer("layer0/mlp/fc1/product + gelu", ["Half"])
    found = read(inspected(fused, other), ["0.qkv", "0.fc1", "0.fc2"])
    assert (found.missed, found.unknown) == (("0.fc1",), ("0.fc2",))
    missed, unknown = found.warnings()
    assert missed.startswith("FP8 was asked for and is not used in 1 layers: 0.fc1;")
    assert "does not name 1 layers" in unknown


def test_one_of_three_products_without_fp8_is_a_miss():
    names = [layer(name, ["FP8" if i else "BFloat16"]) for i, name in enumerate(QKV)]
    assert read(inspected(*names), ["0.qkv"]).missed == ("0.qkv",)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": ["only a name"]}'])
def test_what_cannot_be_read_is_unknown_and_no_error(text):
    found = read(text, ["0.out"])
    assert (found.missed, found.unknown) == ((), ("0.out",))


def test_names_that_are_no_layers_are_refused():
    with pytest.raises(ValueError, match=r"expected a name like '0\.qkv'"):
        read("{}", ["0.gelu"])
