"""The engine "ray" of bulk scoring: the same plan, shards and markers, by actors of Ray Data.

An actor reads its shard's images and writes the shard itself, so images are never in the object store. Every node must
see input, output and checkpoint under the same path. Ray Data gives the task of a dead actor to another one, without
end. So each attempt is first noted beside the shard: one that kills its actor every time is marked as failed.
"""

import json
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BackendError, EmonetError, OptionError
from ..files import write_whole
from ..optional import need
from ..scorer import Scorer
from ..sources.folder import reason_of
from .folder import Folder
from .local import ATTEMPTS
from .marker import small_text
from .pipeline import ShardEngine, ShardError, ShardPipeline, no_space
from .plan import Plan
from .progress import BulkProgress
from .settings import Settings, differences, parse_devices, threads_each

_CONNECT_SECONDS = 5.0


def run_ray(
    settings: Settings,
    folder: Folder,
    settle: Callable[[Mapping[str, str]], list[int]],
    progress: BulkProgress,
) -> None:
    """Score shards by one actor a device, as run_local does by processes; see there for `settle`.

    Raises OptionError when there is no such cluster or it lacks what `devices` asks for, and EmonetError when nothing
    can go on.
    """
    ray = need("ray", "engine 'ray'")
    need("ray.data", "engine 'ray'")
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, settings.ray_address)
    try:
        actors, resources, device, threads = _actors(settings, ray.cluster_resources())
        probe = ray.remote(**resources)(_fingerprint).remote(settings, device, threads)
        fingerprint = ray.get(probe)
        numbers, settings = settle(fingerprint), settings.pinned(fingerprint)
        progress.ready()
        if not numbers:
            return
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = ray.data.from_items([{"shard": s} for s in numbers], override_num_blocks=len(numbers)).map_batches(
            _ShardActor,
            fn_constructor_args=(settings, device, threads, secrets.token_hex(4)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(numbers)), max_tasks_in_flight_per_actor=2),
            **resources,
        )
        for row in rows.iter_rows():
            result = json.loads(row["result"])
            if "fatal" in result:
                raise EmonetError(result["fatal"])
            if "failed" in result["marker"]:
                progress.failed(result["marker"]["shard"], result["marker"]["failed"])
            else:
                progress.done(result["marker"])
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    """Join the cluster at an address, or start Ray here. Raises OptionError where nothing listens at the address.

    Ray itself would try for ever.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        # Workers get the driver's environment; nothing of theirs is printed but what they warn of.
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="warning")
    except (OSError, ValueError, OverflowError) as error:  # Ray's ConnectionError is an OSError
        reason = " ".join(reason_of(error).split())[:200]
        raise OptionError(
            f"cannot join the Ray cluster at {address!r}: {reason}; expected host:port of its head, or auto"
        ) from error


def _actors(settings: Settings, cluster: Mapping[str, float]) -> tuple[int, dict[str, Any], str, int | None]:
    """How many actors, what each asks Ray for, the device that each opens, and its CPU threads."""
    gpus, cores = int(cluster.get("GPU", 0)), int(cluster.get("CPU", 0))
    if settings.devices == "auto":
        if gpus:
            return gpus, {"num_gpus": 1}, "cuda", settings.options.threads
        share = settings.options.threads or max(1, cores)
        return max(1, cores // share), {"num_cpus": share}, "cpu", share
    devices = parse_devices(settings.devices)
    kinds = {d.partition(":")[0] for d in devices}
    if len(kinds) > 1:
        raise OptionError(f"devices is {settings.devices!r}; with engine 'ray' all are GPUs or all are CPUs")
    if kinds == {"cuda"}:
        if len(devices) > gpus:
            raise OptionError(f"devices is {settings.devices!r}, but the cluster has {gpus} GPUs")
        return len(devices), {"num_gpus": 1}, "cuda", settings.options.threads
    share = threads_each(devices, settings.options.threads) or max(1, cores // len(devices))
    if share * len(devices) > cores:
        raise OptionError(
            f"{len(devices)} actors of {share} threads are asked for, but the cluster has {cores} cores; "
            "use fewer --devices or --threads"
        )
    return len(devices), {"num_cpus": share}, "cpu", share


def _fingerprint(settings: Settings, device: str, threads: int | None) -> dict[str, str]:
    """The fingerprint of an engine on a worker, where this runs."""
    with settings.scorer(device, threads) as scorer:
        return settings.fingerprint(scorer)


class _ShardActor:
    """Scores one shard a call, and opens the engine at the first. run: tells this run's attempts from older ones."""

    def __init__(self, settings: Settings, device: str, threads: int | None, run: str) -> None:
        self._settings, self._device, self._run = settings, device, run
        self._scorer: Scorer = settings.scorer(device, threads)
        self._folder = Folder(Path(settings.output))
        self._opened: tuple[ShardEngine, Plan] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"result": [json.dumps(self._result(int(shard))) for shard in batch["shard"]]}

    def _result(self, shard: int) -> dict[str, Any]:
        try:
            return {"marker": self._marker(shard)}
        except EmonetError as error:
            return {"fatal": str(error)}

    def _marker(self, shard: int) -> dict[str, Any]:
        engine, plan = self._open()
        while True:
            attempt = self._attempt(plan, shard)
            if attempt > ATTEMPTS:
                marker = self._folder.give_up(plan, shard, "its actor died each time", ATTEMPTS)
                break
            try:
                marker = self._score(engine, plan, shard)
                break
            except ShardError as error:
                full = no_space(self._folder.path, error)
                if full is not None:
                    raise full from error
                if attempt == ATTEMPTS:
                    marker = self._folder.give_up(plan, shard, str(error), ATTEMPTS)
                    break
        with suppress(OSError):
            self._attempts(plan, shard).unlink()
        return marker

    def _open(self) -> tuple[ShardEngine, Plan]:
        """The engine, if it is the plan's, and the plan; on a cluster with several kinds of GPU it may not be."""
        if self._opened is None:
            plan, engine = self._folder.plan(), ShardEngine.open(self._settings, self._scorer)
            mine = self._settings.fingerprint(self._scorer)
            different = differences(dict(plan.fingerprint), mine)
            if different:
                raise BackendError(
                    f"an actor's engine is not the plan's; {'; '.join(different)}; name --precision, --backend and "
                    "--batch-size, or use nodes of one kind"
                )
            self._opened = engine, plan
        return self._opened

    def _score(self, engine: ShardEngine, plan: Plan, shard: int) -> dict[str, Any]:
        markers: list[dict[str, Any]] = []
        pipeline = ShardPipeline(engine, plan, self._folder, f"ray {self._device}", markers.append)
        pipeline.shards.put(shard)
        pipeline.shards.close()
        pipeline.run()
        return markers[0]

    def _attempts(self, plan: Plan, shard: int) -> Path:
        return self._folder.stem(plan, shard).with_suffix(".attempt")

    def _attempt(self, plan: Plan, shard: int) -> int:
        """Note that this run begins the shard, with this process' id; how many times it has, by now."""
        path = self._attempts(plan, shard)
        number = 1
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            noted = json.loads(small_text(path))
            if noted["run"] == self._run:
                number = int(noted["attempts"]) + 1
        text = json.dumps({"run": self._run, "attempts": number, "pid": os.getpid()})
        write_whole(path, text.encode(), follow=False)
        return number
