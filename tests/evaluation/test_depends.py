"""Blocks: who makes them, and what they change."""

import numpy as np
import pandas as pd
import pytest

from kubeloop.contract.judgement import Gate, Metrics
from kubeloop.contract.sections import EvaluateSection
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.errors import InputError
from kubeloop.evaluation.blocks import blocks_of
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.judged import Judged
from kubeloop.evaluation.metrics import improvement, measure, undefined

TABLE = pd.DataFrame(
    {
        "key": [1, 2, 3, 4],
        "town": ["a", "b", None, None],
        "when": pd.to_datetime(["2024-01-01T01:00Z", "2024-01-01T23:00Z", "2024-01-02T00:00Z", None], utc=True),
    }
)


def measured(metric: str, judged: Judged) -> Estimate:
    found = measure(metric, judged, 0.95, 0)
    assert isinstance(found, Estimate), found
    return found


def section(blocks=None, **more):
    words = {"id": (), "group": None, "time": None} | more
    return EvaluateSection(
        name="ward",
        target=Target(column="y", task="binary"),
        split=Split(),
        metrics=Metrics(primary="roc_auc"),
        slices=(),
        gate=Gate(blocks=blocks),
        business=None,
        seed=0,
        **words,
    )


@pytest.mark.parametrize(
    ("asked", "numbers", "by"),
    [
        (section("town"), [0, 1, -1, -1], "town"),
        (section("day", time="when"), [0, 0, 1, -1], "day of when"),
        (section(group="town"), [0, 1, -1, -1], "town"),
        (section("when", group="town", time="when"), [0, 1, 2, -1], "when"),
    ],
)
def test_blocks_are_a_column_a_day_or_the_group(asked, numbers, by):
    found, what = blocks_of(asked, TABLE)
    assert found.tolist() == numbers
    assert what == by


def test_ids_that_repeat_are_blocks_and_those_that_do_not_are_rows():
    assert blocks_of(section(id=("key",)), TABLE) == (None, "")
    twice = pd.concat([TABLE, TABLE.iloc[:1]], ignore_index=True)
    found, what = blocks_of(section(id=("key",)), twice)
    assert found.tolist() == [0, 1, 2, 3, 0]
    assert what == "key"
    assert blocks_of(section(), TABLE) == (None, "")


@pytest.mark.parametrize("asked", [section("gone"), section("day", time="gone")])
def test_a_column_that_is_not_among_the_test_rows_is_refused(asked):
    with pytest.raises(InputError, match=r"'gone', by which gate\.blocks or monitoring\.detectors\.blocks parts rows"):
        blocks_of(asked, TABLE)


def judged(n, blocks, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + truth - 0.5)))
    return Judged(truth, np.column_stack([1 - p, p]), False, blocks)


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"])
def test_every_row_twice_in_a_block_tells_no_more_than_once(metric):
    """Doubling rows must not narrow an interval; without the word of the blocks it does."""
    once = judged(120, None)
    twice = np.repeat(np.arange(120), 2)
    double = Judged(once.truth[twice], once.answers[twice], False, twice)
    blind = Judged(once.truth[twice], once.answers[twice], False)
    one, known, naive = (measured(metric, each) for each in (once, double, blind))
    assert known.value == pytest.approx(one.value)
    assert known.high - known.low > 0.93 * (one.high - one.low)
    assert naive.high - naive.low < 0.8 * (one.high - one.low)


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"])
def test_differences_know_blocks_too(metric):
    twice = np.repeat(np.arange(120), 2)

    def apart(blocks, rows):
        pair = [judged(120, None, seed) for seed in (1, 2)]
        new, old = (Judged(each.truth[rows], each.answers[rows], False, blocks) for each in pair)
        return improvement(metric, new, old, 0.95)

    one, known, naive = apart(None, np.arange(120)), apart(twice, twice), apart(None, twice)
    assert known.value == pytest.approx(one.value)
    assert known.high - known.low > 0.93 * (one.high - one.low)
    assert naive.high - naive.low < 0.8 * (one.high - one.low)


def test_all_right_in_few_blocks_proves_little():
    truth = np.arange(400) % 2
    perfect = Judged(truth, np.eye(2)[truth], False, np.arange(400) // 100)
    found = measured("accuracy", perfect)
    assert found.value == 1
    assert found.low == pytest.approx(0.025 ** (1 / 4))
    assert measured("roc_auc", perfect).low < 0.3


def test_one_block_has_no_interval():
    assert "one block" in undefined("accuracy", judged(50, np.zeros(50, dtype=np.int64)))
