"""One process of the local engine: opens a scorer, says what it is, scores the shards it is told to.

In:  a shard's number; FINISH: no more will come; STOP: give up what is under way.
Out: Ready once the engine is open; Advance as rows are scored; Done for each shard; Failed, and then it ends.
"""

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import EmonetError
from ..process import ENDING
from .channel import ClosedError
from .folder import Folder
from .pipeline import ShardEngine, ShardError, ShardPipeline, no_space
from .settings import Settings

FINISH, STOP = "finish", "stop"


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is open."""

    fingerprint: dict[str, str]


@dataclass(frozen=True, slots=True)
class Advance:
    """Some rows of a shard were scored. bad: how many of them have no scores."""

    shard: int
    rows: int
    bad: int


@dataclass(frozen=True, slots=True)
class Done:
    """A shard's file and marker are on the disk."""

    marker: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The process ends. shard: the one at fault, if any. fatal: whether other processes would fail as well."""

    shard: int | None
    reason: str
    fatal: bool


def serve(connection: Connection, settings: Settings, device: str, threads: int | None) -> None:
    """The process' main function."""
    # Ctrl-C and a closed terminal reach every process of it; the parent decides.
    for number in ENDING - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    send = partial(_send, connection, threading.Lock())
    try:
        with settings.scorer(device, threads) as scorer:
            engine = ShardEngine.open(settings, scorer)
            send(Ready(settings.fingerprint(scorer)))
            first = connection.recv()  # the plan is written before anything is asked for
            folder = Folder(Path(settings.output))
            pipeline = ShardPipeline(
                engine,
                folder.plan(),
                folder,
                device,
                done=lambda marker: send(Done(marker)),
                advance=lambda *rows: send(Advance(*rows)),
            )
            threading.Thread(target=_listen, args=(connection, pipeline, first), daemon=True).start()
            pipeline.run()
    except ShardError as error:
        full = no_space(settings.output, error)
        send(Failed(error.shard, str(error), False) if full is None else Failed(None, str(full), True))
    except EmonetError as error:
        send(Failed(None, str(error), True))
    except Exception as error:
        send(Failed(None, f"{type(error).__name__}: {error}", False))


def _listen(connection: Connection, pipeline: ShardPipeline, first: Any) -> None:
    """Hands on what comes in."""
    message = first
    try:
        while message not in (FINISH, STOP):
            pipeline.shards.put(message)
            message = connection.recv()
    except (EOFError, OSError):
        message = STOP
    except ClosedError:  # the pipeline ends by itself
        return
    if message == STOP:
        pipeline.abort()
    else:
        pipeline.shards.close()


def _end_with_parent() -> None:
    """A process whose parent was killed must not go on writing beside the one that takes over."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _send(connection: Connection, lock: threading.Lock, message: Any) -> None:
    """Called by several threads. Once nobody listens, the process ends without a word."""
    with lock:
        try:
            connection.send(message)
        except OSError:
            os._exit(1)
