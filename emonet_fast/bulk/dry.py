"""What a bulk run would score, and about how long it takes. Nothing is written into its folder."""

from collections.abc import Callable, Iterable
from itertools import chain

from ..checkpoint.tensors import Progress
from ..faces import PictureFaces, prepare_faces
from ..records import Picture
from ..scorer import Scorer
from ..sources import Inputs
from ..sources.embeddings import Embeddings
from .folder import Folder
from .job import described, find_inputs, kept_plan, wanted
from .plan import make_plan
from .settings import Settings, parse_devices, threads_each

# Files that are read for the measurement, at most.
_FILES = 1000


def preview(
    settings: Settings,
    say: Callable[[str], None],
    pace: Callable[[Scorer, Iterable[Picture], PictureFaces | None], float | None],
    packing: Progress | None = None,
) -> tuple[float | None, int | None]:
    """Seconds of work for a picture on the first device, and how many pictures each device has; None where unknown.

    `say` takes lines for people: the plan, and how much of it is done. pace: measures the first pictures. packing: see
    Scorer.open.
    """
    devices = parse_devices(settings.devices)
    found = find_inputs(settings, say)
    settings = settings if found.stored is None else settings.of_embeddings(found.stored)
    plan = make_plan(found, settings.places, settings.shard_size, settings.image_column, "")
    mine = todo = settings.mine(plan)
    folder = Folder(settings.output) if settings.output.exists() else None
    kept = kept_plan(settings, folder) if folder is not None else None
    if folder is not None and kept is not None:
        plan, mine = kept, settings.mine(kept)
        todo = [s for s, shard in folder.look(plan, mine).items() if wanted(shard, settings.retry_errors)]
    say(f"plan: {described(plan)}; faces: {settings.faces.faces}")
    if len(todo) < len(mine):
        say(f"{len(mine) - len(todo)} of {len(mine)} shards are done or failed already")
    files = chain((file for file, _ in found.tables), found.tars, found.files)
    scorer = settings.scorer(devices[0], threads_each(devices, settings.options.threads))
    find_faces = prepare_faces(settings.faces, settings.options, settings.checkpoint)
    with scorer:
        scorer.open(packing)
        pictures: Iterable[Picture]
        if found.stored is not None:
            embeddings = Embeddings([file.path for file, _ in found.tables], column=settings.embedding_column)
            scorer.check_embeddings(embeddings)
            pictures = embeddings.pictures()
        else:
            pictures = Inputs([file.path for file, _ in zip(files, range(_FILES), strict=False)], settings.options)
        measured = pace(scorer, pictures, find_faces(scorer.place))
    rows = plan.rows(todo)
    return measured, None if rows is None else -(-rows // len(devices))
