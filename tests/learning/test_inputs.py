import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, category_text, to_frame

SCHEMA = [
    InputColumn(name="age", kind="number", categories=None, minimum=0, maximum=99, nullable=True),
    InputColumn(
        name="ward", kind="category", categories=["1", "2.0", "True", "x"], minimum=None, maximum=None, nullable=True
    ),
    InputColumn(name="smoker", kind="boolean", categories=None, minimum=0, maximum=1, nullable=False),
]


def test_lists_objects_and_frames_give_the_same_frame():
    rows: list[list[Any]] = [[1, "x", True], ["2.5e0", None, 0], [None, 1, "false"]]
    lists = to_frame(rows, SCHEMA)
    mappings: list[dict[str, Any]] = [
        {"smoker": True, "ward": "x", "age": 1},
        {"age": 2.5, "ward": None, "smoker": False},
        {"age": None, "ward": "1", "smoker": 0.0},
    ]
    objects = to_frame(mappings, SCHEMA)
    frame = to_frame(
        pd.DataFrame(
            {"ward": ["x", None, "1"], "age": [1, 2.5, np.nan], "smoker": [True, False, False], "further": [1, 2, 3]},
            index=[7, 8, 9],
        ),
        SCHEMA,
    )
    pd.testing.assert_frame_equal(lists, objects)
    pd.testing.assert_frame_equal(lists, frame)
    assert lists["ward"].tolist() == ["x", None, "1"]
    assert [str(dtype) for dtype in lists.dtypes] == ["float64", "object", "float64"]


def test_no_rows_are_an_empty_frame_of_the_same_dtypes():
    assert [str(dtype) for dtype in to_frame([], SCHEMA).dtypes] == ["float64", "object", "float64"]


@pytest.mark.parametrize("value", [1, 1.0, "1", np.int64(1), np.float64(1.0)])
def test_one_as_integer_float_and_text_is_one_category(value):
    assert to_frame([[1, value, True]], SCHEMA)["ward"].tolist() == ["1"]
    assert to_frame(pd.DataFrame({"age": [1], "ward": [value], "smoker": [True]}), SCHEMA)["ward"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2.0"),
        ("2", "2.0"),
        (2.0, "2.0"),
        (True, "True"),
        ("01", "01"),
        (" x", " x"),
        (0.5, "0.5"),
        (10**20, str(10**20)),
    ],
)
def test_a_category_that_training_wrote_otherwise_is_found_and_text_is_never_guessed(value, text):
    assert to_frame([[1, value, True]], SCHEMA)["ward"].tolist() == [text]


def test_a_frame_that_mixes_true_and_one_keeps_them_apart():
    mixed = pd.DataFrame({"age": [1, 1], "ward": pd.Series([True, 1], dtype=object), "smoker": [True, True]})
    assert to_frame(mixed, SCHEMA)["ward"].tolist() == ["True", "1"]


def test_category_text_of_missing_values_is_none():
    assert [category_text(value) for value in (None, math.nan, pd.NA, pd.NaT)] == [None] * 4


@pytest.mark.parametrize(
    ("rows", "problem", "fix", "context"),
    [
        ([[1, "x", True], [1, "x"]], "row 2 of 2 has 2 values, 3 were expected", "age, ward, smoker", {"row": 2}),
        (
            [{"age": 1, "wart": "x", "smoker": True}],
            "row 1 of 1 has no column 'ward', but an unknown column 'wart'",
            "add 'ward'",
            {"row": 1},
        ),
        ([{"age": 1, "smoker": True}], "row 1 of 1 has no column 'ward'", "null", {"row": 1, "column": "ward"}),
        ([["old", "x", True]], "column 'age', row 1: a number was expected, .* text 'old'", "null", {"column": "age"}),
        ([["1 2", "x", True]], "text '1 2'", "number", {"row": 1}),
        ([["1_000", "x", True]], "text '1_000'", "number", {"row": 1}),
        ([[math.inf, "x", True]], "column 'age', row 1: .* infinite", "finite", {"row": 1}),
        ([[0, "x", True], ["-inf", "x", True]], "column 'age', row 2: .* infinite", "finite", {"row": 2}),
        ([[10**400, "x", True]], "too large", "finite", {"row": 1}),
        ([[True, "x", True]], "is the boolean true", "number", {"row": 1}),
        ([[[1], "x", True]], "is a list", "number", {"row": 1}),
        ([[1, {"a": 1}, True]], "column 'ward', row 1: .* an object", "text", {"row": 1}),
        ([[1, math.inf, True]], "column 'ward', row 1: .* infinite", "text", {"row": 1}),
        ([[1, "x", 7]], "column 'smoker', row 1: true or false was expected, .* 7", "true or false", {"row": 1}),
        ([[1, "x", None]], "column 'smoker', row 1: .* missing", "may not be null", {"row": 1}),
        ([1], "row 1 of 1 is a int", "list in this order", {"row": 1}),
        ("abc", "a list of rows was expected, a text came", "one entry per row", {}),
        ({"age": 1}, "a list of rows was expected, an object came", "one entry per row", {}),
    ],
)
def test_wrong_rows_name_place_and_mend(rows, problem, fix, context):
    with pytest.raises(InputError, match=problem) as caught:
        to_frame(rows, SCHEMA)
    assert fix in caught.value.fix
    assert context.items() <= caught.value.context.items()


def test_a_frame_without_a_column_names_the_nearest_one():
    with pytest.raises(InputError, match="'ward' is missing in the table; did you mean 'wards'"):
        to_frame(pd.DataFrame({"age": [1], "wards": ["x"], "smoker": [True]}), SCHEMA)


def test_a_frame_with_a_column_twice_is_refused():
    twice = pd.DataFrame([[1, 2, "x", True]], columns=["age", "age", "ward", "smoker"])
    with pytest.raises(InputError, match="'age' appears twice"):
        to_frame(twice, SCHEMA)


def test_a_frame_names_the_row_of_an_infinity_and_of_a_wrong_category():
    frame = pd.DataFrame({"age": [1.0, np.inf], "ward": ["x", "x"], "smoker": [True, False]})
    with pytest.raises(InputError, match="column 'age', row 2"):
        to_frame(frame, SCHEMA)
    frame = pd.DataFrame({"age": [1.0, 2.0], "ward": [None, math.inf], "smoker": [True, False]})
    with pytest.raises(InputError, match="column 'ward', row 2"):
        to_frame(frame, SCHEMA)


def test_many_distinct_categories_in_a_frame_stay_fast():
    n = 100_000
    frame = pd.DataFrame({"age": np.zeros(n), "ward": [f"c{i}" for i in range(n)], "smoker": np.ones(n, dtype=bool)})
    started = time.perf_counter()
    assert to_frame(frame, SCHEMA)["ward"].nunique() == n
    assert time.perf_counter() - started < 60  # each against each would take far longer
