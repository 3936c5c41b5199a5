"""Plans: every row in one shard, by row groups, the same for the same inputs; and what cannot be planned."""

import tarfile
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.bulk import job
from emonet_fast.bulk.inputs import canonical, find
from emonet_fast.bulk.plan import Span, cut, make_plan
from emonet_fast.bulk.plan_file import plan_of
from emonet_fast.bulk.rows import read_files, write_files
from emonet_fast.bulk.settings import Settings, parse_devices, parse_part, threads_each
from emonet_fast.errors import DataError, InputError, OptionError
from emonet_fast.options import Options

from .made import IMAGE, jpeg, table


@given(st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=6), st.integers(1, 25))
def test_every_row_is_in_one_shard(groups, size):
    shards = list(cut(groups, size))
    rows = [(s.source, r) for spans in shards for s in spans for r in range(s.start, s.stop)]
    assert rows == [(i, r) for i, sizes in enumerate(groups) for r in range(sum(sizes))]
    assert all(0 < sum(s.stop - s.start for s in spans) <= size for spans in shards)
    # Two neighbours that fit into one shard would have been one, unless a row group had to be cut.
    if all(g <= size for sizes in groups for g in sizes):
        bounds = {(i, sum(sizes[:k])) for i, sizes in enumerate(groups) for k in range(len(sizes) + 1)}
        assert all((spans[0].source, spans[0].start) in bounds for spans in shards)


def test_groups_are_not_cut_unless_they_must():
    assert list(cut([[4, 4, 4], [4]], 8)) == [(Span(0, 0, 8),), (Span(0, 8, 12), Span(1, 0, 4))]
    assert list(cut([[5, 12]], 8)) == [(Span(0, 0, 5),), (Span(0, 5, 13),), (Span(0, 13, 17),)]


def _plan(inputs, folder, size=20, **options):
    listing = find([str(i) for i in inputs], leave_out=folder, **options)
    data = write_files(listing.files, size)
    return make_plan(listing, [canonical(str(i)) for i in inputs], size, None, data and "hash"), listing


def test_same_inputs_same_plan(tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    for name in ("b.jpg", "a.png", "deep/c.jpg", "notes.txt"):
        (pictures / name).write_bytes(jpeg(0))
    table(tmp_path / "t.parquet", [jpeg(0)] * 25)
    with tarfile.open(pictures / "s.tar", "w") as tar:
        tar.add(pictures / "b.jpg", "b.jpg")
    output = pictures / "out"
    table(output / "00000.parquet", [jpeg(0)])
    plan, listing = _plan([tmp_path / "t.parquet", pictures], output)
    again, _ = _plan([pictures, tmp_path / "t.parquet", tmp_path / "*.parquet"], output)
    assert plan.shards == again.shards
    assert plan.sources == again.sources
    assert [s.kind for s in plan.sources] == ["table", "tar", "files"]
    assert [plan.rows([i]) for i in range(len(plan.shards))] == [20, 5, None, 3]
    assert plan.rows(range(2)) == 25
    assert plan.rows(range(3)) is None
    assert [f.path for f in listing.files] == [str(pictures / n) for n in ("a.png", "b.jpg", "deep/c.jpg")]
    marked = replace(plan, fingerprint={"precision": "bf16"})
    assert marked.id == plan.id
    assert plan_of(marked.text(), tmp_path / "plan.json") == marked


def test_list_of_files_comes_back(tmp_path):
    """Also names that are no UTF-8, shard by shard."""
    for i in range(7):
        (tmp_path / f"{i}.jpg").write_bytes(b"")
    odd = tmp_path / b"\xff.jpg".decode("utf-8", "surrogateescape")
    odd.write_bytes(b"")
    listing = find([str(tmp_path)])
    (tmp_path / "list").write_bytes(write_files(listing.files, 3))
    read = [list(read_files(tmp_path / "list", Span(0, a, b), 3)) for a, b in ((0, 3), (3, 6), (6, 8))]
    assert [f for part in read for f in part] == listing.files
    assert read[2][1].path == str(odd)


def test_class_labels_are_kept_by_name(tmp_path):
    table(tmp_path / "a.parquet", [jpeg(0)])
    listing = find([str(tmp_path)], keep=("emotion", "score"))
    assert listing.keep == {"emotion": pa.string(), "score": pa.float64()}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": ["a"]}, r"no column known to hold images.*text \(string\)"),
        ({"a": pa.array([None], IMAGE), "b": pa.array([None], IMAGE)}, r"several image columns \(a, b\)"),
    ],
)
def test_image_column_missing_or_ambiguous(tmp_path, columns, words):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=words):
        find([str(tmp_path)])


