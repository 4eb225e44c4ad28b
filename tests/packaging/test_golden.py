"""Golden requests come from the schema alone and catch what a model must not change."""

import numpy as np
import pytest

from kubeloop.errors import IntegrityError
from kubeloop.learning.answers import Answers
from kubeloop.packaging.golden import UNKNOWN, difference, golden_of, prove, requests_of
from kubeloop.packaging.manifest import Feature

FEATURES = (
    Feature(name="age", kind="number", minimum=20.0, maximum=90.5),
    Feature(name="anything", kind="number", nullable=False),
    Feature(name="only_high", kind="number", maximum=-5.0),
    Feature(name="only_low", kind="number", minimum=1e300),
    Feature(name="widest", kind="number", minimum=-1.7e308, maximum=1.7e308),
    Feature(name="pain", kind="category", categories=("much", "none", "some")),
    Feature(name="smokes", kind="boolean"),
)


def test_they_are_the_same_every_time_and_cover_the_edges():
    rows = requests_of(FEATURES)
    assert rows == requests_of(FEATURES)
    assert len(rows) == 12
    columns = dict(zip((feature.name for feature in FEATURES), zip(*rows, strict=True), strict=True))
    assert {20.0, 90.5, None} <= set(columns["age"])
    assert None not in columns["anything"]
    assert {None, UNKNOWN, "much", "some"} <= set(columns["pain"])
    assert {True, False, None} == set(columns["smokes"])


def test_numbers_keep_their_range_and_are_finite():
    for row in requests_of(FEATURES):
        for feature, cell in zip(FEATURES, row, strict=True):
            if feature.kind == "number" and cell is not None:
                assert isinstance(cell, float | int), feature.name
                assert np.isfinite(cell), feature.name
                assert feature.minimum is None or cell >= feature.minimum
                assert feature.maximum is None or cell <= feature.maximum


def test_a_new_column_moves_no_other_cell():
    before = requests_of(FEATURES)
    after = requests_of((*FEATURES, Feature(name="new", kind="boolean")))
    assert before == tuple(row[:-1] for row in after)


def answers(shift: float = 0.0, label: str = "no") -> Answers:
    rows = len(requests_of(FEATURES))
    probabilities = np.tile([0.75, 0.25], (rows, 1))
    probabilities[5, 1] += shift
    labels = np.array(["no"] * (rows - 1) + [label], dtype=object)
    return Answers(labels=labels, probabilities=probabilities)


def test_equal_answers_are_proven():
    golden = golden_of(requests_of(FEATURES), answers())
    assert prove(golden, answers(), "it") == 0.0
    assert prove(golden, answers(1e-13), "it") == pytest.approx(1e-13, rel=0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (answers(1e-11), "off by 1e-11"),
        (answers(float("nan")), "off by nan"),
        (answers(label="yes"), "a label differs"),
        (Answers(values=np.zeros(12)), "a label differs"),
    ],
)
def test_other_answers_are_refused(given, message):
    golden = golden_of(requests_of(FEATURES), answers())
    with pytest.raises(IntegrityError, match=message):
        prove(golden, given, "it")


def test_a_missing_row_differs_and_large_values_are_held_relative():
    golden = golden_of(requests_of(FEATURES), Answers(values=np.full(12, 1e9)))
    assert difference(golden, Answers(values=np.full(11, 1e9))) == float("inf")
    assert difference(golden, Answers(values=np.full(12, 1e9 + 1e-4))) == pytest.approx(1e-13, rel=0.2)
