"""Frames of files, streams, cameras and a caller's own pictures, with their times."""
