"""The plan as files, functions to the last bit, and hostile plans that must not run."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from kubeloop.errors import IntegrityError
from kubeloop.learning.inputs import InputColumn, to_frame
from kubeloop.scoring import functions
from kubeloop.scoring.check import check_plan
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.operations import CODES
from kubeloop.scoring.plan import Operation, Plan, plan_bytes, read_plan
from kubeloop.scoring.scorer import Scorer, Unscorable

from .conftest import SCHEMA, Row, truth_of
from .test_parity import prepared

GOOD: Row = [1.0, 2, None, 0.5, -3, True, "a", "1", 0]


@pytest.fixture(scope="module")
def plan(training_rows: list[Row]) -> Plan:
    pipeline = Pipeline([("f", prepared()), ("m", RandomForestClassifier(5, max_depth=5, random_state=0))])
    pipeline.fit(to_frame(training_rows, SCHEMA), truth_of(training_rows, "binary"))
    return compile_plan(pipeline, SCHEMA, "sha256-" + "1" * 64)


def test_operations_have_one_number_in_both_evaluators() -> None:
    native = pytest.importorskip("kubeloop.scoring._native", reason="built without a C compiler")
    assert {name: place for place, name in enumerate(native.codes)} == CODES


def test_functions_are_right_to_two_units_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-745, 709, 20_000), rng.normal(size=20_000), [0.0, -0.0, 1e-300, 709.78, -740.0]])
    wanted = np.array([math.exp(each) for each in x])
    assert (np.abs(functions.exp(x) - wanted) <= 2 * np.spacing(wanted)).all()
    y = np.concatenate([rng.uniform(1, 50, 20_000), np.exp(rng.uniform(-700, 700, 20_000)), [1.0, 2.0]])
    logs = np.array([math.log(each) for each in y])
    assert (np.abs(functions.log(y) - logs) <= 2 * np.spacing(np.abs(logs))).all()
    assert np.abs(functions.tanh(x) - np.tanh(x)).max() < 1e-15
    edges = functions.exp(np.array([np.inf, -np.inf, np.nan, 1e300, -1e300]))
    assert edges[[0, 3]].tolist() == [np.inf, np.inf]
    assert edges[[1, 4]].tolist() == [0.0, 0.0]
    assert np.isnan(edges[2])


def test_a_calibration_at_its_edges() -> None:
    """One point, beyond the last point, on a point and between two; and a row to which no class is given."""
    at, to = [0.2, 0.4, 0.8], [0.0, 0.5, 1.0]
    steps = (
        Operation("interpolate", (0,), 1, 1, np.array([*at, *to])),
        Operation("interpolate", (0,), 2, 1, np.array([0.3, 0.7])),
        Operation("shares", (1, 1), 3, 2),
    )
    made = Plan((None,), steps, (1, 2, 3, 4), "probabilities")
    schema = [InputColumn(name="x", kind="number", categories=None, minimum=None, maximum=None, nullable=False)]
    wanted = {0.0: 0.0, 0.2: 0.0, 0.3: 0.25, 0.4: 0.5, 0.6: 0.75, 0.8: 1.0, 9.0: 1.0}
    for native in (True, False):
        given = Scorer(made, schema, native=native).score_rows([[value] for value in wanted])
        assert np.allclose([row[0] for row in given], list(wanted.values()), rtol=0, atol=1e-15)
        assert {row[1] for row in given} == {0.7}
        assert {row[2] for row in given} == {row[3] for row in given} == {0.5}
        infinite = Operation("multiply", (0,), 1, 1, np.array([np.inf]))
        lost = Operation("interpolate", (1,), 2, 1, steps[0].floats)
        with pytest.raises(Unscorable):  # nothing times infinity
            Scorer(Plan((None,), (infinite, lost), (2,), "values"), schema, native=native).score_rows([[0.0]])


def test_a_plan_is_the_same_bytes_and_reads_back(plan: Plan) -> None:
    document, arrays = plan_bytes(plan)
    again = read_plan(document, arrays)
    assert plan_bytes(again) == (document, arrays)
    assert again.estimator == plan.estimator
    assert Scorer(again, SCHEMA).score_rows([GOOD]) == Scorer(plan, SCHEMA).score_rows([GOOD])


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_file_is_refused(cut: int, plan: Plan) -> None:
    document, arrays = plan_bytes(plan)
    with pytest.raises(IntegrityError, match="scoring plan"):
        read_plan(document, arrays[:cut])
    with pytest.raises(IntegrityError, match="scoring plan"):
        read_plan(document[:cut], arrays)


def test_a_pickle_in_the_arrays_is_not_loaded(plan: Plan, tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", **{"0.floats": np.array([{"run": "me"}], dtype=object)})
    with pytest.raises(IntegrityError, match="scoring plan"):
        read_plan(plan_bytes(plan)[0], (tmp_path / "evil.npz").read_bytes())


@pytest.mark.parametrize("trial", range(40))
def test_a_hostile_plan_is_refused_or_harmless(trial: int, plan: Plan) -> None:
    """Any number of any array is changed: the plan is refused, or runs without reading what it must not."""
    rng = np.random.default_rng(trial)
    for _ in range(25):
        steps = list(plan.operations)
        place = int(rng.integers(len(steps)))
        step = steps[place]
        ints, floats = step.ints.copy(), step.floats.copy()
        if ints.size and rng.random() < 0.7:
            ints[rng.integers(min(len(ints), 200) if rng.random() < 0.5 else len(ints))] = rng.integers(-(2**31), 2**31)
        elif floats.size:
            floats[rng.integers(len(floats))] = rng.choice([np.nan, np.inf, -1.0, 1e300])
        else:
            step = replace(step, width=int(rng.integers(-2, 9)), reads=tuple(rng.integers(-3, 60, 3).tolist()))
        steps[place] = replace(step, ints=ints, floats=floats)
        hostile = replace(plan, operations=tuple(steps))
        try:
            Scorer(hostile, SCHEMA).score_rows([GOOD] * 40)
        except (IntegrityError, Unscorable):
            continue


@pytest.mark.parametrize("levels", [1, 5, 6, 7, 60, 5000])
def test_a_tree_whose_branches_meet_again_costs_no_more_than_its_nodes(levels: int, plan: Plan) -> None:
    """Each pair of siblings has the next pair for children, both of them: 2^levels ways lead down."""
    lefts = np.repeat(np.arange(levels) * 2 + 1, 2)[1:]
    nodes = np.stack([np.zeros_like(lefts), lefts], axis=1)  # each asks whether the number lies above the one edge
    leaves = np.array([[0xFFFF, 2 * levels - 1], [0xFFFF, 2 * levels]])
    head = [1, 2 * levels + 1, 0, 1, 0, 0, 0, levels, 0, 1, 0]
    ints = np.concatenate([head, nodes.ravel(), leaves.ravel()]).astype(np.int32)
    floats = np.concatenate([[0.0, 1.0, 0.5], np.arange(2.0 * levels + 1)])
    step = Operation("forest", (0,), len(SCHEMA), 1, floats, ints)
    shared = Plan(plan.texts, (step,), (len(SCHEMA),), "values")
    rows = [[place / 20, *GOOD[1:]] for place in range(20)]
    wanted = [[2.0 * levels - (row[0] <= 0.5)] for row in rows]
    for native in (True, False):
        scorer = Scorer(shared, SCHEMA, native=native)
        assert scorer.score_rows(rows) == wanted
        assert [scorer.score_rows([row])[0] for row in rows] == wanted


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (Operation("run", (0,), 9, 1), "no such operation"),
        (Operation("add", (9,), 9, 1, np.zeros(1)), "not written yet"),
        (Operation("add", (-1,), 9, 1, np.zeros(1)), "not written yet"),
        (Operation("add", (0, 1), 9, 2, np.zeros(1)), "do not fit"),
        (Operation("onehot", (0,), 9, 2, ints=np.zeros(4, dtype=np.int32)), "no code"),
        (Operation("onehot", (6,), 9, 2, ints=np.full(8, 2, dtype=np.int32)), "beyond its slots"),
        (Operation("lookup", (6,), 9, 1, np.zeros(3)), "one number for each code"),
        (Operation("softmax", (), 9, 0), "do not fit"),
        (Operation("forest", (0,), 9, 1, np.zeros(3), np.array([1, 1, 0, 1, 0], dtype=np.int32)), "fill its table"),
        (Operation("interpolate", (0,), 9, 1, np.zeros(3)), "do not fit"),
        (Operation("interpolate", (0,), 9, 1, np.array([1.0, 1.0, 0.0, 1.0])), "do not ascend"),
        (Operation("shares", (0,), 9, 2), "one slot for each"),
        (Operation("dates", (8,), 9, 1, ints=np.array([99], dtype=np.int32)), "no such part"),
        (Operation("exp", (0,) * 30_000, 9, 30_000), "too many slots"),
    ],
)
def test_what_a_hostile_operation_is_told(step: Operation, problem: str, plan: Plan) -> None:
    with pytest.raises(IntegrityError, match=problem):
        check_plan(Plan(plan.texts, (step,), (9,), "values"), len(SCHEMA))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("place", "cell"),
    [
        (0, "old"),
        (0, True),
        (0, [1]),
        (0, math.inf),
        (0, 10**400),
        (0, 1e300),
        (5, 7),
        (6, {}),
        (6, b"a"),
        (6, math.inf),
        (8, None),
        (8, math.nan),
        (8, "yesterday"),
        (8, 1000000000000.0),
    ],
)
def test_a_cell_that_the_schema_refuses_is_left_to_the_slow_path(
    place: int, cell: object, native: bool, plan: Plan
) -> None:
    row = [*GOOD[:place], cell, *GOOD[place + 1 :]]
    with pytest.raises(Unscorable) as caught:
        Scorer(plan, SCHEMA, native=native).score_rows([GOOD, GOOD, row])
    assert caught.value.row == 2


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("place", "one", "other"),
    [
        (0, 4, "4"),
        (0, None, math.nan),
        (5, True, "1"),
        (6, "never", "seen"),
        (7, 1, "1.0"),
        (7, 2.0, "2"),
        (8, 86400, "1970-01-02T00:00:00Z"),
    ],
)
def test_cells_that_are_the_same_to_the_schema(
    place: int, one: object, other: object, native: bool, plan: Plan
) -> None:
    scorer = Scorer(plan, SCHEMA, native=native)
    first, second = scorer.score_rows([[*GOOD[:place], cell, *GOOD[place + 1 :]] for cell in (one, other)])
    assert first == second


@pytest.mark.parametrize("rows", [[GOOD[:-1]], [GOOD, [*GOOD, 1]], [dict.fromkeys("ab", 1)], ["abcdefghi"]])
@pytest.mark.parametrize("native", [True, False])
def test_a_row_of_another_shape(rows: list[Row], native: bool, plan: Plan) -> None:
    with pytest.raises(Unscorable):
        Scorer(plan, SCHEMA, native=native).score_rows(rows)


def test_no_row_is_no_answer(plan: Plan) -> None:
    assert Scorer(plan, SCHEMA).score_rows([]) == Scorer(plan, SCHEMA, native=False).score_rows([]) == []


def test_a_code_that_is_none_is_refused_by_the_compiled_evaluator(plan: Plan) -> None:
    inputs = np.zeros((len(SCHEMA), 3))
    inputs[6, 1] = 99.0
    with pytest.raises(ValueError, match="a code of a category was expected"):
        Scorer(plan, SCHEMA).score_encoded(inputs)
