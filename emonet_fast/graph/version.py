"""The version of the graph, apart from what writes it: a stored engine is found without ONNX, which loads for 0.2 s."""

# Part of every engine's cache key: raise it with any change of the graph, so that no old engine is used.
GRAPH_VERSION = 4

# The same for what an int8 tower adds to it (int8_writer.py).
INT8_VERSION = 3
