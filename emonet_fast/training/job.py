"""One training from files to a folder: heads as they are published, their evaluation, and a model card."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from .._version import __version__
from ..cards import Licence, hub_names
from ..checkpoint import encoder_hash, open_checkpoint
from ..checkpoint.given_heads import GivenHeads, given_heads
from ..checkpoint.heads import Layers, Switches, widths_of
from ..checkpoint.heads_writer import write_heads
from ..checkpoint.pack import pack_heads
from ..checkpoint.spec import Checkpoint
from ..errors import DataError, OptionError
from ..evaluate.report import write_json, write_report
from ..evaluate.result import Result
from ..files import check_new_folder, new_folder, write_whole
from ..optional import require
from ..sources.embeddings import Embeddings
from ..targets import Reading, Targets, labelled, read_targets
from ..text import counted
from .card import model_card
from .judge import judged
from .loop import Step, train
from .neutral import Neutral, neutral_statistics
from .prepared import Dealt, prepare
from .settings import LAYOUTS, Training
from .solved import RIDGE, solve
from .stack import PURPOSE


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What to train on what, and where to put it.

    Args:
        embeddings: files and folders of stored embeddings.
        targets: labels, as read_targets takes them.
        output: a new folder.
        training: settings, but for the layout.
        column: of the embeddings, as of Embeddings.
        layout: of the heads, of LAYOUTS, or "ridge", which takes the loss mse and no setting but the seed; None takes
            that of `init`, else "small".
        reading: how the labels are to be read.
        init: heads to go on from; those without labels here stay as they are.
        checkpoint: whose encoder the heads are packed with; None packs nothing.
        revision: of the hub, for `init` and `checkpoint`.
        cache_dir: where packed weights are kept.
        held_out: the part of the rows that teach nothing.
        neutral: which pictures are neutral; None writes no statistics.
        experts: whether HQ's experts may be learnt from.
        rights: what the model card says of licences.
    """

    embeddings: tuple[Path, ...]
    targets: object
    output: Path
    cache_dir: Path
    training: Training = field(default_factory=Training)
    column: str | None = None
    layout: str | None = None
    reading: Reading = field(default_factory=Reading)
    init: str | None = None
    checkpoint: str | None = None
    revision: str | None = None
    held_out: float = 0.1
    neutral: Neutral | None = None
    experts: bool = False
    rights: Licence = field(default_factory=Licence)

    @property
    def state(self) -> Path:
        """The file beside the folder that holds what is done."""
        return self.output.with_name(f"{self.output.name}.state.safetensors")


def run(job: TrainJob, step: Step = lambda done, total, words: None, say: Callable[[str], None] = print) -> Result:
    """Train, judge, and write the folder; it appears whole. Returns the evaluation.

    After each epoch `job.state` holds what is done. The same job goes on from there, and the file goes at the end.

    Args:
        job: what is asked for.
        step: called after each step.
        say: gets notes before the training begins.

    Raises:
        OptionError, DataError, CheckpointError: an input does not fit, or the card has no figures to show.
        MissingPackageError: without PyTorch (extra `reference`) or matplotlib (extra `eval`).
    """
    require("torch", PURPOSE)
    require("matplotlib", PURPOSE)
    _check_output(job.output)
    _check_ridge(job)
    embeddings = Embeddings([str(place) for place in job.embeddings], column=job.column, once=True)
    checkpoint = _checkpoint(job, embeddings)
    init = _init(job, embeddings)
    targets = read_targets(job.targets, job.reading)
    neutral = None if job.neutral is None else job.neutral.values(embeddings, True)
    prepared = prepare(labelled(embeddings, targets), targets, job.held_out, job.training.seed, job.experts)
    names = prepared.examples.names
    how = job.training if job.layout == RIDGE else replace(job.training, layout=_layout(job.layout, init))
    prepared = replace(prepared, notes=(*prepared.notes, *_scale_notes(how, init, prepared)))
    for note in prepared.notes:
        say(note)
    if job.layout == RIDGE:
        trained = solve(prepared, how.seed, step)
    else:
        first = None if init is None else _first(init, names)
        trained = train(prepared.examples, how, init=first, state=job.state, step=step)
    heads = {**(init.heads if init is not None else {}), **trained.heads}
    meaning = "label" if how.loss != "bce" else "log-odds" if init is None else "order"
    result = judged(trained, heads, prepared, _facts(job, embeddings, targets, init), meaning)
    rights = job.rights if job.rights.base_model else replace(job.rights, base_model=_base(embeddings, init))
    words = (
        "none" if job.neutral is None or neutral is None else f"{counted(len(neutral), 'row')}, by {job.neutral.words}"
    )
    card = model_card(result, names, rights, words, _use(job))  # refuses before anything is written
    statistics = None if neutral is None else neutral_statistics(heads, neutral)
    with new_folder(job.output) as folder:
        write_heads(folder / "heads", heads, statistics, switches=Switches(encoder=embeddings.encoder or ""))
        write_whole(folder / "README.md", card.encode())
        write_json(result, folder / "evaluation.json")
        write_report(result, folder / "training.html")
        if checkpoint is not None:
            pack_heads(checkpoint, folder / "heads", folder / "packed.safetensors", named=job.output.name)
    with suppress(FileNotFoundError):
        job.state.unlink()
    return result


