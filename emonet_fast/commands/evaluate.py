"""`emonet-fast evaluate ...`: what scores are worth, by the paper's definitions and beside each other."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..options import Options
from . import engines, stored
from . import options as opt

if TYPE_CHECKING:
    from ..evaluate.result import Result
    from ..targets import Reading


@dataclass(frozen=True, slots=True)
class _Task:
    """What every evaluation is told: the predictions, how to go about them, and which files to write."""

    bootstraps: int = 1000
    predictions: Path | None = None
    partial: bool = False
    report: Path | None = None
    charts: Path | None = None
    json_path: Path | None = None

    def check(self, *inputs: str | Path | None) -> None:
        """Raise OptionError where an output cannot be written, or is the predictions or another of the inputs."""
        from ..files import files_of, keep_apart
        from ..optional import need

        if self.report is not None or self.charts is not None:
            need("matplotlib", "--report and --charts")
        read = [path for place in (self.predictions, *inputs) for path in files_of(place, _is_shard)]
        # How many charts there will be is known at the end.
        keep_apart((self.report, self.json_path, *map(Path, files_of(self.charts, _is_chart))), read)
        opt.try_files(self.report, self.json_path)

    @property
    def how(self) -> dict[str, Any]:
        """What every evaluation is called with."""
        return {"predictions": self.predictions, "partial": self.partial, "bootstraps": self.bootstraps}

    def show(self, result: "Result") -> None:
        """Print the result, write it where it is wanted, and end with the exit status."""
        sys.exit(opt.show_result(result, json_path=self.json_path, charts=self.charts, report=self.report))


_files = {
    "json_path": opt.json_file,
    "charts": opt.OUTPUT("--charts DIR", "Write the charts as PNG files into this folder.", type=opt.OutputFile()),
    "report": opt.report_page("Write one page with figures, charts and tables."),
}
_run = opt.together(
    "run",
    _Task,
    predictions=opt.INPUT(
        "--predictions -p F.parquet|.csv|.jsonl|.xlsx",
        "Read the scores from this table of `score`.",
        required=True,
        type=opt.PATH,
    ),
    partial=opt.INPUT("--partial", "Evaluate what is there, even if images or emotions are missing.", is_flag=True),
    bootstraps=opt.bootstraps,
    **_files,
)
_compared = opt.together("run", _Task, bootstraps=opt.bootstraps, **_files)
_leaking = opt.together("run", _Task, json_path=_files["json_path"], report=_files["report"])
_annotations = opt.INPUT("--annotations F.csv|.xlsx", "Read people's answers from their published file.", type=opt.PATH)
_values = opt.INPUT("--values", "Evaluate this number of each head.", default="raw", choices=["raw", "score"])


def _is_shard(name: str) -> bool:
    return name.endswith(".parquet")


def _is_chart(name: str) -> bool:
    return name.endswith(".png")


def _dataset(required: bool = False) -> opt.Declared:
    text = "Read this data set: a folder of parquet shards, one shard, or an id of the hub."
    return opt.INPUT("--dataset D", text, required=required)


@click.group(cls=opt.Commands, context_settings=opt.HELP)
def evaluate() -> None:
    """Compare scores with people's ratings, and with each other.

    The figures come from tables of predictions, of ours or of any other model. Needs the extra `eval`.
    """


@opt.command(
    ("Against the experts' ratings of the hub:", "-p scores.parquet --report hq.html"),
    ("Against a downloaded file of them:", "-p scores.csv --annotations hq.csv --json hq.json"),
)
@_run
@_annotations
@_dataset()
@_values
@opt.OUTPUT("--name NAME", "Call the model this among the raters.", default="predictions")
@engines.hub_options
def hq(run: _Task, annotations: Path | None, dataset: str | None, values: str, name: str, options: Options) -> None:
    """EmoNet-Face HQ: kappa, Spearman and alpha beside experts.

    Weighted kappa, Spearman and Krippendorff alpha are by the paper's definitions, and ours stand beside them. Experts'
    ratings come from --annotations hq.csv or --dataset (without both: laion/emonet-face-hq). With both, the data set
    says which row of its shards is which image.
    """
    from ..evaluate import evaluate_hq

    run.check(annotations, dataset)
    run.show(
        evaluate_hq(annotations=annotations, dataset=dataset, values=values, name=name, options=options, **run.how)
    )


@opt.command(
    ("Against the annotators' answers of the hub:", "-p scores.parquet"),
    ("Against a downloaded file of them, with charts:", "-p scores.csv --annotations binary.csv --charts charts/"),
)
@_run
@_annotations
@_dataset()
@_values
@opt.INPUT(
    "--threshold X", "Count an emotion as seen from this score on, for the F1 at a fixed threshold.", default=1.0
)
@engines.hub_options
def binary(
    run: _Task, annotations: Path | None, dataset: str | None, values: str, threshold: float, options: Options
) -> None:
    """EmoNet-Face Binary: ROC AUC, precision, F1, agreement.

    Answers come from --annotations binary.csv or --dataset (without both: laion/emonet-face-binary).
    """
    from ..evaluate import evaluate_binary

    run.check(annotations, dataset)
    hub: dict[str, Any] = {"dataset": dataset, "options": options}
    run.show(evaluate_binary(annotations=annotations, values=values, threshold=threshold, **hub, **run.how))


@opt.command(
    ("FERD, whose file names say the class:", "-p scores.parquet --mapping ferd --labels from-name"),
    ("Classes of your own:", "-p scores.parquet --mapping classes.json --labels labels.csv"),
    name="any-hit",
)
@_run
@opt.INPUT(
    "--mapping ferd|affectnet|F.json",
    "Match classes with emotions as published, or by this JSON file; docs/evaluation.md shows one.",
    required=True,
)
@opt.INPUT(
    "--labels L",
    "Read each picture's class from a CSV, JSON lines or JSON file, or from-name (0000_Happy.jpg).",
    required=True,
)
def any_hit(run: _Task, mapping: str, labels: str) -> None:
    """FERD, AffectNet or your own classes: any-hit accuracy.

    The published any-hit accuracy stands beside what random scores reach.
    """
    from ..evaluate import evaluate_any_hit

    run.check(mapping, labels)
    run.show(evaluate_any_hit(mapping=mapping, labels=labels, **run.how))


@opt.command(
    ("Scores and errors on EmoNet-Face HQ:", "-p scores.parquet --dataset laion/emonet-face-hq"),
    ("Scores alone, on the training set:", "-p big.parquet --dataset laion/emonet-face-big --no-annotations"),
)
@_run
@_dataset(required=True)
@_values
@opt.INPUT("--no-annotations", "Look at scores only, for data sets without experts, such as Big.", is_flag=True)
@engines.hub_options
def demographics(run: _Task, dataset: str, values: str, no_annotations: bool, options: Options) -> None:
    """Scores and errors by age, gender and ethnicity.

    These are what the prompts asked for from which the faces were made.
    """
    from ..evaluate import evaluate_demographics

    run.check(dataset)
    experts = not no_annotations
    run.show(evaluate_demographics(dataset=dataset, annotations=experts, values=values, options=options, **run.how))


@opt.command(
    ("Two checkpoints against people's labels:", "small.parquet large.parquet --truth labels.csv --report both.html"),
    ("Two precisions, without a truth:", "fp32.parquet int8.parquet"),
)
@opt.place("a", "A")
@opt.place("b", "B")
@_compared
@opt.INPUT(
    "--truth T", "Take the truth from these labels: a table, a published file, a data set, Label Studio's export."
)
@_values
@stored.labels_reading
@opt.INPUT(
    "--unit COLUMN",
    "Draw the persons or sources in this column of the truth in a resample, or each picture (picture).",
    show_default="the first such column, else picture",
)
@opt.progress
def compare(
    run: _Task, a: Path, b: Path, truth: str | None, values: str, how: "Reading", unit: str | None, progress: str
) -> None:
    """Two sets of predictions side by side.

    A and B are tables of `score`, of two checkpoints, precisions or heads, or of other models. With --truth each has
    its figures, and their difference an interval and p by a paired bootstrap; without, A and B are compared alone.
    """
    from ..compare import compare_predictions

    run.check(a, b, truth)
    run.show(
        compare_predictions(
            a, b, truth, values=values, how=how, unit=unit, bootstraps=run.bootstraps, progress=progress
        )
    )


@opt.command(
    (
        "What test pictures are in the training set too:",
        "train.parquet test.parquet --group-by person --report leaks.html",
    ),
    ("Copies alone, of the embeddings of two bulk runs:", "train/ test/ --duplicate 0.99"),
)
@opt.place("a", "A")
@opt.place("b", "B")
@_leaking
@opt.embedding_column
@stored.group_by()
@opt.duplicate
@opt.progress
def leaks(
    run: _Task, a: Path, b: Path, embedding_column: str | None, group_by: tuple[str, ...], duplicate: float,
    progress: str,
) -> None:  # fmt: skip
    """What two parts of a data set share: pictures, people.

    A and B are stored embeddings, such as of a training and a test set: a table of `score --embeddings`, the folder of
    `bulk --embeddings`, or .npy. Near-duplicates are pairs whose embeddings have a cosine of --duplicate or more.
    """
    from ..compare import find_leaks

    run.check(a, b)
    run.show(find_leaks(a, b, column=embedding_column, by=group_by, threshold=duplicate, progress=progress))


for _command in (hq, binary, any_hit, demographics, compare, leaks):
    evaluate.add_command(_command)
