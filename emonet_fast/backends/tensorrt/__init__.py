"""The GPU backend by TensorRT: the typed network compiled by TensorRT, run by our extension, without PyTorch.

Files in the order of data: libraries (what is here), precisions (what the inspector says), build (network to engine),
backend. PyTorch is never imported.
"""
