"""`emonet-fast profile`: where the time of scoring goes."""

import sys
from pathlib import Path

from ..bars import progress
from ..options import Options
from . import engines
from . import options as opt


@opt.command(
    ("Where the time goes with the pictures of a folder:", "photos/ -c small"),
    ("More of them, and a flame graph for speedscope:", "photos/ -c small --pictures 500 --flame profile.json"),
)
@opt.inputs
@opt.image_column
@engines.checkpoint
@opt.most_pictures("Score at most this many pictures.")
@engines.engine_options()
@opt.OUTPUT(
    "--flame F.html",
    "Write the flame graph to this page, or for speedscope to F.json (extra `profile`).",
    type=opt.OutputFile(*opt.PAGES, ".json"),
    default=Path("profile.html"),
)
@opt.json_file
def profile(
    inputs: tuple[str, ...],
    image_column: str | None,
    checkpoint: str,
    pictures: int,
    options: Options,
    flame: Path,
    json: Path | None,
) -> None:
    """Say where the time of scoring goes.

    Shows seconds by room, waits, kernels of a GPU, a flame graph, and what to make faster. The first batches are part
    of it: of a short run they are much.
    """
    from ..files import keep_apart
    from ..profile.flame import Flame
    from ..profile.run import profile as profiled
    from ..scorer import Scorer
    from ..sources import Inputs

    sampler = Flame(flame)  # says what is missing before weights are read
    opt.try_files(flame, json)
    source = Inputs(inputs, options, image_column=image_column)
    keep_apart((flame, json), (*source.paths(), *opt.files_read(checkpoint, options)))
    total = pictures if source.total is None else min(pictures, source.total)
    with Scorer(checkpoint, options=options) as scorer, progress(total) as bar:
        scorer.open(pictures=total)
        result = profiled(scorer, source, limit=pictures, around=sampler.recording, advance=bar.update)
    opt.say(*result.text().split("\n"))
    written = opt.write_apart(sampler.write, lambda: opt.write_json(json, result.as_dict()))
    sys.exit(written if result.scored else opt.Exit.FAILED)
