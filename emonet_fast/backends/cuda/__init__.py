"""The GPU backend: PyTorch for memory and matrix products, our Triton kernels between them, CUDA graphs around.

Files in the order of data: weights, workspace, linear, operations, network, graphs, engine, inputs, backend.
None of them imports OpenVINO, ONNX or pyarrow.
"""
