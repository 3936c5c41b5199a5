"""The network, written once as ONNX from a checkpoint's tensors, which stay in their file."""

from .model import GRAPH_VERSION, PARTS, build_model

__all__ = ["GRAPH_VERSION", "PARTS", "build_model"]
