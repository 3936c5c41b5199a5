"""One run of `emonet-fast score`: inputs in, output files, report and table out. Streams in bounded memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .baseline import Baseline
from .decoders.vectors import VectorDecoder
from .errors import EmonetError
from .faces import FaceSample, Looked, PictureFaces
from .files import keep_apart
from .population.ranking import Ranking
from .process import Pace, held_signals
from .records import Picture, Status
from .reports.collect import InputCount
from .reports.pictures import PictureReport
from .scorer import ScoredBatch, Scorer
from .scores import Scores, distinct_notes
from .sinks import open_sink
from .sinks.apart import OutputsApart
from .sinks.encoders import companions, file_metadata
from .sinks.growing import GrowingTable
from .sinks.npy import NpySink
from .sources.keys import picture_of
from .sources.skipped import skipped_text
from .text import duration
from .thumbnails import thumbnail

if TYPE_CHECKING:
    import pyarrow

# Rows kept for the table on the terminal; files get all of them.
TABLE_ROWS = 40


@dataclass(frozen=True, slots=True)
class ScoreOutputs:
    """What a run writes.

    Args:
        table: path of the table file, whose ending names its kind; None for none.
        format: of the table file, "default" or "laion".
        report: path of the HTML page; None for none.
        title: of the page.
        embeddings: whether the table holds embeddings too.
        npy: path of a NumPy file for the embeddings, a row for each of the table; None for none.
        excel: whether a .csv begins with the mark by which Excel knows UTF-8.
        top: number of emotions on each card of the page.
        baseline: the population that rows are ranked against; "self" takes the run's own rows, once all are scored;
            None ranks them by themselves.
        min_reliability: leave emotions out of rankings of which the experts' alpha is lower; None leaves none out.
        carried: further columns of the table, whose cells are the pictures' origins; None for none.
    """

    table: Path | None = None
    format: str = "default"
    report: Path | None = None
    title: str = "scores"
    embeddings: bool = False
    top: int = 5
    excel: bool = False
    npy: Path | None = None
    baseline: Baseline | str | None = None
    min_reliability: float | None = None
    carried: "pyarrow.Schema | None" = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """Every file that is written; None is one that nobody wants."""
        return (*companions(self.table), self.report, *companions(self.npy))


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run did.

    Args:
        counts: number of rows by status.
        seconds: spent by stage.
        first: at least the first TABLE_ROWS rows, for the terminal; None without any row.
        notes: what a reader of the scores must know.
        engine: which engine was used, for people.
        decoder: which decoder was used, for people.
        skipped: what the inputs hold beside rows, for people; "" for nothing.
        written: the output files that are in place.
        faults: why other outputs are not, or not whole.
        ended: what ended the run early, a KeyboardInterrupt or an EmonetError; None for a whole run.
        inputs: how many pictures and faces.
        looked: what was seen in some pictures of a run that scored whole ones.
    """

    counts: dict[str, int]
    seconds: dict[str, float]
    first: Scores | None
    notes: tuple[str, ...]
    engine: str
    decoder: str
    skipped: str = ""
    written: tuple[Path, ...] = ()
    faults: tuple[str, ...] = ()
    ended: BaseException | None = None
    inputs: InputCount = field(default_factory=InputCount)
    looked: Looked = field(default_factory=Looked)

    @property
    def scored(self) -> int:
        """Number of rows that have scores."""
        return self.counts.get(Status.OK, 0)

    def line(self) -> str:
        """The last line of a run: how many inputs became what, and how fast."""
        whole = self.inputs.faces is None
        stored = self.decoder == VectorDecoder.name
        parts = [f"{self.scored} scored" + " as a whole" * (whole and not stored)]
        parts += [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != Status.OK]
        if not self.scored:
            speed = ""
        elif stored:
            speed = f"{self.scored / self.seconds['engine']:,.0f} rows/s"
        else:
            speed = f"{self.seconds['engine'] / self.scored:.2f} s/{'image' if whole else 'face'}"
        facts = filter(None, (self.skipped, self.looked.text(), speed))
        by = f"({self.engine}, {'from stored embeddings' if stored else f'decoded by {self.decoder}'})"
        return f"{self.inputs.text()}: {'; '.join((', '.join(parts), *facts))} {by}"


def check(outputs: ScoreOutputs) -> None:
    """Try the output files before weights are fetched and read, which can take minutes. Leaves nothing behind.

    Raises OptionError when a file is of an unknown kind or another output, or cannot be written.
    """
    keep_apart(outputs.files)
    apart = OutputsApart()
    try:
        _open(outputs, {}, apart, width=1)
    finally:
        apart.end_all(early=True, empty=True)


