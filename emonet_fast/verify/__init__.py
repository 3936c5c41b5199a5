"""The engine beside the published pipeline."""
