import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fusionzoo.errors import RunError
from fusionzoo.schema import added, canonical, dumps, from_json, to_json


@dataclass(frozen=True)
class Inner:
    low: float
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    count: int
    flag: bool
    maybe: float | None
    inner: Inner
    items: tuple[Inner, ...]
    by_name: dict[str, Inner]
    free: dict[str, Any]


INNER = Inner(math.nan, ("a", "b"))
OUTER = Outer(1, True, None, INNER, (INNER,), {"x": INNER}, {"any": [1, {"y": None}]})


def test_there_and_back():
    data = json.loads(dumps(OUTER))
    again = from_json(Outer, data, "file")
    assert dumps(again) == dumps(OUTER)
    assert isinstance(again.items[0], Inner)
    assert math.isnan(again.by_name["x"].low)
    assert again.maybe is None


def test_what_has_no_json_number_is_null():
    assert to_json({"a": math.nan, "b": [math.inf, 1.5], "c": np.float32(2), "d": np.int64(3)}) == {
        "a": None,
        "b": [None, 1.5],
        "c": 2.0,
        "d": 3,
    }


def test_what_has_no_json_form_is_refused():
    with pytest.raises(TypeError, match="set has no JSON form"):
        to_json({"a": {1}})


def test_canonical_is_the_same_for_the_same_meaning():
    assert canonical({"b": 1, "a": (1, 2)}) == canonical({"a": [1, 2], "b": 1})
    assert canonical({"a": 1}) != canonical({"a": 2})


def test_every_problem_is_named_with_its_place():
    data = to_json(OUTER)
    del data["flag"]
    data["extra"] = 1
    data["count"] = True
    data["inner"] = {"low": "x", "names": ["a", 1]}
    data["items"] = [{"low": 1}]
    data["by_name"] = {"x": 3}
    with pytest.raises(RunError) as caught:
        from_json(Outer, data, "runs/a/record.json")
    text = str(caught.value)
    assert text.startswith("runs/a/record.json is not a Outer that can be read:")
    for line in (
        "flag is missing",
        "extra is not known",
        "count must be a whole number, is true",
        'inner.low must be a number, is "x"',
        "inner.names[1] must be text, is 1",
        "items[0].names is missing",
        "by_name.x must be an object, is 3",
    ):
        assert f"\n  - {line}\n" in text
    assert text.endswith("or read it with the fusionzoo version that wrote it.")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("items", {}, "items must be a list"),
        ("free", [1], "free must be an object"),
        ("flag", 1, "flag must be true or false"),
        ("count", 1.5, "count must be a whole number"),
        ("count", None, "count must be a whole number, is null"),
    ],
)
def test_wrong_types(key, value, expected):
    with pytest.raises(RunError, match=expected):
        from_json(Outer, {**to_json(OUTER), key: value}, "file")


@dataclass(frozen=True)
class Grown:
    old: int
    new: str = added("as before")


def test_a_field_that_was_added_may_be_absent():
    assert from_json(Grown, {"old": 1}, "file") == Grown(1, "as before")
    assert from_json(Grown, {"old": 1, "new": "x"}, "file") == Grown(1, "x")
    assert to_json(Grown(1)) == {"old": 1, "new": "as before"}
    with pytest.raises(RunError, match=r"old is missing\n  - newer is not known\n"):
        from_json(Grown, {"newer": 2}, "file")
    with pytest.raises(RunError, match="new must be text, is 3"):
        from_json(Grown, {"old": 1, "new": 3}, "file")


def test_a_file_that_is_no_object():
    with pytest.raises(RunError, match=r"the file must be an object, is \[1\]"):
        from_json(Outer, [1], "file")
