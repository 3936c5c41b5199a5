"""NVIDIA DALI: encoded bytes to the network's input on a GPU or on the CPU, equal to Pillow.

Files in the order of data: triage (who decodes what), feeding (rows to the pipeline's inputs), border and pipeline
(the definition), runner (runs ahead, a failed run taken apart), exact (the resize on a GPU), decoder (pictures in,
batches out).
"""
