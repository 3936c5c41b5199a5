"""What a release is made by: one version everywhere, archives of the same bytes, licences, notes, the conda recipe."""

import io
import json
import re
import subprocess
import tarfile
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from emonet_fast import __version__
from release import channel, licences
from release.archive import normalise
from release.dist import ReleaseError, compare, deliver, demand_extension, export_commit, fitting, last_commit
from release.notes import notes
from release.trial import TrialError, version_of

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RECIPE = (ROOT / "release" / "conda" / "recipe.yaml").read_text("utf-8")


def test_one_version():
    """emonet_fast/_version.py is the source; what cannot read it says the same."""
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)[1] == __version__
    assert re.search(r'^  version: "(.+)"$', RECIPE, re.MULTILINE)[1] == __version__
    assert notes((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__)[1]


def test_notes_are_one_section():
    text = "# Changelog\n\nWords.\n\n## 0.2.0, 2027-01-01\n\n- new\n\n**More**\n\n## 0.1.0, 2026-12-01\n\n- old\n"
    text += "\n## 0.0.1, x\n\n"
    assert notes(text, "0.2.0") == ("2027-01-01", "- new\n\n**More**")
    assert notes(text, "0.1.0") == ("2026-12-01", "- old")
    for lacking in ("0.3.0", "0.0.1"):
        with pytest.raises(SystemExit, match=rf"says nothing of {lacking}; it has 0\.2\.0, 0\.1\.0, 0\.0\.1"):
            notes(text, lacking)


def test_a_commit_in_between_changes_nothing(tmp_path):
    """The second build exports what the first one did, though the branch went on."""

    def made(text):
        (tmp_path / "file").write_text(text)
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        for command in (("init", "-q"), ("add", "file"), (*who, "commit", "-q", "-m", "x")):
            subprocess.run(["git", *command], cwd=tmp_path, check=True)

    made("first")
    commit = last_commit(tmp_path)
    made("second")
    assert last_commit(tmp_path) != commit
    export_commit(commit, tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "file").read_text() == "first"


def packed(path, names, mtime, mode, owner):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode, member.uname = 2, mtime, mode, owner
            archive.addfile(member, io.BytesIO(b"hi"))
    return path


def test_an_archive_has_the_same_bytes_from_every_machine(tmp_path):
    one = packed(tmp_path / "one.tar.gz", ["x/a", "x/b"], 10, 0o664, "me")
    two = packed(tmp_path / "two.tar.gz", ["x/b", "x/a"], 20.5, 0o600, "you")
    for path in (one, two):
        normalise(path, 1_700_000_000)
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as archive:
        assert [(m.name, m.mtime, m.mode, m.uname) for m in archive] == [
            ("x/a", 1_700_000_000, 0o644, ""),
            ("x/b", 1_700_000_000, 0o644, ""),
        ]
        assert archive.extractfile("x/a").read() == b"hi"


def test_two_builds_that_differ_are_refused(tmp_path):
    for folder, names in (("one", {"a": b"1", "b": b"2"}), ("two", {"a": b"1", "b": b"3", "c": b""})):
        (tmp_path / folder).mkdir()
        for name, text in names.items():
            (tmp_path / folder / name).write_bytes(text)
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    compare(one, one)
    with pytest.raises(ReleaseError, match="differ: b, c"):
        compare(one, two)


def test_a_python_tries_what_fits_it():
    names = [
        "emonet_fast-1-cp311-cp311-manylinux_2_34_x86_64.whl",
        "emonet_fast-1-cp312-cp312-manylinux_2_34_x86_64.whl",
    ]
    files = [Path(name) for name in (*names, "emonet_fast-1-py3-none-any.whl", "emonet_fast-1.tar.gz")]
    assert [file.name for file in fitting(files, "cp312")] == [files[2].name, files[1].name, files[3].name]
    assert {version_of(file) for file in files} == {"1"}
    with pytest.raises(TrialError, match="numpy"):
        version_of(Path("numpy-2.0.tar.gz"))


def test_a_wheel_whose_compiler_failed_is_refused(tmp_path):
    wheel = tmp_path / "emonet_fast-1-cp314-cp314-linux_x86_64.whl"
    for name in ("emonet_fast/engines/_tensorrt.py", "emonet_fast/_tensorrt.cpython-314-x86_64-linux-gnu.so"):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(name, "")
        if name.endswith(".so"):
            demand_extension(wheel)
        else:
            with pytest.raises(ReleaseError, match=r"linux_x86_64\.whl holds no extension"):
                demand_extension(wheel)


def test_a_trial_that_fails_leaves_the_last_release(tmp_path):
    """Nobody may find packages in dist/ that no Python could be made to run."""
    wheel, old = tmp_path / "emonet_fast-2-py3-none-any.whl", tmp_path / "dist" / "emonet_fast-1-py3-none-any.whl"
    old.parent.mkdir()
    for file in (wheel, old):
        file.write_bytes(b"no archive")
    python = tmp_path / "python"  # says which it is, and cannot install
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && echo cp311\n')
    python.chmod(0o755)
    with pytest.raises(ReleaseError, match=r"trial\.py .*emonet_fast-2-py3-none-any\.whl failed with status 1"):
        deliver([wheel], old.parent, [str(python)])
    assert list(old.parent.iterdir()) == [old]
    assert deliver([wheel], old.parent, []) == [old.with_name(wheel.name)]
    assert list(old.parent.iterdir()) == [old.with_name(wheel.name)]


@pytest.mark.parametrize(
    ("licence", "conflict"),
    [
        ("MIT", False),
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0-only", True),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", False),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("GPL-2.0-only OR BSD-3-Clause", False),
        ("MIT AND GPL-2.0-only", True),
    ],
)
def test_which_licences_conflict(licence, conflict):
    assert licences.conflicts(licence) == conflict
    assert bool(licences.faults({"x": licence}, {"x"})) == conflict
    assert not licences.faults({"x": licence}, set())  # for tests alone


