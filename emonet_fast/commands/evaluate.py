"""`emonet-fast evaluate ...`: arguments to the evaluations, their results shown and written, nothing else.

Everything heavy is imported when a command runs, so that `emonet-fast --help` stays cheap.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ..evaluate.annotations import Answers, Ratings
    from ..evaluate.result import Result

_Command = TypeVar("_Command", bound=Callable[..., None])
_FILE = click.Path(path_type=Path)

_predictions = click.option(
    "--predictions", "-p", required=True, type=_FILE, metavar="F", help="F.parquet, F.csv or F.jsonl of scores."
)
_dataset = click.option("--dataset", metavar="D", help="Folder of parquet shards, one shard, or the hub's id.")
_values = click.option(
    "--values",
    default="raw",
    show_default=True,
    type=click.Choice(["raw", "mean-subtracted"]),
    help="Which number of each head.",
)
_partial = click.option("--partial", is_flag=True, help="Evaluate what is there, even if images or emotions lack.")
_bootstraps = click.option(
    "--bootstraps", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Resamples an interval."
)
_revision = click.option("--revision", metavar="REV", help="Revision of the hub's data set, instead of the pin.")
_cache_dir = click.option("--cache-dir", type=_FILE, help="Where pins are kept.  [default: see doctor]")


def _outputs(command: _Command) -> _Command:
    """The options that every evaluation writes by."""
    for option in (
        click.option("--json", "json_path", type=_FILE, help="F.json: every figure in full precision."),
        click.option("--charts", type=_FILE, metavar="DIR", help="Folder for the charts as PNG."),
        click.option("--report", type=_FILE, help="F.html: one page with figures, charts and tables."),
    ):
        command = option(command)
    return command


@click.group()
def evaluate() -> None:
    """See what scores are worth: the paper's figures from predictions (extra `eval`)."""