class _Rows:
    """What a run keeps of its rows: how many of each status, their notes, and the first ones for the terminal."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: tuple[str, ...] = ()
        self.first: list[Scores] = []
        self.inputs = InputCount()

    def add(self, scores: Scores) -> None:
        self.inputs.add(scores)
        self.counts.update(scores.status)
        self.notes = distinct_notes((*self.notes, *scores.notes))
        if sum(map(len, self.first)) < TABLE_ROWS:
            self.first.append(scores)


def run(
    scorer: Scorer,
    pictures: Iterable[Picture],
    outputs: ScoreOutputs,
    advance: Callable[[int], None],
    faces: PictureFaces | None = None,
    skipped: Mapping[str, int] | None = None,
    sample: FaceSample | None = None,
    notes: Iterable[str] = (),
) -> ScoreSummary:
    """Score pictures and write the outputs. `advance` takes the number of rows of each batch that is done.

    Rows are in the table's partial file when their batch is done. An interrupt, and an EmonetError after the first
    batch, end the run early: the summary says so, and what was scored is kept. Each output stands or falls alone. A
    checkpoint or an engine that cannot be opened is an error before any picture is scored.

    `skipped` is read at the end: how much of what was passed over, by kind. `sample` looks at some of the pictures.
    `notes` are what a reader must know of the inputs.
    """
    looked = Looked()
    pictures = pictures if sample is None else sample.of(pictures, looked)
    ranking = Ranking(outputs.baseline, scorer.checkpoint.names, scorer.metadata)
    metadata = scorer.metadata | (faces.metadata if faces is not None else {}) | ranking.facts
    rows, apart, whole = _Rows(), OutputsApart(), False
    ended: BaseException | None = None
    table: GrowingTable | None = None
    report: PictureReport | None = None
    try:
        table, report = _open(outputs, metadata, apart, scorer.checkpoint.vision.hidden_size)
        vectors = outputs.embeddings or outputs.npy is not None
        batches = scorer.batches(pictures, embeddings=vectors, keep_rgb=report is not None, faces=faces)
        _take(batches, ranking, rows, apart, advance)
        whole = not apart.lost
    except (EmonetError, KeyboardInterrupt) as error:
        if not rows.counts:
            raise
        ended = error
    finally:
        passed_over = skipped_text(skipped or {})
        ranking.end([table])
        if report is not None:
            report.baseline = ranking.baseline
            if passed_over:
                report.add_note(passed_over)
        apart.end_all(early=not whole, empty=not rows.counts and not whole)
    note = scorer.decoder.note()
    return ScoreSummary(
        counts={str(k): v for k, v in rows.counts.items()},
        seconds=dict(scorer.timings),
        first=_first(rows.first, ranking.baseline),
        notes=(*notes, *rows.notes, *ranking.notes(), *(faces.notes() if faces is not None else ()), *apart.notes),
        engine=f"{metadata['backend']} {metadata['precision']}",
        decoder=scorer.decoder.name + (f", {note}" if note else ""),
        skipped=passed_over,
        written=tuple(apart.written),
        faults=tuple(apart.faults),
        ended=ended,
        inputs=rows.inputs,
        looked=looked,
    )


def pace(scorer: Scorer, pictures: Iterable[Picture], faces: PictureFaces | None = None) -> float | None:
    """Seconds of work for a picture, measured on the first ones for some seconds; None where there is none."""
    measured, done = Pace(), 0
    for batch in scorer.batches(pictures, faces=faces):
        done += len({picture_of(key) for key in batch.scores.keys})
        if measured.add(done):
            break
    return measured.seconds


def pace_text(pace: float | None, pictures: int | None) -> str:
    """How long a run takes, for people. pace: seconds of work for a picture; pictures: None where that is unknown."""
    if pace is None:
        return "the time cannot be said: no picture could be scored; nothing was written"
    whole = "" if pictures is None else f"about {duration(pictures * pace)} in all, "
    return f"{whole}{pace:.3g} s a picture, measured on the first ones; nothing was written"


def _take(
    batches: Iterable[ScoredBatch], ranking: Ranking, rows: _Rows, apart: OutputsApart, advance: Callable[[int], None]
) -> None:
    """Write the batches, each whole, until there is none, or no output that has not failed."""
    for batch in batches:
        with held_signals():
            scores = ranking.ranked(batch.scores)
            rows.add(scores)
            apart.write(replace(batch, scores=scores))
        advance(len(scores))
        if apart.lost:
            return


def _first(parts: list[Scores], baseline: Baseline | None) -> Scores | None:
    """The rows for the terminal, ranked against the baseline; None without any."""
    if not parts:
        return None
    first = Scores.concat(parts)
    return first if baseline is None or first.baseline is not None else first.against(baseline)


def _open(
    outputs: ScoreOutputs, metadata: Mapping[str, str], apart: OutputsApart, width: int
) -> tuple[GrowingTable | None, PictureReport | None]:
    """Open the output files; each takes batches of the scorer. Returns table and page. width: of an embedding."""
    table: GrowingTable | None = None
    if outputs.table is not None:
        own = outputs.baseline == "self" and outputs.format == "default"
        table = sink = open_sink(
            outputs.table,
            format=outputs.format,
            metadata=metadata,
            embeddings=outputs.embeddings,
            excel=outputs.excel,
            annotated=own,
            carried=outputs.carried,
        )
        if outputs.carried is None:
            apart.add(table, lambda batch: sink.write(batch.scores))
        else:
            apart.add(table, lambda batch: sink.write((batch.scores, [one.origin for one in batch.decoded])))
    if outputs.npy is not None:
        vectors = NpySink(outputs.npy, width, file_metadata(metadata), outputs.table)
        apart.add(vectors, lambda batch: vectors.write(batch.scores))
    if outputs.report is None:
        return table, None
    report = PictureReport(
        outputs.report, outputs.title, metadata, top=outputs.top, min_reliability=outputs.min_reliability
    )

    def show(batch: ScoredBatch) -> None:
        thumbnails = [thumbnail(one.rgb) for one in batch.decoded]
        report.write(batch.scores, thumbnails, [one.photograph for one in batch.decoded])

    apart.add(report, show)
    return table, report
