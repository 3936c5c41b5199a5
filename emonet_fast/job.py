"""One run of `emonet-fast score`: inputs in, output files, report and table out. Streams in bounded memory."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .faces import WithFaces
from .records import Face, Status
from .reports.collect import thumbnail
from .reports.pictures import PictureReport
from .scorer import ScoredBatch, Scorer
from .scores import Scores, distinct_notes
from .sinks import open_sink
from .sources import Inputs

# Rows kept for the table on the terminal; files get all of them.
TABLE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes: any of a table file and an HTML report.

    format: of the table file, "default" or "laion". title: of the report. top: emotions on each of its cards.
    """

    table: Path | None = None
    format: str = "default"
    report: Path | None = None
    title: str = "scores"
    embeddings: bool = False
    top: int = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """counts: rows by status. seconds: by stage. first: the first TABLE_ROWS rows. notes: of all rows.

    engine, decoder: what was used, for people.
    """

    counts: dict[str, int]
    seconds: dict[str, float]
    first: Scores | None
    notes: tuple[str, ...]
    engine: str
    decoder: str

    @property
    def scored(self) -> int:
        return self.counts.get(Status.OK, 0)

    def line(self) -> str:
        """The last line of a run: how many inputs became what, and how fast."""
        total = sum(self.counts.values())
        parts = [f"{self.scored} scored"]
        parts += [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != Status.OK]
        speed = f"; {self.seconds['engine'] / self.scored:.2f} s/image" if self.scored else ""
        return f"{total} inputs: {', '.join(parts)}{speed} ({self.engine}, decoded by {self.decoder})"


def check(outputs: Outputs) -> None:
    """Try the output files before weights are fetched and read, which can take minutes. Leaves nothing behind.

    Raises:
        OptionError: an unknown kind of file, or a folder that is missing or cannot be written.
    """
    if outputs.table is not None:
        open_sink(outputs.table, format=outputs.format, metadata={}, embeddings=outputs.embeddings).abort()
    if outputs.report is not None:
        PictureReport(outputs.report, outputs.title, {}, top=outputs.top).abort()


def run(scorer: Scorer, inputs: Inputs | WithFaces, outputs: Outputs, advance: Callable[[int], None]) -> Summary:
    """Score all inputs. advance: told how many rows were done. Inputs with faces give a row a face.

    Output files appear whole at the end; an error or an interrupt leaves none, and older ones as they were.

    Raises:
        OptionError, CheckpointError, BackendError: before any picture is scored.
    """
    counts: Counter[str] = Counter()
    notes: tuple[str, ...] = ()
    first: list[Scores] = []
    with ExitStack() as stack:
        faces = inputs if isinstance(inputs, WithFaces) else None
        metadata = scorer.metadata | (faces.metadata if faces is not None else {})
        sink = report = None
        if outputs.table is not None:
            sink = stack.enter_context(
                open_sink(outputs.table, format=outputs.format, metadata=metadata, embeddings=outputs.embeddings)
            )
        if outputs.report is not None:
            report = stack.enter_context(PictureReport(outputs.report, outputs.title, metadata, top=outputs.top))
        for batch in scorer.batches(inputs, embeddings=outputs.embeddings, keep_rgb=report is not None):
            counts.update(batch.scores.status)
            notes = distinct_notes((*notes, *batch.scores.notes))
            scores = batch.scores if faces is None else with_boxes(batch.scores, faces)
            if sum(map(len, first)) < TABLE_ROWS:
                first.append(scores)
            if sink is not None:
                sink.write(scores)
            if report is not None:
                _add(report, batch)
            advance(len(batch.scores))
    return Summary(
        counts={str(k): v for k, v in counts.items()},
        seconds=dict(scorer.timings),
        first=Scores.concat(first) if first else None,
        notes=notes,
        engine=f"{metadata['backend']} {metadata['precision']}",
        decoder=_decoder(scorer),
    )


def with_boxes(scores: Scores, faces: WithFaces) -> Scores:
    """The scores with the box of each row's face, which `faces` then forgets."""
    return replace(scores, faces=np.array([_box(faces.take(key)) for key in scores.keys]).reshape(-1, 5))


def _box(face: Face | None) -> tuple[float, ...]:
    return (np.nan,) * 5 if face is None else (face.x, face.y, face.width, face.height, face.score)


def _decoder(scorer: Scorer) -> str:
    note = scorer.decoder.note()
    return scorer.decoder.name + (f", {note}" if note else "")


def _add(report: PictureReport, batch: ScoredBatch) -> None:
    pictures = [thumbnail(one.rgb) if one.rgb is not None else None for one in batch.decoded]
    report.write(batch.scores, pictures)
