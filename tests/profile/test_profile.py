"""`emonet-fast profile`: rooms that add up, files that need nothing else, the slow room named."""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emonet_fast import Scorer
from emonet_fast.commands.main import cli
from emonet_fast.errors import OptionError
from emonet_fast.profile import flame
from emonet_fast.profile.flame import Flame, without_fetches
from emonet_fast.profile.kernels import Kernel, kernels_of, table
from emonet_fast.profile.run import ADVICE, ROOMS, profile
from emonet_fast.records import Picture

from ..pictures import encoded


@pytest.fixture(scope="module")
def scorer(tiny_folder):
    with Scorer(tiny_folder, device="cpu", precision="fp32") as opened:
        yield opened


def png(seed=0):
    return encoded(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8), "PNG")


def pictures(count):
    return (Picture(f"{i}", png(i)) for i in range(count))


def test_rooms_add_up_to_the_whole(scorer):
    found = profile(scorer, pictures(12))
    assert tuple(found.seconds) == ROOMS
    assert sum(found.seconds.values()) == pytest.approx(found.total, rel=1e-6)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    assert found.seconds["engine"] > 0
    assert (found.pictures, found.rows, found.scored) == (12, 12, 12)
    assert found.kernels == ()


def test_the_limit_and_a_bad_picture(scorer):
    given = [Picture("0", png()), Picture("1", b"no picture"), Picture("2", png())]
    found = profile(scorer, iter(given), limit=2)
    assert (found.pictures, found.rows, found.scored) == (2, 2, 1)


def test_a_second_profile_of_one_scorer_counts_its_own_time_only(scorer):
    profile(scorer, pictures(30))
    assert profile(scorer, pictures(1)).seconds["engine"] < scorer.timings["engine"]


def test_the_slow_room_is_named(scorer):
    def slow():
        for picture in pictures(3):
            until = time.perf_counter() + 0.1
            while time.perf_counter() < until:
                pass
            yield picture

    found = profile(scorer, slow())
    assert found.bottleneck == "sources"
    assert found.text().splitlines()[-1].startswith("bottleneck: sources, ")
    assert found.as_dict()["advice"] == ADVICE["sources"]


def test_every_room_has_advice():
    assert set(ADVICE) == set(ROOMS)


