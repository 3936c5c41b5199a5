"""One HTML page on a bulk run's folder: what came of it, and what its scores look like. Needs nothing else to be seen.

folder -> collect (one pass, bounded memory) -> pictures (of the most typical rows) -> view -> page.html
"""

from pathlib import Path

from ...errors import DataError
from ...files import write_whole
from ...options import Options
from ...reports.render import render
from ..folder import Folder, ShardState
from .collect import Collected, collect
from .pictures import thumbnails
from .view import page


def write_report(where: Path, output: Path, *, pictures: bool = True) -> Collected:
    """Write the page on the folder of a bulk run, as far as that is done. Returns the figures on it.

    `pictures` reads the most typical pictures again, to show them. Raises DataError when the folder has no plan or no
    finished shard, OptionError when the output cannot be written.
    """
    if not (where / "plan.json").is_file():
        raise DataError(f"{where} has no plan.json; expected the output folder of `emonet-fast bulk`")
    folder = Folder(where)
    plan = folder.plan()
    shards = folder.look(plan, range(len(plan.shards)), hashes=False)
    done = [number for number, shard in shards.items() if shard.state == ShardState.DONE]
    if not done:
        raise DataError(f"{where} has no finished shard yet; run `emonet-fast bulk` first")
    collected = collect(folder, plan, done)
    collected.shards = len(plan.shards)
    collected.failed = {
        number: str((shard.marker or {}).get("failed"))
        for number, shard in shards.items()
        if shard.state == ShardState.FAILED
    }
    shown = thumbnails(folder, plan, collected, Options()) if pictures else {}
    write_whole(output, render("bulk/report/page.html", page(collected, shown, str(where))))
    return collected
