"""Records with hostile texts, of another shape, or empty: no page breaks, and none says more than the record."""

import datetime as dt

import pytest

from kubeloop.decisions import Check, decide
from kubeloop.reports.run_page import run_page
from kubeloop.reports.runs_page import runs_page
from kubeloop.reports.words import TRAIN
from kubeloop.tracking.record import RunRecord, TaskRecord
from tests.reports.reading import HOSTILE, PARTS, Page


def hostile(value):
    """The same shape with every text in it hostile, keys too."""
    if isinstance(value, dict):
        return {f"{key}" if key in KEPT else f"{key}{HOSTILE}": hostile(found) for key, found in value.items()}
    if isinstance(value, list):
        return [hostile(found) for found in value]
    return HOSTILE if isinstance(value, str) else value


KEPT = {
    "columns",
    "sources",
    "rules",
    "name",
    "rows",
    "rule",
    "column",
    "broken",
    "share",
    "examples",
    "estimator",
    "parameters",
    "features",
    "excluded",
    "classes",
    "cv",
    "cv_method",
    "warnings",
    "metrics",
    "value",
    "low",
    "high",
    "method",
    "curves",
    "confusion",
    "labels",
    "matrix",
    "slices",
    "champion",
    "difference",
    "digest",
    "address",
    "outcome",
    "protocols",
    "type",
    "url",
    "mean",
    "folds",
    "development",
    "test",
    "by",
    "key",
    "valid",
    "quarantined",
    "warning",
    "undefined",
    "reason",
}


def test_hostile_text_never_becomes_markup(runs, site):
    decision = decide(
        "model", [Check(name=f"threshold:{HOSTILE}", verdict="fail", reason=HOSTILE, evidence={HOSTILE: HOSTILE})]
    )
    error = {"problem": HOSTILE, "fix": HOSTILE, "context": {"file": HOSTILE, "column": HOSTILE}}
    for record in runs.values():
        tasks = [
            task.model_copy(update={"facts": hostile(task.facts), "decision": decision, "error": error})
            for task in record.tasks
        ]
        changed = record.model_copy(
            update={
                "name": HOSTILE,
                "run_id": HOSTILE,
                "tasks": tuple(tasks),
                "error": error,
                "facts": hostile(record.facts),
            }
        )
        for html in (run_page(changed, site), runs_page([changed])):
            found = Page(html)
            assert not {"script", "img"} & set(found.tags)
            assert not [each for each in found.attributes if each[1].startswith("on")]
            assert "&lt;script&gt;" in html


def test_hostile_places_in_links_stay_beside_the_page(runs):
    changed = runs["passed"].model_copy(update={"run_id": "javascript:alert(1)//../../etc"})
    found = Page(runs_page([changed]))
    links = [value for tag, key, value in found.attributes if tag == "a" and key == "href"]
    assert links == ["./javascript%3Aalert%281%29%2F%2F..%2F..%2Fetc.html"]


ODD = [{}, None, [], "text", 7, {"x": None}, [None, {"name": None}], {"roc_auc": "much"}, [[1, 2], "x"]]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", TRAIN)
def test_facts_of_another_shape_count_as_absent(runs, site, name, odd):
    record = runs["passed"]
    facts = next(task.facts for task in record.tasks if task.task == name)
    spoilt = dict.fromkeys(facts, odd)
    if name == "evaluate":
        spoilt = {
            **spoilt,
            "metrics": {"roc_auc": odd},
            "curves": {"roc": odd, "confusion": odd, "calibration": odd, "residuals": odd},
        }
    tasks = tuple(task.model_copy(update={"facts": spoilt}) if task.task == name else task for task in record.tasks)
    Page(run_page(record.model_copy(update={"tasks": tasks}), site))


@pytest.mark.parametrize("status", ["running", "done", "failed", "refused", "killed"])
def test_record_with_nothing_in_it(site, status):
    record = RunRecord(run_id="r", name="n", status=status, started=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    found = Page(run_page(record, site))
    assert [each for each in found.ids if each in PARTS] == PARTS
    assert "No gate has spoken in this run." in found.text
    assert "No task has left a record." in found.text


def test_unknown_tasks_and_gates_are_shown_as_they_are(site):
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    decision = decide("fairness", [])
    odd = TaskRecord(task="explain", status="done", started=at, finished=at, decision=decision)
    record = RunRecord(
        run_id="r", name="n", status="refused", verdict="inconclusive", started=at, finished=at, tasks=(odd,)
    )
    words = Page(run_page(record, site)).text
    assert "The fairness gate could not decide about n" in words
    assert "nothing passes on no evidence" in words.lower()
    assert "explain" in words
    assert "ingest" not in words
