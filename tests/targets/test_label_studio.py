"""Label Studio's exports: the same labels as a table of them gives, whatever the form; one clear line for the rest."""

import csv
import io
import json
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast import taxonomy
from emonet_fast.errors import DataError
from emonet_fast.targets import read_targets
from emonet_fast.targets.label_studio import picture_name
from emonet_fast.targets.template import labelling_config, tasks

NAMES = {
    "/data/local-files/?d=faces/anna%20k/1.jpg": "faces/anna k/1.jpg",
    "http://host:8080/data/local-files/?d=1.jpg": "1.jpg",
    "/data/upload/12/0a1b2c3d-my face.jpg": "my face.jpg",
    "https://host/data/upload/12/0a1b2c3d-my%20face.jpg": "my face.jpg",
    "/data/upload/0a1b2c3d-x.jpg": "x.jpg",
    "/data/upload/3/deadbeef.jpg": "deadbeef.jpg",
    "s3://bucket/a b.jpg": "s3://bucket/a b.jpg",
    "https://host/a.jpg?sign=1": "https://host/a.jpg",
    "what?.jpg": "what?.jpg",
    "http://[bad/1.jpg": "http://[bad/1.jpg",
}


@pytest.mark.parametrize("place", NAMES)
def test_pictures_get_their_names_back(place):
    assert picture_name(place) == NAMES[place]


def annotation(values, who, **more):
    """As the task format has it: a number, a rating or a choice for each control."""
    kinds = {str: "choices", int: "number", float: "rating"}
    result = []
    for name, value in values.items():
        kind = kinds[type(value)]
        answer = {kind: [value] if kind == "choices" else value}
        result.append({"from_name": name, "to_name": "image", "type": kind, "value": answer})
    return {"id": 1, "completed_by": who, "result": result, "was_cancelled": False} | more


def task(key, *annotations):
    return {"id": 7, "data": {"image": f"/data/upload/1/0a1b2c3d-{key}"}, "annotations": list(annotations)}


def save(tmp_path, content):
    path = tmp_path / "export.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


LABELS = st.dictionaries(
    st.tuples(st.sampled_from(["a.jpg", "b c.jpg", "ä.png"]), st.integers(1, 3)),
    st.dictionaries(st.sampled_from(["awe", "fear", "own_name"]), st.integers(0, 7), min_size=1),
    min_size=1,
)


