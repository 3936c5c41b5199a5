"""`emonet-fast probe`: labels of your own become heads, by linear regression on stored embeddings."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import Options
from . import engines, stored
from . import options as opt

if TYPE_CHECKING:
    from ..targets import Reading

_KINDS = ("ridge", "linear")


@opt.command(
    (
        "A head of each emotion in a table of labels:",
        "--embeddings e.parquet --labels labels.csv -c large -o probe/",
    ),
    (
        "Classes of your own, nobody on both sides of a fold:",
        "--embeddings e.parquet --labels l.csv --label expression --group-by person -o own/ --report own.html",
    ),
)
@stored.embeddings(required=True)
@opt.embedding_column
@opt.INPUT(
    "--labels L",
    "Read the labels from this table, export of Label Studio, or data set; docs/labels.md shows them.",
    required=True,
)
@stored.labels_reading
@opt.INPUT(
    "--kind",
    "Choose the strength of ridge by inner folds, or take least squares.",
    ("ridge", "linear"),
    default="ridge",
)
@opt.INPUT("--folds N", "Cross-validate by so many folds.", type=click.IntRange(2, 20), default=5)
@opt.INPUT("--seed N", "Draw the folds from this seed.", type=click.IntRange(0), default=0)
@opt.duplicate
@opt.bootstraps
@engines.packed_with
@engines.hub_options
@opt.output("DIR", "Write the heads, and their figures, into this new folder.", required=True)
@opt.json_file
@opt.report_page("Write one page with figures, charts and tables.")
@opt.progress
def probe(
    embeddings: tuple[Path, ...], embedding_column: str | None, labels: str, how: "Reading", kind: str, folds: int,
    seed: int,
    duplicate: float, bootstraps: int, checkpoint: str | None, options: Options,
    output: Path, json: Path | None, report: Path | None, progress: str,
) -> None:  # fmt: skip
    """Make heads of your own labels, and say what they are worth.

    A linear probe of each name learns from stored embeddings. Its figures are of rows that it did not see, nor anything
    of their person or source. With -c, or by `pack --heads`, they score as any others do. For heads of more layers,
    other losses and a model card there is `train`, whose layout ridge is this probe, judged on held-out rows.
    """
    from ..bars import phases
    from ..checkpoint import encoder_hash, open_checkpoint
    from ..files import check_new_folder
    from ..optional import need
    from ..probes import run_probe, save_probe
    from ..sources.embeddings import Embeddings
    from ..targets import read_targets

    if report is not None:
        need("matplotlib", "--report")
    check_new_folder(output)
    opt.try_files(json, report, inputs=[labels, *embeddings])
    found = Embeddings(embeddings, column=embedding_column, once=True)
    opened = None
    if checkpoint is not None:
        opened = open_checkpoint(checkpoint, options.cache_dir, options.revision)
        found.check(encoder_hash(opened), opened.vision.hidden_size)
    targets = read_targets(labels, how)
    with phases(show=progress) as step:
        probed = run_probe(
            found, targets, kind=kind, folds=folds, seed=seed, duplicate=duplicate, bootstraps=bootstraps, step=step
        )
    save_probe(probed, output, opened)
    status = opt.show_result(probed.result, json_path=json, report=report)
    opt.wrote(output)
    sys.exit(status)
