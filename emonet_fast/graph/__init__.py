"""The network, written once as ONNX from a checkpoint's tensors, which stay in their file."""