@evaluate.command()
@_predictions
@click.option("--annotations", type=_FILE, metavar="F", help="The published hq.csv.")
@_dataset
@_values
@click.option("--name", default="predictions", show_default=True, help="What to call the model among the raters.")
@_partial
@_bootstraps
@_outputs
@_revision
@_cache_dir
def hq(
    predictions: Path,
    annotations: Path | None,
    dataset: str | None,
    values: str,
    name: str,
    partial: bool,
    bootstraps: int,
    report: Path | None,
    charts: Path | None,
    json_path: Path | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """EmoNet-Face HQ: weighted kappa, Spearman and Krippendorff alpha by the paper's definitions, and ours beside.

    Experts' ratings come from --annotations hq.csv or --dataset (without both: laion/emonet-face-hq). With both, the
    data set says which row of its shards is which image.
    """
    from ..evaluate.hq import evaluate_hq
    from ..evaluate.hq_tables import hq_result
    from ..evaluate.predictions import Values, read_predictions

    _check_outputs(report, charts, json_path)
    found = read_predictions(predictions, Values(values), partial)
    ratings = _ratings(annotations, dataset, revision, cache_dir, partial)
    figures = evaluate_hq(found, ratings, name=name, partial=partial, bootstraps=bootstraps)
    _show(hq_result(figures, str(predictions)), report, charts, json_path)


@evaluate.command()
@_predictions
@click.option("--annotations", type=_FILE, metavar="F", help="The published binary.csv.")
@_dataset
@_values
@click.option("--threshold", default=1.0, show_default=True, help="Of the F1 at a fixed threshold.")
@_partial
@_bootstraps
@_outputs
@_revision
@_cache_dir
def binary(
    predictions: Path,
    annotations: Path | None,
    dataset: str | None,
    values: str,
    threshold: float,
    partial: bool,
    bootstraps: int,
    report: Path | None,
    charts: Path | None,
    json_path: Path | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """EmoNet-Face Binary: ROC AUC, average precision and F1, and the annotators' agreement.

    Answers come from --annotations binary.csv or --dataset (without both: laion/emonet-face-binary).
    """
    from ..evaluate.binary import evaluate_binary
    from ..evaluate.predictions import Values, read_predictions
    from ..evaluate.tables import binary_result

    _check_outputs(report, charts, json_path)
    found = read_predictions(predictions, Values(values), partial)
    answers = _answers(annotations, dataset, revision, cache_dir)
    figures = evaluate_binary(found, answers, fixed=threshold, partial=partial, bootstraps=bootstraps)
    _show(binary_result(figures, str(predictions)), report, charts, json_path)


@evaluate.command("any-hit")
@_predictions
@click.option("--mapping", required=True, metavar="M", help="ferd, affectnet, or F.json of one's own.")
@click.option("--labels", required=True, metavar="L", help="F.csv, F.jsonl or F.json, or from-name (0000_Happy.jpg).")
@_partial
@_bootstraps
@_outputs
def any_hit(
    predictions: Path,
    mapping: str,
    labels: str,
    partial: bool,
    bootstraps: int,
    report: Path | None,
    charts: Path | None,
    json_path: Path | None,
) -> None:
    """FERD, AffectNet or one's own classes: the published any-hit accuracy, and what random scores reach."""
    from ..evaluate.any_hit import evaluate_any_hit
    from ..evaluate.mapping import read_mapping
    from ..evaluate.predictions import Values, read_predictions
    from ..evaluate.tables import any_hit_result

    _check_outputs(report, charts, json_path)
    known = read_mapping(mapping)
    found = read_predictions(predictions, Values.MEAN_SUBTRACTED, partial)
    figures = evaluate_any_hit(found, known, labels, partial=partial, bootstraps=bootstraps)
    _show(any_hit_result(figures, str(predictions), labels), report, charts, json_path)


@evaluate.command()
@_predictions
@click.option("--dataset", required=True, metavar="D", help="Folder of parquet shards, one shard, or the hub's id.")
@_values
@click.option("--no-annotations", is_flag=True, help="Scores only; for data sets without experts, such as Big.")
@_partial
@_bootstraps
@_outputs
@_revision
@_cache_dir
def demographics(
    predictions: Path,
    dataset: str,
    values: str,
    no_annotations: bool,
    partial: bool,
    bootstraps: int,
    report: Path | None,
    charts: Path | None,
    json_path: Path | None,
    revision: str | None,
    cache_dir: Path | None,
) -> None:
    """Scores and errors by the age, gender and ethnicity that the faces' prompts asked for."""
    from ..datasets import Kind, open_dataset
    from ..evaluate.demographics import evaluate_demographics
    from ..evaluate.predictions import Values, read_predictions
    from ..evaluate.tables import demographics_result

    _check_outputs(report, charts, json_path)
    found = read_predictions(predictions, Values(values), partial)
    data = open_dataset(dataset, Kind.BIG if no_annotations else None, revision=revision, cache_dir=cache_dir)
    figures = evaluate_demographics(found, data, partial=partial, bootstraps=bootstraps)
    _show(demographics_result(figures, str(predictions)), report, charts, json_path)


def _ratings(
    annotations: Path | None, dataset: str | None, revision: str | None, cache_dir: Path | None, partial: bool
) -> "Ratings":
    from ..datasets import Kind, open_dataset
    from ..datasets.reader import HUB_NAMES
    from ..evaluate.annotations import hq_from_csv, hq_from_dataset
    from ..evaluate.rows import with_rows

    if annotations is not None and dataset is None:
        return hq_from_csv(annotations, partial)
    data = open_dataset(dataset or HUB_NAMES[Kind.HQ], Kind.HQ, revision=revision, cache_dir=cache_dir)
    if annotations is None:
        return hq_from_dataset(data, partial)
    return with_rows(hq_from_csv(annotations, partial), data)


def _answers(annotations: Path | None, dataset: str | None, revision: str | None, cache_dir: Path | None) -> "Answers":
    from ..datasets import Kind, open_dataset
    from ..datasets.reader import HUB_NAMES
    from ..evaluate.annotations import binary_from_csv, binary_from_dataset

    if annotations is not None and dataset is not None:
        raise click.UsageError("--annotations and --dataset both hold the answers; give one of them")
    if annotations is not None:
        return binary_from_csv(annotations)
    name = dataset or HUB_NAMES[Kind.BINARY]
    return binary_from_dataset(open_dataset(name, Kind.BINARY, revision=revision, cache_dir=cache_dir))


def _check_outputs(report: Path | None, charts: Path | None, json_path: Path | None) -> None:
    """Before anything is computed: the packages for charts, and that every file can be written.

    Raises:
        MissingPackageError: matplotlib is not installed. OptionError: a folder is missing or cannot be written to.
    """
    from ..files import PendingFile
    from ..optional import need

    if report is not None or charts is not None:
        need("matplotlib", "--report and --charts")
    for path in (report, json_path):
        if path is not None:
            PendingFile(path).discard()


def _show(result: "Result", report: Path | None, charts: Path | None, json_path: Path | None) -> None:
    from ..evaluate.report import write_charts, write_json, write_report
    from ..evaluate.terminal import text

    click.echo(text(result))
    written = []
    if json_path is not None:
        write_json(result, json_path)
        written.append(json_path)
    if charts is not None:
        written += write_charts(result, charts)
    if report is not None:
        write_report(result, report)
        written.append(report)
    for path in written:
        click.echo(f"wrote {path}")
