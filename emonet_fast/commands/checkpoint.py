"""`emonet-fast pack`, `build` and `synthetic`: weights into one file, an engine ahead of its use, weights for tests."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bars import phases, steps
from ..errors import CheckpointError, OptionError
from ..options import Options
from ..text import counted
from . import engines
from . import options as opt
from .outputs import try_files

if TYPE_CHECKING:
    from ..cards import CardFile
    from ..checkpoint.spec import Checkpoint


@opt.command(
    ("Weights of the hub as one file, for machines without a connection:", "-c large -o large.safetensors"),
    ("A downloaded folder with encoder/ and heads/:", "-c weights/ -o packed.safetensors"),
    ("The encoder of a checkpoint with heads of `emonet-fast train`:", "-c large --heads mine/ -o mine.safetensors"),
)
@engines.checkpoint
@engines.hub_options
@opt.ENGINE("--heads DIR", "Take the heads of this folder, such as a training's, not the checkpoint's.", type=opt.PATH)
@engines.detector_model
@opt.output("F.safetensors", "Write the packed weights to this file.", opt.OutputFile(".safetensors"), required=True)
@opt.card_file
def pack(
    checkpoint: str,
    options: Options,
    heads: Path | None,
    detector_model: Path | None,
    output: Path,
    card: "CardFile | None",
) -> None:
    """Put all weights into one safetensors file.

    It holds encoder, heads, neutral means and preprocessing, and the face detector where it can be had: with it, a
    machine without a connection finds faces too. The card knows the rights of published weights; --license,
    --base-model and --dataset go before.
    """
    from ..checkpoint import pack_to
    from ..checkpoint.given_heads import heads_folder
    from ..faces import FaceDetector
    from ..faces.finder import find_model

    try_files(card.path if card else None, inputs=[checkpoint, *([heads] if heads else [])])
    folder = heads_folder(heads) if heads is not None else None
    if heads is not None and folder is None:
        raise CheckpointError(f"{heads} is no folder of heads; expected files model_*_best.pth, or heads/ with them.")
    detector, fault = None, ""
    try:
        detector = find_model(detector_model, options.cache_dir)
        FaceDetector(detector)  # refuses what is no detector
    except CheckpointError as error:
        if detector_model is not None:
            raise
        fault = str(error).partition(". Expected")[0]
    with steps("packing") as done:
        packed = pack_to(checkpoint, output, options.cache_dir, options.revision, done, detector, folder)
    if detector is None:
        opt.say(f"without the face detector, which then needs a connection or --detector-model: {fault}")
    if card is not None:
        changes = "Their values are unchanged; the encoder's text tower is left out."
        card.write(output.name, packed, changes, f"emonet-fast score faces/ --checkpoint {output.name}")
    size = output.stat().st_size / 1e6
    opt.say(f"wrote {output}: {counted(len(packed.names), 'head')}, {size:.0f} MB, {packed.weights_hash}")


@opt.command(
    ("An engine of TensorRT for the first GPU:", "-c large --backend tensorrt"),
    ("One of eight bits for another GPU:", "-c large --backend tensorrt --precision fp8 --device cuda:1"),
)
@engines.checkpoint
@engines.engine_options(
    "decoder",
    "exif",
    "threads",
    "streams",
    "max_pixels",
    "max_bytes",
    "max_memory",
    "max_seconds",
    "trust_engine",
    "recipe",
    "accept_fidelity",
)
def build(checkpoint: str, options: Options) -> None:
    """Build an engine of TensorRT ahead of its first use.

    It is compared with the float32 network, and one that misses its bars is not kept: the text says by how much. Other
    backends build at their first use. Batches smaller than --batch-size (64 if not given) are padded to 1, 8 or it.
    """
    from ..backends.choose import choose
    from ..backends.tensorrt.libraries import find, open_native
    from ..checkpoint import open_checkpoint

    if options.backend != "tensorrt":
        raise OptionError(f"backend is {options.backend!r}; expected tensorrt: the others build at their first use")
    choose(options)  # refuses a device that is no GPU
    open_native(find(), options.device)  # says what is missing before anything is packed
    with steps("packing") as done:
        opened = open_checkpoint(checkpoint, options.cache_dir, revision=options.revision, progress=done)
    build_tensorrt(opened, options)


def build_tensorrt(opened: "Checkpoint", options: Options) -> None:
    """Build an engine where none is stored, and say what became of it."""
    from ..backends.tensorrt.backend import TensorRtBackend
    from ..backends.tensorrt.libraries import find

    with phases() as show:
        engine = TensorRtBackend(
            opened,
            options.device,
            options.precision,
            options.batch_size,
            options.cache_dir,
            progress=show,
            libraries=find(),
        )
    report = engine.report
    engine.close()
    if report is None:
        opt.say("the engine is in the cache already, and was found whole")
        return
    opt.say(*report.text().split("\n"))


@opt.command(
    ("A whole checkpoint of 2 GB:", "weights/"), ("A small one for quick tests:", "weights/ --layers 1 --heads small")
)
@opt.place("folder", "DIR")
@opt.OUTPUT(
    "--heads",
    "Make heads of this size: 40 large ones as released, or 44 small ones.",
    default="large",
    choices=["large", "small"],
)
@opt.OUTPUT("--layers N", "Make a vision tower of this many layers.", default=27, type=click.IntRange(1, 27))
@opt.OUTPUT("--seed N", "Draw the weights from this seed.", default=0, type=click.IntRange(0))
def synthetic(folder: Path, heads: str, layers: int, seed: int) -> None:
    """Write untrained weights, for tests and demos.

    The checkpoint has the published file layout, and its weights come from a seed; its scores mean nothing.
    """
    from ..testing.synthetic import write_synthetic

    with steps("making", "step") as done:
        write_synthetic(folder, heads=heads, layers=layers, seed=seed, progress=done)
    opt.say(f"wrote {folder}: untrained weights, whose numbers mean nothing")
