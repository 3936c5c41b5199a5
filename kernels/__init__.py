"""Triton kernels, one file each: formula, shapes, reference, kernel, launcher. Installed as `emonet_fast.kernels`.

A launcher takes tensors, checks them, and writes into tensors that the caller made. It runs on the current CUDA device
and stream. On CPU tensors it runs only in Triton's interpreter (TRITON_INTERPRET=1, set before the import): so tests
run where there is no GPU.
"""