def test_a_package_without_a_licence_is_named():
    assert licences.faults({"x": "UNKNOWN", "y": ""}, {"x", "y"}) == ["x: UNKNOWN", "y: no licence stated"]


def test_no_package_at_run_time_carries_the_gpl_unsaid():
    below = licences.closure(licences.user_extras())
    assert {"numpy", "scipy", "av", "markupsafe"} <= below  # MarkupSafe is Jinja's
    assert not {"pytest", "krippendorff", "twine"} & below
    assert {name for name in below if licences.carried(name)} <= licences.EXPLAINED.keys()


def test_a_bill_is_of_the_project_and_holds_the_chosen_packages_alone():
    place = {"type": "distribution", "url": "file:///home/me/checkout"}
    parts = [{"name": name, "bom-ref": name, "type": "library"} for name in ("NumPy", "onnx", "ml_dtypes", "pytest")]
    project = {"name": "emonet-fast", "bom-ref": "e", "type": "library", "version": "1"}
    edges = [
        {"ref": "e", "dependsOn": ["NumPy", "ml_dtypes", "onnx", "pytest"]},  # with what the extras need
        {"ref": "onnx", "dependsOn": ["ml_dtypes"]},
        {"ref": "pytest"},
        {"ref": "NumPy"},
    ]
    text = {"metadata": {}, "components": [*parts, {**project, "externalReferences": [place]}], "dependencies": edges}
    found = licences.bill(json.dumps(text), {"numpy", "onnx", "ml-dtypes"})
    assert found["metadata"]["component"] == project
    assert found["components"] == parts[:3]
    assert found["dependencies"] == [
        {"ref": "e", "dependsOn": ["NumPy", "onnx"]},
        {"ref": "onnx", "dependsOn": ["ml_dtypes"]},
        {"ref": "NumPy", "dependsOn": []},
    ]


def test_a_bill_is_held_to_the_schema():
    pytest.importorskip("cyclonedx", reason="cyclonedx-bom (extra release) is not installed")
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "x", "type": "library"}]}
    licences.check_schema(json.dumps(bill))
    bill["components"][0]["type"] = "wheel"
    with pytest.raises(SystemExit, match=r"breaks CycloneDX's schema: .*'wheel' is not one of"):
        licences.check_schema(json.dumps(bill))


def test_the_conda_recipe_needs_what_the_wheel_needs():
    assert channel.recipe_needs() == ["python" + PROJECT["requires-python"], *PROJECT["dependencies"]]


def test_what_stands_in_for_conda_forge(tmp_path):
    """An interpreter without its tests and other people's packages; names as conda-forge has them; no extras."""
    for name in ("bin/python3.12", "bin/pip", "lib/python3.12/os.py", "lib/python3.12/test/x.py", "share/man"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "lib/python3.12/site-packages").mkdir()
    (tmp_path / "lib/python3.12/site-packages/other.py").write_text("")
    assert [str(to) for _, to in channel.python_files(tmp_path)] == ["bin/python3.12", "lib/python3.12/os.py"]
    about = tmp_path / "Some-1.dist-info"
    about.mkdir()
    lines = ("Name: Some", "Version: 1", "Requires-Dist: Huggingface-Hub>=1", "Requires-Dist: x; extra == 'y'")
    (about / "METADATA").write_text("\n".join(lines))
    (some,) = distributions(path=[str(tmp_path)])
    assert channel.conda_needs(some, {"huggingface-hub": "huggingface_hub"}) == ["python", "huggingface_hub"]


def test_a_channel_is_read_by_its_index(tmp_path):
    pytest.importorskip("rattler_build", reason="py-rattler-build (extra release) is not installed")
    (tmp_path / "file").write_text("hi")
    made = channel.Channel(tmp_path / "channel")
    made.put("some", "1", [(tmp_path / "file", Path("lib/file"))], ["python"])
    made.write_index()
    index = json.loads((tmp_path / "channel/linux-64/repodata.json").read_text())["packages.conda"]
    ((name, entry),) = index.items()
    assert (name, entry["depends"]) == ("some-1-0.conda", ["python"])
    assert entry["size"] == (tmp_path / "channel/linux-64" / name).stat().st_size
    assert (tmp_path / "channel/noarch/repodata.json").exists()


def test_the_conda_recipe_can_be_read():
    rattler = pytest.importorskip("rattler_build", reason="py-rattler-build (extra release) is not installed")
    (variant,) = rattler.Stage0Recipe.from_yaml(RECIPE).render(rattler.VariantConfig())
    assert variant.recipe.to_dict()["build"]["python"]["entry_points"] == [
        f"emonet-fast = {PROJECT['scripts']['emonet-fast']}"
    ]


def test_the_image_is_tried_in_folders_of_its_own_user():
    """emonet-fast refuses a cache that everybody may write, so one of mode 777 ends the trial."""
    made = re.findall(r"^(?:install -d|mkdir) .*$", (ROOT / "release" / "image.sh").read_text("utf-8"), re.MULTILINE)
    assert made == ['install -d -m 700 -o "$(inside "$made" -- id -u)" "$work/models" "$work/cache"']


def test_workflows_call_make_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in (".github/workflows/newest.yml", ".ci/run"):
        called = set(re.findall(r"^[^#]*\bmake ([a-z][\w-]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        assert called, name
        assert called <= targets, name
