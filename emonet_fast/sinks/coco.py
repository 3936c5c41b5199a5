"""COCO-style JSON that VideoAnnotator's viewer loads (as its LAION face analysis): one annotation a face and frame.

An emotion's score is the softmax value (raw where there are no neutral means), and its rank counts from 1: the names
`score`, `rank` and `raw_score` are that viewer's. The file is valid JSON after each piece: a piece writes the file's
end, and the next one writes over it. The images come last.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import taxonomy
from ..errors import EmonetError
from ..files import ScratchFile
from ..records import Status
from ..timeline import NO_TRACK, Timeline, VideoFacts
from .growing import GrowingSink

_END = b'\n],\n"images": []}\n'
# Bytes of the list of images that memory holds; a longer one goes to a temporary file.
_IN_MEMORY = 8 * 1024 * 1024


class CocoJson(GrowingSink):
    """The JSON file of one video; `rows` counts its annotations.

    Args:
        path: The final name.
        metadata: Facts for the reader, as text; `checkpoint` and `embedding_dim` go into every annotation too.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        super().__init__(path)
        self._model = {
            "model_size": metadata.get("checkpoint", ""),
            "embedding_dim": int(metadata.get("embedding_dim", 1152)),
        }
        self._images = ScratchFile(_IN_MEMORY)
        self._last_image = ""
        self._facts = VideoFacts()
        # By the word "attributes" near the beginning the viewer knows a face analysis, also where no face was found.
        category = [{"id": 1, "name": "face", "supercategory": "person", "attributes": ["emotions"]}]
        self._head: dict[str, Any] = {"info": dict(metadata), "licenses": [], "categories": category}
        self._begin()

    def _begin(self) -> None:
        with self.piece():
            self.file.seek(0)
            self.file.write(json.dumps(self._head, ensure_ascii=False)[:-1].encode() + b',\n"annotations": [')
            self._place = self.file.tell()
            self.file.write(_END)

    def write(self, timeline: Timeline) -> None:
        if not self.rows and self._facts.add(timeline):  # before any annotation, as the file has a head only
            self._head["info"] = {**self._head["info"], **self._facts.metadata}
            self._begin()
        parts = []
        kind = [k for k in timeline.scores.kinds if k != "z"][-1]  # whatever readers of this layout expect
        ranked = timeline.scores.top(len(taxonomy.EMOTIONS), kind)
        for i in range(len(timeline)):
            self._image(timeline, i)
            if timeline.scores.status[i] == Status.OK:
                self.rows += 1
                parts.append((b",\n" if self.rows > 1 else b"\n") + _json(self._annotation(timeline, i, ranked[i])))
        data = b"".join(parts)
        with self.piece():
            try:
                self.file.seek(self._place)
                self.file.write(data + _END)
            except OSError:
                self._end_here()
                raise
        self._place += len(data)

    def _annotation(self, timeline: Timeline, i: int, ranked: list[tuple[str, float]]) -> dict[str, Any]:
        scores = timeline.scores
        x, y, width, height, score = (0.0,) * 5 if scores.faces is None else scores.faces[i, :5].tolist()
        raw = dict(zip(scores.names, scores.raw[i].tolist(), strict=True))
        emotions = {
            name: {"score": value, "rank": rank, "raw_score": raw[name]}
            for rank, (name, value) in enumerate(ranked, start=1)
        }
        whole = x != x  # no box: the whole frame was scored
        crop = timeline.crops[i] if timeline.crops else None
        if whole:
            x = y = 0.0
            height, width = (0.0, 0.0) if crop is None else (float(crop.shape[0]), float(crop.shape[1]))
            score = 1.0
        track = int(timeline.track[i])
        return {
            "id": self.rows,
            "image_id": _image_id(timeline, i),
            "category_id": 1,
            "bbox": [x, y, width, height],
            "area": width * height,
            "iscrowd": 0,
            "score": score,
            "face_id": track if track != NO_TRACK else _place_in_frame(scores.keys[i]),
            "timestamp": float(timeline.seconds[i]),
            "frame_number": int(timeline.frame[i]),
            "backend": "emonet-fast",
            "person_id": "unknown" if track == NO_TRACK else f"track_{track}",
            "person_label": "unknown",
            "person_label_confidence": 0.0,
            "person_labeling_method": "none",
            "attributes": {"emotions": emotions, "model_info": self._model},
        }

    def _image(self, timeline: Timeline, i: int) -> None:
        name = _image_id(timeline, i)
        if name == self._last_image:
            return
        image = {
            "id": name,
            "file_name": Path(timeline.source).name,
            "timestamp": float(timeline.seconds[i]),
            "frame_number": int(timeline.frame[i]),
        }
        self._images.write((b",\n" if self._last_image else b"\n") + _json(image))
        self._last_image = name

    def close(self) -> None:
        """Write the list of images in place of the empty one, and put the file in place."""
        try:
            self.file.seek(self._place)
            self.file.write(b'\n],\n"images": [')
            shutil.copyfileobj(self._images.from_start(), self.file)
            self.file.write(b"\n]}\n")
            self.file.truncate()
        except (OSError, EmonetError):  # then without the list of images
            self._end_here()
        finally:
            self._images.close()
        super().close()

    def _end_here(self) -> None:
        """Write the file's end over the part of the last piece that a full disk took: that room is there already."""
        with contextlib.suppress(OSError):
            self.file.seek(self._place)
            self.file.write(_END)
            self.file.truncate()
            self.mark_whole()

    def abort(self) -> None:
        self._images.close()
        super().abort()


def _image_id(timeline: Timeline, i: int) -> str:
    return f"{Path(timeline.source).stem}_frame_{int(timeline.frame[i])}"


def _place_in_frame(key: str) -> int:
    place = key.rpartition("::box")[2]
    return int(place) if place.isdigit() else 0


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
