"""KPIs, slices, the worst slice, readings and blocks on the evaluation page."""

from kubeloop.decisions import Check, decide
from kubeloop.reports.sections import evaluation_section

ESTIMATE = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 200, "method": "made up"}
FACTS = {
    "rows": 200,
    "primary": "roc_auc",
    "confidence": 0.95,
    "metrics": {"roc_auc": ESTIMATE, "calibration_error": {**ESTIMATE, "value": 0.02, "low": 0.0, "high": 0.06}},
    "readings": 3,
    "blocks": {"by": "day of hour", "count": 31},
    "kpis": [
        {"name": "cost", "expression": "abs(prediction - label)", "owner": "ops", "sla": "cheap", "at_most": 25_000.0}
        | {"at_least": None, "value": 23_400.0, "low": 22_000.0, "high": 24_800.0, "reason": ""},
        {"name": "odd", "expression": "f1", "owner": "ops", "value": None, "reason": "f1 has no value: <b>"},
    ],
    "slices": [
        {"name": "old", "metric": "roc_auc", **ESTIMATE, "at_least": 0.6, "warning": ""},
        {"name": "young", "metric": "roc_auc", **ESTIMATE, "value": 0.75, "warning": ""},
    ],
    "worst_slice": "young",
    "curves": {"calibration": [{"predicted": 0.2, "observed": 0.3, "count": 9}]},
}
DECISION = decide(
    "model",
    [
        Check(name="kpi:cost", verdict="pass", reason="cheap enough"),
        Check(name="slice:old", verdict="pass", reason="good enough"),
        Check(name="worst_slice", verdict="inconclusive", reason="the slice young has too few rows"),
    ],
)


def test_all_of_it_is_on_the_page():
    html = str(evaluation_section(FACTS, DECISION))
    for words in (
        "What the business watches</b>, with 95% intervals",
        "22,000 to 24,800",
        "at most 25,000",
        "serves cheap; answered for by ops",
        "no value: f1 has no value: &lt;b&gt;",
        "read by 3 runs, this one included",
        "Rows with the same day of hour depend on each other: intervals count 31 blocks, not rows.",
        "ROC AUC, the worst slice",
        "at least 0.6",
        "The slice young has too few rows.",
        "Error 0.020 (0 to 0.060).",
    ):
        assert words in html.replace("0.000 to", "0 to"), words


def test_a_record_without_them_has_none_of_it():
    html = str(evaluation_section({"rows": 200, "metrics": {"roc_auc": ESTIMATE}}))
    for words in ("business watches", "read by", "depend on each other", "worst slice"):
        assert words not in html


def test_many_ways_to_make_an_interval_go_to_a_table_of_their_own():
    names = ("roc_auc", "accuracy", "log_loss", "brier")
    metrics = {name: {**ESTIMATE, "method": f"way {name}"} for name in names}
    html = str(evaluation_section({"metrics": metrics, "confidence": 0.9}))
    assert "How the intervals were made" in html
    assert "with 90% intervals" in html
