"""NVIDIA's own builder takes the typed network: TensorRT for RTX parses and compiles without a GPU or a driver.

Only its parser, its builder and its log are used: its licence forbids to take engines apart, and none is loaded here.
"""

import re

import pytest

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.graph.quantise import Quantisation
from emonet_fast.graph.typed import write_typed_model

from ..tiny import LAYERS, write_tiny

trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX (extra test) is not installed")
pytest.importorskip("torch", reason="the tiny checkpoint is written by torch (extra reference)")

BATCHES = (1, 8, 64)  # as emonet-fast builds them
GPUS = (trt.ComputeCapability.SM89, trt.ComputeCapability.SM120)  # Ada and Blackwell; it has no Hopper
SCRATCH = 1 << 30


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.lines = []

    def log(self, severity, text):
        self.lines.append((severity, text))

    def faults(self):
        return [text for severity, text in self.lines if severity <= trt.ILogger.Severity.WARNING]

    def scratch(self):
        """Bytes that each batch size needs beside weights, inputs and outputs."""
        found = (re.fullmatch(r"Max Scratch Memory: (\d+) bytes", text) for _, text in self.lines)
        return [int(one[1]) for one in found if one]


def build(path, log):
    """Whether an engine came out; its bytes are thrown away."""
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file(str(path)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(GPUS)
    for i, gpu in enumerate(GPUS):
        config.set_compute_capability(gpu, i)
    pixels = network.get_input(0)
    for batch in BATCHES:
        profile = builder.create_optimization_profile()
        profile.set_shape(pixels.name, *[(batch, *tuple(pixels.shape)[1:])] * 3)
        config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config) is not None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """As many tokens as the real tower, and its head size; narrow."""
    folder = tmp_path_factory.mktemp("tiny")
    sizes = {"widths": (144, 24, 12, 1), "attention_heads": 2, "intermediate": 304, "image": 384}
    checkpoint = open_checkpoint(write_tiny(folder / "published", **sizes), folder / "cache")
    assert checkpoint.vision.tokens == 576
    return checkpoint


@pytest.mark.parametrize("heads", [True, False], ids=["heads", "embedding"])
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_it_builds_without_a_warning_in_little_memory(tiny, precision, heads, tmp_path):
    """Where a product over all pairs of tokens is planned in full width, batch 64 takes 12 GB."""
    quantisation = Quantisation(dict.fromkeys(layer_names(LAYERS), 5.0)) if precision == "fp8" else None
    log = Log()
    assert build(write_typed_model(tiny, tmp_path, quantisation, heads=heads), log), log.faults()
    assert log.faults() == []
    scratch = log.scratch()
    assert len(scratch) == len(BATCHES), "the log says it for each batch size"
    assert max(scratch) < SCRATCH
