"""pytest-benchmark's side of the suites: options, one test a side, and what goes into `--benchmark-json`.

    python -m pytest -p pytest_benchmark.plugin benchmarks/suites --large models/synthetic-27 --benchmark-json out.json

A suite is a file with `cases(shop)`, which gives its cases, and one test that reports a side. All sides of a case are
checked and timed together when the first of them is asked for.
"""

import platform
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from benchmarks.gpu.facts import version
from benchmarks.harness import Case, Result, replay, replayed, run_case
from benchmarks.workshop import Workshop
from emonet_fast.doctor import report

_SHOP = pytest.StashKey[Workshop]()
_CASES = pytest.StashKey[dict[str, Case]]()
_DONE = pytest.StashKey[dict[str, dict[str, Result]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("emonet-fast")
    group.addoption("--large", metavar="C", help="checkpoint with the Large heads")
    group.addoption("--small", metavar="C", help="checkpoint with the Small heads")
    group.addoption("--device", default="cpu", help="cpu or cuda[:N] (%(default)s)")
    group.addoption("--backends", nargs="+", default=(), help="engines' backends (all of the device)")
    group.addoption("--precisions", nargs="+", default=(), help="engines' precisions (all of the device)")
    group.addoption("--batches", nargs="+", type=int, default=(), help="sizes of the batch curve")
    group.addoption("--rounds", type=int, default=0, help="at least so many (5 on a CPU, 15 on a GPU)")
    group.addoption("--quick", action="store_true", help="a case a room: to see that they run")
    group.addoption(
        "--track", action="store_true", help="the quick cases in many rounds: to be compared from run to run"
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    device = torch.device(option("device"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device {device} was option for, and PyTorch finds no GPU here")
    checkpoints = {heads: option(heads) for heads in ("large", "small") if option(heads)}
    config.stash[_SHOP] = Workshop(
        device, checkpoints, option("quick") or option("track"), tuple(option("backends")),
        tuple(option("precisions")), tuple(option("batches")), option("rounds"), option("track"),
    )  # fmt: skip
    config.stash[_CASES], config.stash[_DONE] = {}, {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" not in metafunc.fixturenames:
        return
    shop = metafunc.config.stash[_SHOP]
    if not shop.checkpoints:
        raise pytest.UsageError("the suites need a checkpoint: --large C, --small C or both")
    # Tracked are no starts of processes: each takes seconds, too many for the rounds that their spread needs.
    cases = [case for case in metafunc.module.cases(shop) if not (shop.track and case.process)]
    metafunc.config.stash[_CASES] |= {case.group: case for case in cases}
    sides = [(case.group, name) for case in cases for name in case.sides]
    ids = [f"{group} | {name}" for group, name in sides]
    metafunc.parametrize("side", [f"{group}\t{name}" for group, name in sides], ids=ids, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        side = getattr(getattr(item, "callspec", None), "params", {}).get("side")
        # a suite without cases has one item, which pytest skips
        group = side.split("\t")[0] if isinstance(side, str) else None
        item.add_marker(pytest.mark.benchmark(group=group, timer=replayed, warmup=False))


@pytest.fixture
def side(request: pytest.FixtureRequest, benchmark: Any) -> Any:
    """Reports one side to pytest-benchmark; checks and times its whole case if that was not done yet."""
    config = request.config
    shop, done = config.stash[_SHOP], config.stash[_DONE]
    group, name = request.param.split("\t")
    if group not in done:
        done[group] = run_case(config.stash[_CASES][group], shop.device, shop.pace, shop.ceilings)
    return lambda: tell(benchmark, done[group][name])


def tell(benchmark: Any, result: Result) -> None:
    """The figures of one side into its benchmark, or why there are none."""
    if result.times is None:
        benchmark.skipped = True  # says nothing of a benchmark that was not used
        if result.missing:
            pytest.skip(result.missing)
        pytest.fail(result.failed, pytrace=False)
    benchmark.extra_info.update(result.info)
    replay.load(result.times.seconds)
    benchmark.pedantic(lambda: None, rounds=len(result.times.seconds))


@pytest.fixture(scope="module", autouse=True)
def _released(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    request.config.stash[_SHOP].release()


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Versions and the engine's own facts, and no name of the machine: results are published."""
    shop = config.stash[_SHOP]
    facts = report()
    facts.pop("folders")
    for private in ("node", "cpu"):
        machine_info.pop(private, None)
    machine_info["emonet_fast"] = facts
    machine_info["packages"] = {name: version(name) for name in ("onnxruntime", "pytest-benchmark", "nvidia-ml-py")}
    machine_info["system_text"] = platform.platform()
    machine_info["device"] = shop.device.type
    if shop.device.type == "cuda":
        machine_info["gpu"] = torch.cuda.get_device_name(shop.device)
    machine_info["gemm_tflops"] = {name: round(rate / 1e12, 4) for name, rate in shop.ceilings.items()}
    machine_info["layers"] = {heads: shop.depth(heads) for heads in shop.checkpoints}
    machine_info["quick"], machine_info["track"] = shop.quick, shop.track
