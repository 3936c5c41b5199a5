"""Writes an ONNX file one weight at a time: 2 GB of them never are in memory together, as protobuf would have them."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from onnx import ModelProto, TensorProto, helper

from .exported import Graph, Weight
from .writer import ALIGNMENT, external_tensor

# No protobuf message may be larger, and readers refuse it.
LARGEST = 2**31 - 1
# The numbers of the fields of onnx.proto that are written here, as messages or bytes.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


def weights_size(graph: Graph) -> int:
    """Bytes of all weights."""
    return sum(weight.nbytes for weight in graph.weights.values())


def fits(graph: Graph) -> bool:
    """Whether a model and its weights can be one file."""
    return _model_size(graph) <= LARGEST


def write_inside(file: BinaryIO, graph: Graph, progress: Progress) -> None:
    """Write a model with its weights as one file: a protobuf message, whose parts go out as they come."""
    rest, nodes = _parts(graph)
    total, done = weights_size(graph), 0
    file.write(rest)
    file.write(_head(_MODEL_GRAPH, _graph_size(graph, nodes)))
    file.write(nodes)
    for name, weight in graph.weights.items():
        described = _described(name, weight)
        head = _head(_TENSOR_RAW_DATA, weight.nbytes)
        file.write(_head(_GRAPH_INITIALIZER, len(described) + len(head) + weight.nbytes) + described + head)
        _write_values(file, weight)
        done += weight.nbytes
        progress(done, total)


def write_beside(file: BinaryIO, data: BinaryIO, location: str, graph: Graph, progress: Progress) -> None:
    """Write a model, and its weights to `data`, which the model knows as the file `location` beside it."""
    total, done, offset = weights_size(graph), 0, 0
    model = ModelProto()
    model.CopyFrom(graph.model)
    for name, weight in graph.weights.items():
        gap = -offset % ALIGNMENT
        data.write(b"\0" * gap)
        offset += gap
        kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
        model.graph.initializer.append(external_tensor(name, kind, weight.shape, location, offset, weight.nbytes))
        _write_values(data, weight)
        offset += weight.nbytes
        done += weight.nbytes
        progress(done, total)
    file.write(model.SerializeToString())


def _write_values(file: BinaryIO, weight: Weight) -> None:
    values = np.ascontiguousarray(weight.make())
    if values.nbytes != weight.nbytes:
        raise ValueError(f"a weight came with {values.nbytes} bytes; {weight.nbytes} were announced")
    file.write(values.reshape(-1).view(np.uint8).data)


def _parts(graph: Graph) -> tuple[bytes, bytes]:
    """The model without its graph, and the graph without its weights."""
    rest = ModelProto()
    rest.CopyFrom(graph.model)
    rest.ClearField("graph")
    return rest.SerializeToString(), graph.model.graph.SerializeToString()


def _model_size(graph: Graph) -> int:
    rest, nodes = _parts(graph)
    size = _graph_size(graph, nodes)
    return len(rest) + len(_head(_MODEL_GRAPH, size)) + size


def _graph_size(graph: Graph, nodes: bytes) -> int:
    size = len(nodes)
    for name, weight in graph.weights.items():
        inner = len(_described(name, weight)) + len(_head(_TENSOR_RAW_DATA, weight.nbytes)) + weight.nbytes
        size += len(_head(_GRAPH_INITIALIZER, inner)) + inner
    return size


def _described(name: str, weight: Weight) -> bytes:
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    return bytes(TensorProto(name=name, data_type=kind, dims=weight.shape).SerializeToString())


def _head(field: int, size: int) -> bytes:
    """What stands before a field of `size` bytes: its number and kind, and the size as a varint.

    Source: protobuf's encoding, https://protobuf.dev/programming-guides/encoding/
    """
    return bytes(_varint(field << 3 | 2)) + bytes(_varint(size))


def _varint(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number
