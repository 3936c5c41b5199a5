"""The local engine: one process a device, each taking shards from the plan as it gets on.

A process that dies is started anew. The shards it had are then tried one at a time, so that the one at fault is known;
the second time that one takes its process with it, it is marked as failed and the rest goes on.
"""

import contextlib
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import BackendError, EmonetError
from .folder import Folder
from .progress import BulkProgress
from .settings import Settings, parse_devices, threads_each
from .worker import FINISH, STOP, Advance, Done, Failed, Ready, serve

ATTEMPTS = 2
# A shard in the engine, and one whose reading goes on meanwhile.
_AHEAD = 2
_STOP_SECONDS = 30.0


@dataclass
class Queue:
    """Which shards are still to be scored.

    Args:
        waiting: shards that no process has had.
        suspects: shards that a process had when it died; they are tried one at a time.
        attempts: how often a process died with a shard.
    """

    waiting: deque[int]
    suspects: deque[int] = field(default_factory=deque)
    attempts: Counter[int] = field(default_factory=Counter)

    def take(self, idle: bool) -> int | None:
        """The next shard; a suspect only for a process that has nothing else."""
        if self.suspects:
            return self.suspects.popleft() if idle else None
        return self.waiting.popleft() if self.waiting else None

    def lost(self, held: Iterable[int], fault: int | None) -> list[int]:
        """Take back the shards of a process that died. fault: the one at fault, if known. Gives the given-up ones."""
        shards, given_up = list(held), []
        if fault is None and len(shards) == 1:
            fault = shards[0]
        for shard in shards:
            if fault is None:  # one of several: counted once it is alone
                self.attempts[shard] = max(self.attempts[shard], 1)
            elif shard == fault:
                self.attempts[shard] += 1
            if self.attempts[shard] >= ATTEMPTS:
                given_up.append(shard)
            else:
                self.suspects.append(shard)
        return given_up

    @property
    def empty(self) -> bool:
        """Whether nothing is left to score."""
        return not self.waiting and not self.suspects


class _Process:
    """One worker process. held: shards it was given and has not finished, in order."""

    def __init__(self, settings: Settings, device: str, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.device = device
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, settings, device, threads), name=f"emonet-fast {device}", daemon=True
        )
        self.process.start()
        theirs.close()
        self.held: deque[int] = deque()
        self.ready = self.finishing = False
        self.careful = False  # after a suspect was given: nothing beside it
        self.failure: Failed | None = None

    def send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, which is noticed by its end
            self.connection.send(message)

    def end(self) -> None:
        self.connection.close()
        self.process.join()


def run_local(
    settings: Settings,
    folder: Folder,
    shards: int,
    settle: Callable[[Mapping[str, str]], list[int]],
    progress: BulkProgress,
) -> None:
    """Score shards by one process a device. An error or an interrupt ends every process first.

    `settle` takes the fingerprint of an open engine, writes or checks the plan, and gives the shards to score, about
    `shards` of them. Raises EmonetError when nothing can go on: the disk is full, no engine opens, or `settle` refuses.
    """
    devices = parse_devices(settings.devices)
    waiting = deque(devices[: max(1, shards)])
    threads = threads_each(devices, settings.options.threads)
    run = _LocalRun(settings, folder, settle, progress, threads, waiting)
    try:
        run.loop()
    except BaseException:
        run.stop()
        raise


@dataclass
class _LocalRun:
    """The state of run_local.

    Args:
        devices: those without a process yet.
        queue: filled once the first engine is open.
        failures: to open an engine, by device.
    """

    settings: Settings
    folder: Folder
    settle: Callable[[Mapping[str, str]], list[int]]
    progress: BulkProgress
    threads: int | None
    devices: deque[str]
    queue: Queue = field(default_factory=lambda: Queue(deque()))
    begun: bool = False
    processes: list[_Process] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def _start(self, device: str) -> None:
        self.processes.append(_Process(self.settings, device, self.threads))

    def _start_rest(self) -> None:
        while self.devices:
            self._start(self.devices.popleft())

    def loop(self) -> None:
        """Score everything. The first process opens alone, so that the others find what it compiles."""
        self._start(self.devices.popleft())
        while self.processes:
            by_handle: dict[Any, _Process] = {p.connection: p for p in self.processes}
            by_handle |= {p.process.sentinel: p for p in self.processes}
            for handle in wait(list(by_handle)):
                process = by_handle[handle]
                if process in self.processes and not self._receive(process) and not process.process.is_alive():
                    self._ended(process)
            for process in self.processes:
                self._feed(process)
        if not self.queue.empty:
            raise BackendError("no worker process is left to go on with")

    def stop(self) -> None:
        """Tell every process to give up, and wait for it; by force if it does not."""
        for process in self.processes:
            if process.ready:
                process.send(STOP)
            else:  # it listens only once its engine is open, and has begun nothing
                process.process.terminate()
        for process in self.processes:
            process.process.join(_STOP_SECONDS)
            if process.process.is_alive():
                process.process.kill()
            process.end()
        self.processes.clear()

    def _receive(self, process: _Process) -> bool:
        """Handle what has come from a process; whether there was anything."""
        came = False
        while True:
            try:
                if not process.connection.poll():
                    return came
                message = process.connection.recv()
            except (EOFError, OSError):
                # Its end of the pipe closes a moment before the process does.
                process.process.join()
                return came
            came = True
            if isinstance(message, Ready):
                todo = self.settle(message.fingerprint)
                self.settings = self.settings.pinned(message.fingerprint)
                if not self.begun:
                    self.queue.waiting.extend(todo)
                process.ready = self.begun = True
                self.progress.ready()
                self._start_rest()
            elif isinstance(message, Advance):
                self.progress.advance(message.shard, message.rows, message.bad)
            elif isinstance(message, Done):
                process.held.remove(message.marker["shard"])
                process.careful = False
                self.progress.done(message.marker)
            elif isinstance(message, Failed):
                process.failure = message
                if message.fatal:
                    raise EmonetError(message.reason)

    def _feed(self, process: _Process) -> None:
        if not process.ready or process.finishing or process.failure is not None:
            return
        while not process.careful and len(process.held) < _AHEAD:
            suspects = bool(self.queue.suspects)
            shard = self.queue.take(idle=not process.held)
            if shard is None:
                break
            process.careful = suspects
            process.held.append(shard)
            process.send(shard)
        if self.queue.empty and not any(p.held for p in self.processes):
            for every in self.processes:
                every.finishing = True
                every.send(FINISH)

    def _ended(self, process: _Process) -> None:
        """A process has ended: done with everything, or dead."""
        self.processes.remove(process)
        process.end()
        if process.finishing and not process.held:
            return
        failure, code = process.failure, process.process.exitcode
        reason = failure.reason if failure is not None else f"its process ended with {_signal(code)}"
        if not process.ready:
            self.failures[process.device] += 1
            if self.failures[process.device] >= ATTEMPTS:
                self._start_rest()
                if not self.processes:
                    raise BackendError(f"no engine could be opened on {process.device}: {reason}")
                return
        given_up = self.queue.lost(process.held, failure.shard if failure is not None else None)
        for shard in given_up:
            self.folder.give_up(self.folder.plan(), shard, reason, ATTEMPTS)
            self.progress.failed(shard, reason)
        self.progress.again([s for s in process.held if s not in given_up], reason)
        if not self.queue.empty or not process.ready:
            self._start(process.device)


def _signal(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    return f"signal {-code}" + (" (out of memory?)" if code == -9 else "")
