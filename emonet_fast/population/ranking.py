"""What the rows of a run are ranked against: a known population, or the run's own rows once all are scored."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from ..baseline import Baseline
from ..scores import Scores
from ..sinks.streamed import StreamedTable
from .annotate import Populations, adding
from .spool import Spool


class Ranking:
    """Ranks the rows of one run.

    Args:
        baseline: a known population; "self" for the run's own rows, "person" for each track's own rows; None ranks
            rows by themselves.
        names: D slugs of the checkpoint's heads.
        metadata: of the scores.

    Attributes:
        populations: None as long as they are not known, or where there are none.

    Raises:
        OptionError: when a known population is of another checkpoint.
    """

    def __init__(self, baseline: Baseline | str | None, names: Sequence[str], metadata: Mapping[str, str]) -> None:
        self.populations: Populations | None = None
        self._names, self._by_person = names, baseline == "person"
        self._spool: Spool | None = None
        if isinstance(baseline, Baseline):
            baseline.check(names, metadata)
            self.populations = baseline
        elif baseline is not None:
            self._spool = Spool(names, metadata)

    @property
    def facts(self) -> dict[str, str]:
        """What the outputs' metadata say of the populations, as far as they are known."""
        if self.baseline is not None:
            return self.baseline.facts
        return {} if self.populations is None else {"baseline": "each person's own rows"}

    def ranked(self, scores: Scores, people: Sequence[Hashable] = ()) -> Scores:
        """The rows against a known population; the run's own are kept for theirs. people: as of Spool.add."""
        if self._spool is not None:
            self._spool.add(scores, people)
            return scores
        return scores if self.baseline is None else scores.against(self.baseline)

    def end(self, tables: Iterable[object]) -> None:
        """Take in that all rows are scored: against the run's own rows, tables get z and percentile columns."""
        if self._spool is None:
            return
        with self._spool as spool:
            if not spool.rows:
                return
            self.populations = spool.of_people() if self._by_person else spool.of_all()
        for table in tables:
            if isinstance(table, StreamedTable):
                table.annotate(adding(self._names, self.populations), self.facts)

    @property
    def baseline(self) -> Baseline | None:
        """The one population of all rows, as far as it is known."""
        return self.populations if isinstance(self.populations, Baseline) else None

    def notes(self) -> list[str]:
        """What a reader must know of the run's own rows as a population."""
        return [] if self._spool is None or self.baseline is None else self.baseline.notes({})
