import re
from collections.abc import Callable
from typing import Any

import pytest

from kubeloop.contract.infer import infer
from kubeloop.contract.model import Contract
from kubeloop.contract.profile import ColumnProfile, TableProfile
from kubeloop.contract.yaml_text import scalar
from kubeloop.errors import InputError


def col(name: str, type_: Any, distinct: int, low: Any = None, high: Any = None, **more: Any) -> ColumnProfile:
    return ColumnProfile(
        name=name,
        type=type_,
        distinct=distinct,
        minimum=low,
        maximum=high,
        **({"nulls": 0, "constant": distinct < 2} | more),
    )


AGE = col("age", "integer", 41, 29, 77)
SICK = col("sick", "integer", 2, 0, 1, values=(0, 1))


def table(*columns: ColumnProfile, rows: int = 300) -> TableProfile:
    return TableProfile(rows=rows, columns=columns)


@pytest.fixture
def made(read: Callable[[str], Contract]) -> Callable[..., Contract]:
    def make(*columns: ColumnProfile, target: str, rows: int = 300, **more: Any) -> Contract:
        return read(infer(table(*columns, rows=rows), "../rows.csv", target=target, name="x", **more))

    return make


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [
        (SICK, "binary", 1),
        (col("t", "boolean", 2, values=(False, True)), "binary", True),
        (col("t", "text", 2, values=("yes", "no")), "binary", "yes"),
        (col("t", "text", 2, values=("good", "bad")), "binary", "bad"),
        (col("t", "text", 2, values=("M", "B")), "binary", "B"),
        (col("t", "number", 2, 0.5, 1.5, values=(1.5, 0.5)), "binary", 1.5),
        (col("t", "integer", 3, 0, 2, values=(0, 1, 2)), "multiclass", None),
        (col("t", "text", 3, values=("a", "no", "1")), "multiclass", None),
        (col("t", "integer", 11, 0, 10, values=tuple(range(11))), "regression", None),
        (col("t", "number", 3, 0.0, 2.5, values=(0.0, 1.0, 2.5)), "regression", None),
    ],
)
def test_task_by_target(target: ColumnProfile, task: str, positive: Any, made: Callable[..., Contract]) -> None:
    contract = made(AGE, target, target=target.name)
    assert (contract.target.task, contract.target.positive) == (task, positive)
    assert type(contract.target.positive) is type(positive)
    values = contract.data.columns[target.name].values
    assert (set(values or ()) == set(target.values)) == (task != "regression" and target.type != "boolean")
    assert contract.metrics.thresholds == {}


@pytest.mark.parametrize(
    ("rows", "target", "kind"),
    [
        (1999, SICK, "logistic_regression"),
        (2000, SICK, "gradient_boosting"),
        (1999, col("t", "number", 1500, 0.0, 1.0), "ridge"),
        (2000, col("t", "number", 1500, 0.0, 1.0), "gradient_boosting"),
    ],
)
def test_estimator_by_size(rows: int, target: ColumnProfile, kind: str, made: Callable[..., Contract]) -> None:
    assert made(AGE, target, target=target.name, rows=rows).estimator.kind == kind


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (col("c", "integer", 1, 5, 5), "it is constant"),
        (col("c", "integer", 1, 5, 5, nulls=3, constant=False), "it is constant where it is filled"),
        (col("c", "text", 0, nulls=300), "it has no value in any row"),
        (
            col("c", "text", 300, id_like=True),
            "different in every row, so it looks like a name or id (does it name the row? then `init` with --id c)",
        ),
        (col("c", "integer", 300, 7, 306, id_like=True), "different in every row, so it looks like an id"),
        (col("user_id", "integer", 300, 7, 9999, id_like=True), "different in every row, so it looks like an id"),
        (
            col("c", "text", 200).model_copy(update={"number_format": "1.234,5"}),
            "numbers written as text (1.234,5): write them like 1234.5",
        ),
        (col("c", "text", 200), "200 different texts, too many for categories"),
        (col("c", "timestamp", 300, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"), "a moment is no feature"),
        (
            col("sold at", "timestamp", 300, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            "a moment is no feature, its parts may be: features.dates (is it the moment of the decision? then `init` "
            "with --time 'sold at')",
        ),
        (
            col("the id", "text", 300, id_like=True),
            "different in every row, so it looks like a name or id (does it name the row? then `init` with --id "
            "'the id')",
        ),
        (col("_fold", "integer", 5, 0, 4), "the name is kept for Kubeloop's own use"),
    ],
)
def test_useless_columns_are_left_out_with_the_reason(column: ColumnProfile, reason: str, read: Any) -> None:
    text = infer(table(AGE, column, SICK), "rows.csv", target="sick", name="x")
    assert re.search(rf"^    # {column.name}: left out, {re.escape(reason)}", text, re.MULTILINE)
    assert column.name not in read(text).data.columns


def test_a_measurement_that_differs_in_every_row_stays(made: Callable[..., Contract]) -> None:
    assert (
        "income" in made(col("income", "integer", 300, 12_000, 98_000, id_like=True), SICK, target="sick").data.columns
    )


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (29, 77),
        (0, 1),
        (-5, 5),
        (-0.001, 1e-9),
        (-3.7, -1.2),
        (1e-300, 1e-299),
        (0.0, 1e300),
        (-1e308, 1e308),
        (2**53, 2**60),
    ],
)
def test_the_table_keeps_its_rules(low: float, high: float, made: Callable[..., Contract]) -> None:
    kind = "integer" if isinstance(low, int) and isinstance(high, int) else "number"
    column = made(col("c", kind, 30, low, high), AGE, SICK, target="sick").data.columns["c"]
    assert column.minimum is None or column.minimum <= low
    assert column.maximum is None or column.maximum >= high


