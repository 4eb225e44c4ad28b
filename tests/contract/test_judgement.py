"""The words about judgement: every metric has its task, its direction, its range, its name on a page."""

from typing import get_args

import pytest

from kubeloop.contract.judgement import HIGHER_IS_BETTER, METRICS_OF_TASK, RANGES, MetricName
from kubeloop.contract.model import Contract
from kubeloop.contract.sections import sections_of
from kubeloop.learning.scores import CLASSIFICATION, REGRESSION
from kubeloop.reports import words

METRICS = get_args(MetricName)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_known_everywhere(metric):
    tasks = [task for task, names in METRICS_OF_TASK.items() if metric in names]
    assert tasks in (["regression"], ["binary", "multiclass"])
    assert metric in (REGRESSION if tasks == ["regression"] else CLASSIFICATION)
    assert metric in HIGHER_IS_BETTER
    assert metric in RANGES
    assert words.metric(metric) != metric
    assert words.better(metric)


def test_nothing_else_is_known():
    assert set(CLASSIFICATION) | set(REGRESSION) == set(METRICS) == set(HIGHER_IS_BETTER) == set(RANGES)


def test_a_bound_within_the_metrics_range_is_taken(base, read):
    for name, bound in (("log_loss", "at_most: 0.6"), ("brier", "at_most: 0.2"), ("pr_auc", "at_least: 0.7")):
        text = base.replace("{roc_auc: {at_least: 0.7}}", f"{{{name}: {{{bound}}}}}")
        assert name in read(text).metrics.thresholds


def test_the_words_about_slices_and_blocks_reach_the_evaluation(base, read):
    text = base.replace(
        "where: age > 60}]", "where: age > 60, at_least: 0.6}]\ngate: {blocks: town, worst_slice: {at_least: 0.5}}"
    )
    contract = read(text)
    assert isinstance(contract, Contract)
    section = sections_of(contract).evaluate
    assert section.gate.blocks == "town"
    assert section.gate.worst_slice.at_least == 0.5
    assert section.slices[0].at_least == 0.6
    assert section.id == ("key",)


def test_a_day_of_the_time_column_is_a_block(base, read):
    text = base.replace("  id: [key]", "  id: [key]\n  time: when") + "gate: {blocks: day}\n"
    assert sections_of(read(text)).evaluate.time == "when"
