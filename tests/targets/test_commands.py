"""`emonet-fast labels` as a user runs it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast.commands.main import cli
from emonet_fast.errors import DataError, EmonetError, InputError, OptionError


def run(*arguments):
    """The command's output; errors made on purpose are raised."""
    done = CliRunner().invoke(cli, ["labels", *map(str, arguments)])
    if isinstance(done.exception, EmonetError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_template_writes_a_project_with_its_tasks(tmp_path):
    faces = tmp_path / "faces"
    (faces / "anna").mkdir(parents=True)
    for name in ("anna/1.png", "b.png"):
        Image.new("RGB", (4, 4)).save(faces / name)
    output, tasks = tmp_path / "e.xml", tmp_path / "t.json"
    run("template", "-o", output, "--images", faces, "--tasks", tasks)
    assert output.read_text("utf-8").count("<Number ") == 40
    assert [task["data"] for task in json.loads(tasks.read_text("utf-8"))] == [
        {"image": f"/data/local-files/?d=faces/{name}", "key": name} for name in ("anna/1.png", "b.png")
    ]
    with pytest.raises(OptionError, match="go together"):
        run("template", "-o", output, "--images", faces)
    with pytest.raises(InputError, match="no folder with pictures"):
        run("template", "-o", output, "--images", tmp_path / "none", "--tasks", tasks)


@pytest.fixture
def embeddings(tmp_path):
    values = pa.array(np.eye(3, 4, dtype=np.float32).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"key": ["x/a.jpg", "x/b.jpg", "c.jpg"], "embedding": values}), tmp_path / "e.parquet")
    return tmp_path / "e.parquet"


def test_check_says_what_labels_hold_and_what_joins(tmp_path, embeddings):
    labels = tmp_path / "l.csv"
    labels.write_text("key,annotator,awe,Jealousy & Envy\na.jpg,u,1,2\na.jpg,v,3,\nb.jpg,u,7,0\nd.jpg,u,0,0\n")
    text = run(
        "check", labels, "--embeddings", embeddings, "--json", tmp_path / "j.json", "--report", tmp_path / "r.html"
    )
    assert "annotators: 2" in text
    assert "joined: 2 of 3 rows of embeddings have labels" in text
    assert "note: 1 rows of the embeddings have no label: c.jpg" in text
    assert "note: 1 labelled pictures are not in the embeddings: d.jpg" in text
    rows = {row["emotion"]: row for row in json.loads((tmp_path / "j.json").read_text())["tables"]["labels"]["rows"]}
    assert rows["Awe"]["labels"] == 3
    assert rows["Awe"]["mean"] == pytest.approx((2 + 7 + 0) / 3)
    assert rows["Jealousy & Envy"]["alpha"] is None
    assert "Jealousy &amp; Envy" in (tmp_path / "r.html").read_text("utf-8")


def test_check_refuses_what_cannot_be(tmp_path, embeddings):
    labels = tmp_path / "l.csv"
    labels.write_text("key,awe\nq.jpg,1\n")
    with pytest.raises(DataError, match="none of the 3 keys"):
        run("check", labels, "--embeddings", embeddings)
    with pytest.raises(OptionError, match="--scale is '7'"):
        run("check", labels, "--scale", "7")
    other = labels.rename(tmp_path / "l.json")
    with pytest.raises(OptionError, match="an input too"):
        run("check", other, "--json", other)
