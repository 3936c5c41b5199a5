"""Colours of frames as players show them: matrix, range, and high dynamic range (HDR) brought to BT.709.

libswscale maps HDR by the filter `scale` with the intent "perceptual" (ITU-R BT.2408's 203 cd/m2 as the white of text,
highlights rolled off up to the mastering peak that the stream states). Names and numbers are those of ITU-T H.273.
"""

import threading
from dataclasses import dataclass
from typing import Any

from ...records import UInt8Array
from .frames import Fact
from .graphs import filter_graph

_BT709, _BT601 = 1, 5  # of libswscale
_BILINEAR, _FULL_CHROMA = 2, 0x2000  # SWS_BILINEAR, SWS_FULL_CHR_H_INT
_NO_MATRIX = (0, 2, 3)  # identity (of RGB, so a wrong tag of YUV), unspecified, reserved
_READ = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
_UNREAD = {8: "YCgCo", 10: "BT.2020 with constant luminance", 14: "ICtCp"}
_HDR = {16: "PQ", 18: "HLG"}
_WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


@dataclass(frozen=True, slots=True)
class Way:
    """How frames of one kind are converted: by the filter's graph, or by a plain conversion with this matrix."""

    matrix: int | None = None
    graph: Any = None


class Colours:
    """Converts the frames of one video. Its filters are kept from frame to frame, as making them takes a second.

    Args:
        facts: takes what had to be decided about the colours, under "colours".
    """

    def __init__(self, facts: dict[str, Fact]) -> None:
        self._facts, self._lock = facts, threading.Lock()
        self._latest: tuple[Any, Way] = (None, Way())

    def way(self, raw: Any, width: int, height: int) -> Way:
        """How an av.VideoFrame becomes RGB of this size; call it in the order of the frames."""
        tags = raw.colorspace, raw.color_trc, raw.color_primaries, raw.color_range
        kind = (*tags, raw.format.name, raw.width, raw.height, width, height)
        if kind != self._latest[0]:
            self._latest = kind, self._chosen(raw, width, height)
        return self._latest[1]

    def _chosen(self, raw: Any, width: int, height: int) -> Way:
        matrix, said = _matrix(raw)
        trc, primaries = _HDR.get(raw.color_trc), _WIDE.get(raw.color_primaries)
        graph = None
        if trc or primaries:
            what = f"HDR ({trc})" if trc else f"primaries of {primaries}"
            try:
                wanted = f"w={width}:h={height}:flags=bilinear:out_primaries=bt709:out_transfer=bt709:intent=perceptual"
                graph = filter_graph(raw, ("scale", wanted), ("format", "rgb24"))
                said.append(Fact(f"{what} mapped to BT.709 by FFmpeg's scale, intent perceptual"))
            except (ValueError, OSError) as error:
                said.append(Fact(f"colours are off: {what}, and this FFmpeg cannot map it ({error})"))
        if said:
            self._facts["colours"] = Fact("; ".join(fact.text for fact in said), any(fact.noted for fact in said))
        return Way(matrix, graph)

    def rgb(self, raw: Any, way: Way, width: int, height: int) -> UInt8Array:
        """[height, width, 3] uint8 RGB of an av.VideoFrame; alpha is left out, as players do."""
        if way.graph is not None:
            try:
                with self._lock:  # frames may be converted by several threads
                    way.graph.push(raw)
                    mapped: UInt8Array = way.graph.pull().to_ndarray()
                return mapped
            except (ValueError, OSError) as error:
                self._facts["colours"] = Fact(f"colours are off: this FFmpeg cannot map them to BT.709 ({error})")
        # Else libswscale cuts deep colours off: grey 128 of 10 bits becomes 126.
        how = _BILINEAR | _FULL_CHROMA if raw.format.components[0].bits > 8 else _BILINEAR
        plain: UInt8Array = raw.to_ndarray(
            format="rgb24", width=width, height=height, src_colorspace=way.matrix, interpolation=how
        )
        return plain


def _matrix(raw: Any) -> tuple[int | None, list[Fact]]:
    """The matrix for libswscale, None for the frame's own; and what there is to say of it."""
    tag, shape = raw.colorspace, raw.format
    if shape.is_rgb or len(shape.components) < 3 or tag in _READ:
        return None, []
    large = raw.width >= 1280 or raw.height > 576
    guess, name = (_BT709, "BT.709") if large else (_BT601, "BT.601")
    if tag in _NO_MATRIX:
        return guess, [Fact(f"untagged, read as {name}", noted=False)]
    return guess, [Fact(f"colours are off: {_UNREAD.get(tag, f'matrix {tag}')} was read as {name}")]
