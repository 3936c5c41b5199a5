"""Pictures by HTTP and frames by WebSocket, scored by one engine (extra `serve`).

Files in the order of data: limits (who may ask, and how much), bodies (a request's pictures), batching (rows of all
requests to batches), answers (rows as JSON or Arrow), stream (frames of a WebSocket), service (what all routes share),
app (the routes), run (the server).
"""
