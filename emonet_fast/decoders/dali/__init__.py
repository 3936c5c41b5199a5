"""NVIDIA DALI decodes, on a GPU or on the CPU; crops and resize equal Pillow's.

Files in the order of data: triage (who decodes what), pipeline (what DALI does), runner (runs ahead of the caller),
turn (upright pictures), exact (crops and the resize on a GPU), decoder (pictures in, batches out).
"""
