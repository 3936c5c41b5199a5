"""Graphs of FFmpeg's filters, for frames of one kind."""

from typing import Any

from ...optional import need


def filter_graph(like: Any, *filters: tuple[str, str], threads: int = 0) -> Any:
    """PyAV's graph of filters (name, arguments) for frames like this one. threads: 0 takes FFmpeg's own number.

    Raises ValueError or OSError where this FFmpeg cannot make it.
    """
    graph = need("av", "reading video").filter.Graph()
    graph.threads = threads
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=like.time_base or 1)
    graph.link_nodes(source, *(graph.add(*one) for one in filters), graph.add("buffersink")).configure()
    return graph