def test_what_is_no_row_is_counted_and_changes_no_plan(tmp_path):
    """A table without pictures among others, and whatever else lies there; not the output folder, which grows."""
    data = tmp_path / "data"
    table(data / "a.parquet", [jpeg(0)])
    plan, listing = _plan([data], tmp_path / "data" / "out")
    assert (plan.skipped, listing.skipped.total()) == ({}, 0)
    pq.write_table(pa.table({"url": ["u"]}), data / "meta.parquet")
    table(data / "none.parquet", [])
    (data / "deep" / "out").mkdir(parents=True)
    for name in ("b.mp4", "deep/c.MP4", "deep/._d.jpg", "out/lock", "out/plan.json"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(b"x")
    for named in (data, f"{data}/*"):
        again, _ = _plan([named], data / "out")
        assert again.skipped == {
            ".mp4": 2, "of Finder's (._*, __MACOSX)": 1, "table without a picture column": 1, "table without rows": 1,
        }  # fmt: skip
    assert plan_of(again.text(), tmp_path / "plan.json") == again
    assert replace(again, skipped={}).id == again.id
    with pytest.raises(InputError, match=r"no single column 'jpg'.*--image-column.*url \(string\)"):
        find([str(data / "meta.parquet"), str(data / "none.parquet")], image_column="jpg")


def test_a_pattern_searches_folders_as_a_shell_would(tmp_path):
    """Folders that match are searched for tables and tars, too."""
    table(tmp_path / "deep" / "a.parquet", [jpeg(0)])
    assert [t.path for t, _ in find([f"{tmp_path}/*"]).tables] == [str(tmp_path / "deep" / "a.parquet")]


def test_inputs_that_cannot_be(tmp_path):
    (tmp_path / "empty").mkdir()
    table(tmp_path / "a.parquet", [jpeg(0)])
    table(tmp_path / "none.parquet", [])
    for inputs, options, words in (
        ([tmp_path / "empty"], {}, "holds no image files"),
        ([tmp_path / "nowhere"], {}, "no file or folder"),
        ([tmp_path / "a.parquet"], {"keep": ("smile",)}, "no single column 'smile' to keep; its columns: image"),
        ([tmp_path / "none.parquet"], {}, "every parquet file is empty"),
    ):
        with pytest.raises(InputError, match=words):
            _plan(inputs, None, **options)
    pq.write_table(pa.table({"image": pa.array([None], IMAGE), "score": ["x"]}), tmp_path / "z.parquet")
    with pytest.raises(InputError, match=r"'score' to keep is string in .*z.parquet, but double"):
        find([str(tmp_path)], keep=("score",))
    with pytest.raises(DataError, match="no plan of a bulk run"):
        plan_of('{"format": 1', tmp_path)


def test_settings_that_cannot_be(tmp_path):
    assert parse_part("3/8") == (3, 8)
    assert parse_devices("cuda:0,1") == ("cuda:0", "cuda:1")
    assert parse_devices("cpu, cpu") == ("cpu", "cpu")
    assert threads_each(("cpu", "cpu"), 3) == 3
    assert threads_each(("cuda:0",), None) is None
    for text in ("gpu", "0,1", "cuda:0,0", ""):
        with pytest.raises(OptionError, match="devices is"):
            parse_devices(text)
    with pytest.raises(OptionError, match="expected i/n"):
        parse_part("8")
    for bad in ({"part": (2, 2)}, {"shard_size": 0}, {"embeddings": "fp8"}, {"ray_address": "x"}, {"keep": ("a", "a")}):
        with pytest.raises(OptionError):
            Settings(inputs=("x",), checkpoint="c", output=tmp_path, **bad)


def test_one_device_by_either_name(tmp_path):
    def devices(options: Options, **more: str) -> str:
        return Settings(inputs=("x",), checkpoint="c", output=tmp_path, options=options, **more).devices

    assert devices(Options()) == "auto"
    assert devices(Options(device="cuda:1")) == "cuda:1"
    assert devices(Options(), devices="cpu,cpu") == "cpu,cpu"
    with pytest.raises(OptionError, match="device is 'cpu' and devices is 'cpu,cpu'"):
        devices(Options(device="cpu"), devices="cpu,cpu")


def test_a_slip_in_devices_makes_no_folder(tmp_path):
    settings = Settings(inputs=("x",), checkpoint="c", output=tmp_path / "out", options=Options(), devices="cuda:0,cud")
    with pytest.raises(OptionError, match="devices is"):
        job.run(settings, print)
    assert not (tmp_path / "out").exists()


def test_an_engine_file_is_refused(tmp_path):
    """No plan says which engine a file holds."""
    options = Options(backend="tensorrt", trust_engine=tmp_path / "a.engine")
    with pytest.raises(OptionError, match="changes nothing in a bulk run"):
        Settings(inputs=("x",), checkpoint="c", output=tmp_path, options=options)