@settings(max_examples=20, deadline=None)
@given(LABELS)
def test_every_form_gives_the_labels_of_a_plain_table(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("export")
    rows = [(key, who, name, value) for (key, who), values in labels.items() for name, value in values.items()]
    known = {"awe", "fear"} & {row[2] for row in rows}
    expected = read_targets(
        pd.DataFrame([r for r in rows if not known or r[2] in known], columns=["key", "annotator", "name", "value"])
    )
    by_key = {key: [annotation(v, w) for (k, w), v in labels.items() if k == key] for key, _ in labels}
    flat = [
        {"image": f"/data/upload/1/0a1b2c3d-{key}", "id": 1, "annotator": who, "annotation_id": i, "lead_time": 2.5}
        | values
        for i, ((key, who), values) in enumerate(labels.items())
    ]
    table = io.StringIO(newline="")
    names = dict.fromkeys(n for row in flat for n in row)
    writer = csv.DictWriter(table, names)
    writer.writeheader()
    writer.writerows(row | {n: json.dumps([{"number": row[n]}]) for n in ("awe", "fear") if n in row} for row in flat)
    (folder / "export.csv").write_text(table.getvalue(), "utf-8", newline="")
    forms = [[task(key, *given) for key, given in by_key.items()], flat]
    for place in (*(save(folder, form) for form in forms[:1]), folder / "export.csv"):
        check(read_targets(place), expected)
    check(read_targets(save(folder, flat)), expected)


def check(targets, expected):
    assert targets.names == expected.names
    for key, values, weights in zip(expected.keys, expected.values, expected.weights, strict=True):
        row = targets.keys.index(key)
        np.testing.assert_array_equal(targets.values[row], values)
        np.testing.assert_array_equal(targets.weights[row], weights)


def test_skipped_and_empty_tasks_are_counted(tmp_path):
    people = {"id": 5, "email": "anna@x.org"}
    box = {"from_name": "box", "type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["face"]}}
    first = annotation({"awe": 3}, people)
    first["result"].append(box)
    export = [
        task("a.jpg", first, annotation({"awe": 7}, 6, was_cancelled=True)),
        task("b.jpg"),
        task("c.jpg", annotation({"awe": 2.0}, 6)),
    ]
    targets = read_targets(save(tmp_path, export))
    assert targets.keys == ("a.jpg", "c.jpg")
    np.testing.assert_array_equal(targets.values, [[3], [2]])
    assert set(targets.notes) >= {
        "1 skipped annotations were left out",
        "1 tasks without annotations were left out",
        "1 results that are no number, rating or choice were left out",
    }


def test_a_choice_is_a_class(tmp_path):
    export = [
        task("a.jpg", annotation({"expression": "happy"}, 1)),
        task("b.jpg", annotation({"expression": "sad"}, 1)),
    ]
    targets = read_targets(save(tmp_path, export))
    assert targets.names == ("happy", "sad")
    np.testing.assert_array_equal(targets.values, [[1, 0], [0, 1]])


BAD = {
    "cannot be read": "{",
    "no export": "[]",
    "no export ": "[1]",
    "has no annotations: 1 tasks": [task("a.jpg")],
    "without a list `result`": [{"data": {"image": "a"}, "annotations": [{"result": 3}]}],
    "no list of annotations": [{"data": {"image": "a"}, "annotations": "x"}],
    "without `from_name`": [{"data": {"image": "a"}, "annotations": [{"result": [{"value": {"number": 1}}]}]}],
    "does not name its picture": [{"data": {"image": "data:image/png;base64,AA"}, "annotations": [annotation({}, 1)]}],
    "two answers of 'awe'": [task("a.jpg", annotation({}, 1, result=annotation({"awe": 1}, 1)["result"] * 2))],
    "expected one number": [
        task("a.jpg", annotation({}, 1, result=[{"from_name": "x", "value": {"choices": ["a", "b"]}}]))
    ],
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_refused(tmp_path, fault):
    with pytest.raises(DataError) as error:
        read_targets(save(tmp_path, BAD[fault]))
    assert fault.strip() in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a.jpg", "awe", "", "3", "[{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "image", "annotations", "result", "value", "number", "from_name", "awe", "key"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(JSON)
def test_anything_else_is_an_error(tmp_path_factory, content):
    path = save(tmp_path_factory.getbasetemp(), content)
    with suppress(DataError):
        assert np.isfinite(read_targets(path).values).any()


def test_the_template_has_a_slider_for_each_emotion_in_its_group():
    root = ElementTree.fromstring(labelling_config())  # noqa: S314 - our own
    sliders = root.findall(".//Number")
    by_group = [d.slug for group in taxonomy.GROUPS for d in taxonomy.EMOTIONS if d.group == group]
    assert [s.get("name") for s in sliders] == by_group
    assert len(by_group) == 40
    for slider in sliders:
        assert [slider.get(n) for n in ("min", "max", "step", "defaultValue", "slider")] == ["0", "7", "1", "0", "true"]
        assert slider.get("toName") == root.find(".//Image").get("name")
    assert root.find(".//Image").get("value") == "$image"
    groups = [h.get("value") for h in root.findall(".//Header[@size='3']")]
    assert groups == list(taxonomy.GROUPS)


def test_tasks_come_back_with_the_keys_of_their_pictures(tmp_path):
    keys = ["anna/1 ü.jpg", "b#?&+.png"]
    made = json.loads(tasks(keys, "/faces/"))
    assert [picture_name(row["data"]["image"]) for row in made] == [f"faces/{key}" for key in keys]
    export = [row | {"annotations": [annotation({"awe": i}, 1)]} for i, row in enumerate(made)]
    assert read_targets(save(tmp_path, export)).keys == tuple(keys)


def test_texts_that_no_file_can_hold_become_visible(tmp_path):
    names = "\ud800a", "b", "c"
    tasks_of = [{"data": {"key": name}, "annotations": [annotation({"awe": i}, 1)]} for i, name in enumerate(names)]
    targets = read_targets(save(tmp_path, tasks_of))
    assert targets.keys == ("\\ud800a", "b", "c")
    assert not any("left out" in note for note in targets.notes)
