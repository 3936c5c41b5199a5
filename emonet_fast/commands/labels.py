"""`emonet-fast labels ...`: labels of your own, from an empty project to what they hold."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options as opt
from . import stored

if TYPE_CHECKING:
    from ..targets import Reading


@click.group(cls=opt.Commands, context_settings=opt.HELP)
def labels() -> None:
    """Label faces yourself, and look at what labels hold.

    docs/labels.md goes from pictures to a head of your own.
    """


@opt.command(
    ("Sliders for the 40 emotions, to paste into a project of Label Studio:", "-o emotions.xml"),
    ("Its tasks too, for the pictures of a folder:", "-o emotions.xml --images faces/ --tasks tasks.json"),
)
@opt.output("F.xml", "Write the labelling configuration to this file.", opt.OutputFile(".xml"), required=True)
@opt.INPUT("--images DIR", "Make a task of every picture in this folder and those below it.", type=opt.PATH)
@opt.OUTPUT("--tasks F.json", "Write the tasks to this file.", type=opt.OutputFile(".json"))
def template(output: Path, images: Path | None, tasks: Path | None) -> None:
    """Write a project for Label Studio: 40 sliders, seven groups.

    Tasks name pictures by their path in Label Studio's local storage, whose document root is the folder above DIR.
    """
    from ..errors import InputError, OptionError
    from ..files import write_whole
    from ..sources.folder import FoundFiles, search_folder, seen_as_folder
    from ..targets import template as made

    if (images is None) != (tasks is None):
        raise OptionError("--images and --tasks go together; give both, or neither")
    opt.try_files(output, tasks)
    if images is not None and tasks is not None:
        found = FoundFiles()
        if seen_as_folder(images):
            search_folder(str(images), found)
        if not found.paths:
            raise InputError(f"{images} is no folder with pictures; expected some, to make tasks of")
        keys = [Path(path).relative_to(images).as_posix() for path in found.paths]
        write_whole(tasks, made.tasks(keys, images.resolve().name).encode())
    write_whole(output, made.labelling_config().encode())
    opt.wrote(output, tasks)


@opt.command(
    ("What a table, a data set or Label Studio's export holds:", "labels.csv"),
    ("Which stored embeddings have labels:", "export.json --embeddings scores.parquet"),
)
@opt.place("source", "LABELS")
@stored.labels_reading
@stored.embeddings()
@opt.embedding_column
@opt.json_file
@opt.report_page("Write one page with the tables.")
def check(
    source: Path, how: "Reading", embeddings: tuple[Path, ...], embedding_column: str | None, json: Path | None,
    report: Path | None,
) -> None:  # fmt: skip
    """Say what labels hold, and how far annotators agree.

    LABELS is a table (.csv, .parquet, .jsonl), Label Studio's export (.json), or a data set as of `evaluate`.
    """
    from ..sources.embeddings import Embeddings
    from ..targets import labelled, read_targets
    from ..targets.summary import labels_result

    opt.try_files(json, report, inputs=[source, *embeddings])
    targets = read_targets(str(source), how)
    both = labelled(Embeddings(embeddings, column=embedding_column, once=True), targets) if embeddings else None
    result = labels_result(targets, *(() if both is None else (both.joined, both.notes)))
    sys.exit(opt.show_result(result, json_path=json, report=report))


for _command in (template, check):
    labels.add_command(_command)
