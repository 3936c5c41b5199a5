"""Video to time lines: joins frames, faces, tracks and the scorer, as job.py does for pictures."""
