"""`emonet-fast train`: heads of your own from stored embeddings and labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bars import progress as bar
from ..errors import OptionError
from ..options import Options
from . import engines, stored
from . import options as opt

if TYPE_CHECKING:
    from ..cards import Licence
    from ..targets import Reading

_LAYOUTS = ("small", "large", "linear", "ridge")
_LOSSES = ("mae", "mse", "bce", "ordinal")


@opt.command(
    ("40 small heads on weak labels:", "--embeddings big.parquet --targets labels.parquet -o big/"),
    ("Go on with people's yes and no:", "--embeddings b.parquet --targets binary/ --init big/ --loss bce -o heads/"),
    ("Heads of your own words, packed for use:", "--embeddings e.parquet --targets own.csv -c large -o own/"),
)
@stored.embeddings(required=True)
@opt.embedding_column
@opt.INPUT("--targets T", "Learn these labels: a table, a data set, or Label Studio's export.", required=True)
@stored.labels_reading
@opt.INPUT("--held-out X", "Hold out this part of the rows.", type=opt.NumberRange(0, 1, True, True), default=0.1)
@opt.INPUT(
    "--neutral COLUMN=VALUE|F",
    "Take the neutral statistics of rows with this value in a column of the embeddings, or of the pictures in a list.",
)
@opt.INPUT("--train-on-hq", "Learn HQ's experts, too: nothing can be proved on HQ then.", is_flag=True)
@opt.ENGINE(
    "--layout",
    "Make heads of this shape; ridge is a linear one, solved for.",
    _LAYOUTS,
    show_default="that of --init, else small",
)
@opt.ENGINE("--init C", "Go on from these heads: a training's folder, a packed file, large or small.")
@opt.ENGINE("--loss", "Make this small.", _LOSSES, show_default="mae; mse of ridge")
@opt.ENGINE("--epochs auto|N", "See all rows at most so many times.", default="auto")
@opt.ENGINE("--batch-size N", "Learn from this many rows in one step.", type=click.IntRange(1), show_default="by rows")
@opt.ENGINE("--learning-rate X", "Learn at most this fast.", type=opt.NumberRange(0, min_open=True))
@opt.ENGINE("--seed N", "Draw the first weights, the split and the order of rows from this.", type=int, default=0)
@opt.ENGINE("--precision", "Multiply in this precision.", ("auto", "fp32", "bf16"), default="auto")
@opt.ENGINE("--device", "Compute on this.", ("auto", "cpu", "cuda"), default="auto")
@engines.packed_with
@engines.hub_options
@opt.rights
@opt.output("DIR", "Write heads, figures and the model card to this new folder.", required=True)
@opt.progress
def train(
    embeddings: tuple[Path, ...],
    embedding_column: str | None,
    targets: str,
    how: "Reading",
    held_out: float,
    neutral: str | None,
    train_on_hq: bool,
    layout: str | None,
    init: str | None,
    loss: str | None,
    epochs: str,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    precision: str,
    device: str,
    checkpoint: str | None,
    options: Options,
    rights: "Licence",
    output: Path,
    progress: str,
) -> None:
    """Train heads on stored embeddings.

    All heads learn at once, and each stops by itself. A run that was stopped goes on with the same command: what is
    done lies in DIR.state.safetensors until the end. With fewer than some thousand labels take `probe`: its linear
    heads learn from all of them, and are judged on all of them. See docs/training.md.
    """
    from ..evaluate.report import text
    from ..training import Neutral, Training, TrainJob, run

    if epochs != "auto" and not epochs.isdecimal():
        raise OptionError(f"--epochs {epochs} came; expected auto or a whole number")
    settings = Training(
        loss=loss or ("mse" if layout == "ridge" else "mae"),
        epochs=None if epochs == "auto" else int(epochs),
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
        device=_device(device),
    )
    job = TrainJob(
        embeddings,
        targets,
        output,
        options.cache_dir,
        settings,
        column=embedding_column,
        layout=layout,
        reading=how,
        init=init,
        checkpoint=checkpoint,
        revision=options.revision,
        held_out=held_out,
        neutral=None if neutral is None else Neutral.of(neutral),
        experts=train_on_hq,
        rights=rights,
    )
    bars: list[Any] = []

    def step(done: int, total: int, words: str) -> None:
        if not bars:
            bars.append(bar(total, "step", "training", progress))
        bars[0].set_postfix_str(words, refresh=False)
        bars[0].update(done - bars[0].n)

    try:
        result = run(job, step, lambda note: opt.say(f"note: {note}", err=True))
    except KeyboardInterrupt:
        if job.state.exists():
            opt.say(f"{job.state} holds the epochs that are done; the same command goes on from there", err=True)
        raise
    finally:
        for shown in bars:
            shown.close()
    opt.say(*text(result, "training.html and evaluation.json").split("\n"), f"wrote {output}")


def _device(asked: str) -> str:
    from ..optional import need

    if asked == "cpu":
        return asked
    there = bool(need("torch", "training heads").cuda.is_available())
    if asked == "cuda" and not there:
        raise OptionError("--device cuda came; expected a GPU that PyTorch can use. Take cpu")
    return "cuda" if there else "cpu"
