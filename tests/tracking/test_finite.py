import dataclasses
import datetime as dt
import decimal
import enum
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kubeloop.decisions import Check, decide
from kubeloop.tracking import finite, plain


def test_numpy_becomes_python():
    found = finite({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.str_("x"), "e": np.float64(1)})
    assert found == {"a": 0.5, "b": 3, "c": 1, "d": "x", "e": 1.0}
    assert {key: type(value) for key, value in found.items()} == {"a": float, "b": int, "c": int, "d": str, "e": float}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -np.inf, np.float32("nan"), decimal.Decimal("NaN")])
def test_what_is_not_finite_is_dropped_and_named(bad):
    assert finite({"good": 1, "bad": bad, "also": bad}) == {"good": 1, "not_finite": "bad,also"}


def test_none_is_dropped_unnamed():
    assert finite({"a": None, "b": 1}) == {"b": 1}


def test_nothing_gives_nothing():
    assert finite({}) == {}


def test_what_is_not_flat_becomes_canonical_text():
    assert finite({"a": [2, float("nan")], "b": {"y": 1, "x": 2}}) == {"a": "[2,null]", "b": '{"x":2,"y":1}'}


def test_lists_keep_their_places():
    assert plain({"threshold": np.array([np.inf, 0.5])}) == {"threshold": [None, 0.5]}


@dataclasses.dataclass
class Point:
    x: float
    when: dt.datetime


class Colour(enum.StrEnum):
    RED = "red"


def test_everything_we_pass_has_a_json_form():
    check = Check(name="c", verdict="pass", reason="r", evidence={"n": 1})
    document = plain(
        {
            1: Point(float("nan"), dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
            "naive": dt.datetime(2026, 1, 1),  # noqa: DTZ001
            "day": dt.date(2026, 1, 2),
            "path": Path("a/b"),
            "decision": decide("model", [check]),
            "set": {"b", "a"},
            "tuple": (1, None, True),
            "decimal": decimal.Decimal("1.5"),
            "frame": pd.Series([1, 2]),
            "stamp": pd.Timestamp("2026-01-01", tz="UTC"),
            "colour": Colour.RED,
            "big": 2**70,
        }
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["1"] == {"x": None, "when": "2025-12-31T22:00:00+00:00"}
    assert document["naive"] == "2026-01-01T00:00:00+00:00"
    assert document["decision"]["verdict"] == "pass"
    assert document["set"] == ["a", "b"]
    assert type(document["colour"]) is str


def test_what_has_no_json_form_is_named():
    with pytest.raises(TypeError, match="a JSON value was expected, got object"):
        plain({"a": [object()]})
