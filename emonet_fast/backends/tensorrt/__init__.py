"""The GPU backend by TensorRT: the typed network compiled by TensorRT and run by our extension, without PyTorch."""