def test_the_command(tiny_folder, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    arguments = [
        "profile",
        str(tmp_path),
        "-c",
        str(tiny_folder),
        "--device",
        "cpu",
        "--flame",
        str(tmp_path / "f.html"),
    ]
    done = CliRunner().invoke(cli, [*arguments, "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    assert "3 of 3 rows scored" in done.output
    assert "\nbottleneck: " in done.output
    page = (tmp_path / "f.html").read_text("utf-8")
    assert "openvino/requests.py" in page, "the network's call is among the frames"
    assert not re.search(r"(src|href)\s*=\s*[\"']?https?:", page), "it needs nothing else"
    assert "fonts.googleapis" not in page
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))
    assert figures["bottleneck"] in ROOMS


def test_speedscope(scorer, tmp_path):
    flame = Flame(tmp_path / "f.json")
    profile(scorer, pictures(3), around=flame.recording)
    flame.write()
    assert json.loads((tmp_path / "f.json").read_text("utf-8"))["$schema"].endswith("file-format-schema.json")


def frames(found):
    yield found
    for child in found["children"]:
        yield from frames(child)


def test_our_own_functions_are_shown_where_the_package_is_installed(scorer, tmp_path, monkeypatch):
    """pyinstrument hides what lies in a prefix of Python's, as an installed package does."""
    session = pytest.importorskip("pyinstrument.session", reason="pyinstrument (extra profile) is not installed")
    root = Path(flame.__file__).parents[2]
    monkeypatch.setattr(session.Session, "current_sys_prefixes", lambda: [str(root), sys.prefix, sys.base_prefix])
    graph = Flame(tmp_path / "f.html")
    profile(scorer, pictures(3), around=graph.recording)
    graph.write()
    page = (tmp_path / "f.html").read_text("utf-8")
    start = page.index("sessionData = ") + len("sessionData = ")
    data, _ = json.JSONDecoder().raw_decode(page, start)
    hidden = tuple(data["session"]["sys_prefixes"])  # the page's script hides what begins with one of these
    paths = {path for frame in frames(data["frame_tree"]) for path in frame["identifier"].split("\x00")[1:2]}
    ours = {path for path in paths if path.startswith(str(root / "emonet_fast"))}
    assert ours
    assert not any(path.startswith(hidden) for path in ours)
    assert all(path.startswith(hidden) for path in paths - ours if path.startswith(sys.base_prefix))


def test_every_other_place_of_a_prefix_stays_hidden(tmp_path):
    for name in ("lib/python3/site-packages/numpy", "lib/python3/site-packages/emonet_fast/video", "lib/python3/json"):
        (tmp_path / name).mkdir(parents=True)
    package = tmp_path / "lib/python3/site-packages/emonet_fast"
    hidden = [tmp_path / "lib/python3/json", tmp_path / "lib/python3/site-packages/numpy"]
    assert sorted(flame.libraries(tmp_path, package)) == [str(place) for place in hidden]
    assert list(flame.libraries(tmp_path / "lib/python3/json", package)) == [str(tmp_path / "lib/python3/json")]
    assert list(flame.libraries(package, package)) == []


def test_bad_outputs_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(OptionError, match=r"ends in \.html or \.json"):
        Flame(tmp_path / "f.svg")
    done = CliRunner().invoke(cli, ["profile", "x", "-c", "nowhere", "--flame", str(tmp_path / "no" / "f.html")])
    assert isinstance(done.exception, OptionError)
    assert "there is no folder" in str(done.exception)


def test_nothing_scored_is_status_2(tiny_folder, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    command = ["profile", str(tmp_path / "a.jpg"), "-c", str(tiny_folder), "--flame", str(tmp_path / "f.html")]
    assert CliRunner().invoke(cli, command).exit_code == 2


def test_kernels_are_those_of_torchs_profiler():
    """The table from a real profiler's averages, by their CPU time: a GPU's has the same fields."""
    torch = pytest.importorskip("torch", reason="PyTorch (extra gpu) is not installed")
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    with recorded(activities=[ProfilerActivity.CPU]) as profiler:
        a = torch.randn(64, 64)
        for _ in range(3):
            a = a @ a
    found = table(profiler.key_averages(), "self_cpu_time_total")
    assert [k.seconds for k in found] == sorted((k.seconds for k in found), reverse=True)
    assert any(k.name == "aten::mm" and k.calls == 3 for k in found)
    assert table(profiler.key_averages(), "self_device_time_total") == []


def test_other_backends_have_no_kernel_table():
    with kernels_of("openvino") as kernels:
        pass
    assert kernels == []


def test_kernels_are_shown(scorer):
    from dataclasses import replace

    many = tuple(Kernel(f"kernel_{i}", 2, 1e-3) for i in range(20))
    shown = replace(profile(scorer, pictures(1)), kernels=many).text()
    assert "kernel_0" in shown
    assert "5 more" in shown


def test_fonts_are_not_fetched():
    page = '<link href="https://fonts.googleapis.com/css?family=A:400&display=swap" rel=x>'
    assert without_fetches(page) == '<link href="data:text/css," rel=x>'


def test_no_precision_is_advised_that_the_machine_lacks(scorer):
    from dataclasses import replace

    from emonet_fast.backends.choose import precisions_of

    found = profile(scorer, pictures(1))
    there = precisions_of("openvino")
    named = [way.split()[1] for way in found.faster if way.startswith("--precision")]
    assert named == list(there[there.index(scorer.backend.precision) + 1 :])
    assert found.faster[-1] == "a GPU"
    slow = replace(found, seconds={**dict.fromkeys(ROOMS, 0.0), "engine": 1.0}, faster=("--precision int8", "a GPU"))
    assert slow.advice == f"{ADVICE['engine']}: --precision int8 or a GPU"
    assert "fp8" not in found.advice
