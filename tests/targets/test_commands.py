"""`emonet-fast labels` as a user runs it."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emonet_fast.errors import DataError, InputError, OptionError
from emonet_fast.targets import read_targets

from ..commanding import run as run_command


def run(*arguments):
    return run_command("labels", *arguments)


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


def test_a_template_is_labelled_exported_and_read_back(tmp_path):
    """Tasks of the command, answered as Label Studio's export does, come back as labels by the pictures' keys."""
    faces, tasks = tmp_path / "faces", tmp_path / "t.json"
    names = ("anna/1.png", "anna/ü #2.png", "b.png")
    for name in names:
        (faces / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(faces / name)
    run("template", "-o", tmp_path / "e.xml", "--images", faces, "--tasks", tasks)
    controls = re.findall(r'<Number name="(\w+)"', (tmp_path / "e.xml").read_text("utf-8"))
    answers = np.random.default_rng(0).integers(0, 8, (3, 2, 40))  # by picture, annotator, control
    export = json.loads(tasks.read_text("utf-8"))
    place = {task["data"]["key"]: i for i, task in enumerate(export)}
    for task, of_task in zip(export, answers.tolist(), strict=True):
        task["annotations"] = [
            {
                "completed_by": who,
                "result": [
                    {"from_name": name, "to_name": "image", "type": "number", "value": {"number": number}}
                    for name, number in zip(controls, numbers, strict=True)
                ],
            }
            for who, numbers in enumerate(of_task)
        ]
    (tmp_path / "export.json").write_text(json.dumps(export), "utf-8")
    text = run("check", tmp_path / "export.json", "--json", tmp_path / "j.json")
    assert "pictures: 3" in text
    assert "annotators: 2" in text
    rows = json.loads((tmp_path / "j.json").read_text())["tables"]["labels"]["rows"]
    assert [row["labels"] for row in rows] == [3] * 40
    targets = read_targets(tmp_path / "export.json")
    assert sorted(targets.keys) == sorted(names)
    for key in names:
        found = targets.values[targets.keys.index(key)][[targets.names.index(name) for name in controls]]
        np.testing.assert_array_equal(found, answers[place[key]].mean(axis=0))


@pytest.fixture
def embeddings(tmp_path):
    values = pa.array(np.eye(3, 4, dtype=np.float32).tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"key": ["x/a.jpg", "x/b.jpg", "c.jpg"], "embedding": values}), tmp_path / "e.parquet")
    return tmp_path / "e.parquet"


def test_check_says_what_labels_hold_and_what_joins(tmp_path, embeddings):
    labels = tmp_path / "l.csv"
    labels.write_text(
        "key,annotator,awe,Jealousy & Envy,fear\na.jpg,u,1,2,0\na.jpg,v,3,,\nb.jpg,u,7,0,0\nd.jpg,u,0,0,0\n"
    )
    text = run(
        "check", labels, "--embeddings", embeddings, "--json", tmp_path / "j.json", "--report", tmp_path / "r.html"
    )
    assert "annotators: 2" in text
    assert "joined: 2 of 3 rows of embeddings have labels" in text
    assert "note: 1 row of the embeddings has no label: c.jpg" in text
    assert "note: 1 labelled picture is not in the embeddings: d.jpg" in text
    assert "note: fear has the label 0 alone, and nothing else to tell it from" in text
    rows = {row["head"]: row for row in json.loads((tmp_path / "j.json").read_text())["tables"]["labels"]["rows"]}
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