def test_roles(made: Callable[..., Contract]) -> None:
    when = col("when", "date", 200, "2027-01-01", "2027-09-01")
    contract = made(col("who", "text", 300, id_like=True), when, AGE, SICK, target="sick", time="when", ids=["who"])
    assert (contract.data.id, contract.data.time) == (("who",), "when")
    assert contract.data.columns["who"].type == "text"
    assert contract.data.columns["when"].type == "date"


@pytest.mark.parametrize(
    "name", ["no", "null", "2019", "a: b", "a #b", "'", '"', "Größe", "\U0001f600", "- x", "a\tb", "{x}", "\x85", "y"]
)
def test_names_and_values_come_back(name: str, made: Callable[..., Contract]) -> None:
    column = col(name, "text", 3, values=(name, "010", "true"))
    assert made(column, AGE, SICK, target="sick").data.columns[name].values == (name, "010", "true")


def test_yaml_1_1_reads_the_same() -> None:
    import yaml

    for text in ("no", "on", "y", "1_000", "1:30", "2027-01-31", "0x1f", "=", "<<", "a", "", "~", "é\u2028\ufeff"):
        assert yaml.safe_load(scalar(text)) == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": "sik"}, "the table has no column 'sik' for --target; did you mean 'sick'?"),
        ({"target": "sick", "time": "agee"}, "the table has no column 'agee' for --time; did you mean 'age'?"),
        ({"target": "sick", "ids": ["x"]}, "the table has no column 'x' for --id"),
        ({"target": "sick", "time": "age"}, "the column 'age' for --time holds no moments but the type integer"),
        ({"target": "sick", "ids": ["sick"]}, "'sick' cannot be the target and an id or the time too"),
        ({"target": "flat"}, "the target 'flat' was expected to vary, it has the same value in every row"),
        ({"target": "void"}, "the target 'void' was expected to vary, it has no value"),
        ({"target": "when"}, "the target 'when' is a date, which no model here predicts"),
        ({"target": "price"}, "the target 'price' holds numbers written as text (1,234.5)"),
        ({"target": "note"}, "the target 'note' has 290 different texts, at most 50 were expected"),
        ({"target": "who"}, "the target 'who' has 40 different texts, one in every row"),
    ],
)
def test_what_cannot_be_inferred(arguments: dict[str, Any], said: str) -> None:
    profile = table(
        AGE,
        SICK,
        col("flat", "integer", 1, 1, 1),
        col("void", "text", 0, nulls=300),
        col("when", "date", 200, "2027-01-01", "2027-09-01"),
        col("note", "text", 290),
        col("who", "text", 40, id_like=True),
        col("price", "text", 290).model_copy(update={"number_format": "1,234.5"}),
    )
    with pytest.raises(InputError, match=re.escape(said)):
        infer(profile, "rows.csv", name="x", **arguments)


def test_one_row_and_no_feature() -> None:
    with pytest.raises(InputError, match="at least 2 rows were expected, the table has 1"):
        infer(table(AGE, SICK, rows=1), "rows.csv", target="sick", name="x")
    with pytest.raises(InputError, match="no column is left as a feature"):
        infer(table(SICK, col("flat", "integer", 1, 1, 1)), "rows.csv", target="sick", name="x")


def test_small_tables_can_be_judged(made: Callable[..., Contract]) -> None:
    small = made(AGE, SICK, target="sick", rows=150)
    assert small.gate.minimum_rows < 150 * small.split.test * 0.7
    assert made(AGE, SICK, target="sick", rows=5000).gate.minimum_rows == 30
