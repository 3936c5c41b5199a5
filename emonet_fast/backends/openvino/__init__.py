"""The CPU backend by OpenVINO."""
