"""`emonet-fast summarise`: stored scores in few figures, group by group."""

from pathlib import Path

import click

from ..text import counted
from . import options as opt
from . import stored


@opt.command(
    ("Each face of a video, in a table:", "video.parquet -o faces.csv"),
    (
        "Conditions of a study, with intervals over participants:",
        "video.parquet --participants people.csv --by condition --baseline usual.json -o study.csv --report study.html",
    ),
)
@click.argument("scores", nargs=-1, required=True, metavar="SCORES...", cls=opt.Argument, type=opt.PATH)
@stored.by
@stored.participants
@stored.unit
@stored.summarised_kind
@stored.above
@stored.max_gap
@stored.baseline()
@opt.tables_output(
    "F.csv|.parquet|.xlsx",
    "Write the figures to this table, and the groups to <name>.groups.<suffix> beside it.",
    required=True,
)
@opt.excel
@opt.report_page("Write a page with means, intervals and transitions too.")
@opt.progress
def summarise(
    scores: tuple[Path, ...],
    by: tuple[str, ...],
    participants: Path | None,
    unit: tuple[str, ...],
    kind: str,
    above: float | None,
    max_gap: float | None,
    baseline: str | None,
    output: Path,
    excel: bool,
    report: Path | None,
    progress: str,
) -> int:
    """Put stored scores into few figures, group by group.

    SCORES are tables of score, video or LAION (.parquet, .csv, .jsonl, .xlsx) and folders of bulk, all of one
    checkpoint and precision. For each group and dimension: n, mean, deviation, quantiles, slope over time, mean
    absolute difference, share of time above a threshold, and the mean of the units with its interval. For each group:
    rows left out, entropy, and transitions between the strongest groups of emotions. docs/summaries.md defines every
    figure.
    """
    from ..bars import progress as bar_of
    from ..files import files_of
    from ..sinks.encoders import companions
    from ..summaries import summarise as summarised
    from ..summaries.report import write_report
    from ..summaries.tables import groups_path, open_tables

    places = [*scores, participants, None if baseline == "self" else baseline]
    inputs = [name for place in places for name in files_of(place)]
    opt.try_files(*companions(output), *companions(groups_path(output)), report, inputs=inputs)
    for table in open_tables(output, {}, excel):
        table.abort()
    with bar_of(None, "row", show=progress) as bar:
        summary = summarised(
            scores,
            by or None,
            participants=participants,
            kind=kind,
            above=above,
            unit=unit or None,
            max_gap=float("inf") if max_gap is None else max_gap,
            baseline=stored.chosen_baseline(baseline, "self"),
            progress=bar.update,
        )
    for note in summary.notes:
        opt.say(f"note: {note}")
    status = opt.write_apart(
        lambda: summary.write(output, excel=excel), lambda: [] if report is None else write_report(summary, report)
    )
    facts = summary.metadata
    rest = "; ".join(
        f"{name.replace('_', ' ')}: {facts[name]}" for name in ("left_out", "not_named") if facts.get(name)
    )
    rows, groups = counted(int(facts["rows"]), "row"), counted(summary.groups.num_rows, "group")
    opt.say(f"{rows} in {groups}" + (f"; {rest}" if rest else ""))
    return status