def _check_output(output: Path) -> None:
    check_new_folder(output)
    if not output.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {output.absolute().parent}; create it first")


def _check_ridge(job: TrainJob) -> None:
    if job.layout != RIDGE:
        return
    own = {"layout", "loss", "seed", "device"}
    came = [f.name for f in fields(Training) if f.name not in own and getattr(job.training, f.name) != f.default]
    came += ["init"] * (job.init is not None) + [f"loss {job.training.loss}"] * (job.training.loss != "mse")
    if came:
        raise OptionError(
            f"{', '.join(came)} came with the layout ridge, which is solved in closed form from nothing and makes the "
            "squared error small; leave that out, or take the layout linear, which is trained by steps"
        )


def _checkpoint(job: TrainJob, embeddings: Embeddings) -> Checkpoint | None:
    if job.checkpoint is None:
        return None
    checkpoint = open_checkpoint(job.checkpoint, job.cache_dir, revision=job.revision)
    embeddings.check(encoder_hash(checkpoint), checkpoint.vision.hidden_size)
    return checkpoint


def _init(job: TrainJob, embeddings: Embeddings) -> GivenHeads | None:
    if job.init is None:
        return None
    init = given_heads(job.init, job.cache_dir, job.revision)
    width = widths_of(next(iter(init.heads.values())))[0]
    if width != embeddings.width:
        raise DataError(
            f"the embeddings have {embeddings.width} numbers, and the heads of {init.source} take {width}. Take "
            "heads of the encoder that made the embeddings"
        )
    if init.encoder is not None:
        embeddings.check(init.encoder, width)
    if not init.l2_normalise:
        raise OptionError(f"the heads of {init.source} take embeddings that are not of norm 1; training goes on norm 1")
    return init


def _layout(asked: str | None, init: GivenHeads | None) -> str:
    """The layout asked for, or that of the heads to go on from."""
    if init is None:
        return asked or "small"
    hidden = widths_of(next(iter(init.heads.values())))[1:-1]
    fits = next((name for name, layout in LAYOUTS.items() if layout.hidden == hidden), None)
    if fits is None or asked not in (None, fits):
        raise OptionError(
            f"the heads of {init.source} have hidden widths {'-'.join(map(str, hidden)) or 'of nothing: linear'}; "
            f"expected those of {asked or ', '.join(LAYOUTS)}. Leave --layout out, or begin without --init"
        )
    return fits


def _first(init: GivenHeads, names: Sequence[str]) -> list[Layers]:
    lacking = [name for name in names if name not in init.heads]
    if lacking:
        raise DataError(
            f"the heads of {init.source} lack {', '.join(lacking[:5])}{' and others' if len(lacking) > 5 else ''}, "
            "which have labels. Leave these labels out (--label), or begin without --init"
        )
    return [init.heads[name] for name in names]


def _scale_notes(how: Training, init: GivenHeads | None, prepared: Dealt) -> list[str]:
    if init is None or how.loss == "bce" or (0.0, 1.0) not in prepared.examples.scales:
        return []
    return [f"labels of 0..1 with the loss {how.loss} move the heads to 0..1; --loss bce keeps their scale"]


def _facts(job: TrainJob, embeddings: Embeddings, targets: Targets, init: GivenHeads | None) -> dict[str, str]:
    return {
        "name": job.output.name,
        "embeddings": f"{', '.join(p.name for p in job.embeddings)} ({embeddings.rows:,} of {embeddings.width})",
        "encoder": embeddings.encoder or "not stated by the embeddings",
        "labels": _shown(targets.source),
        "heads before": "none" if init is None else _shown(init.source),
        "made by": f"emonet-fast {__version__}",
    }


def _shown(source: str) -> str:
    """What a card says of a source: of a place on this machine its name alone, as cards are published."""
    return Path(source).name if Path(source).exists() else source


def _base(embeddings: Embeddings, init: GivenHeads | None) -> tuple[str, ...]:
    """The encoder's name on the hub, where the embeddings tell it, and what came before."""
    encoder = hub_names(embeddings.metadata.get("checkpoint", ""))[:1]
    before = hub_names(init.source) if init is not None else ()
    return tuple(dict.fromkeys([*encoder, *before]))


def _use(job: TrainJob) -> str:
    if job.checkpoint is None:
        return (
            "emonet-fast pack --checkpoint large --heads heads -o packed.safetensors\n"
            "emonet-fast score faces/ --checkpoint packed.safetensors"
        )
    return "emonet-fast score faces/ --checkpoint packed.safetensors"
