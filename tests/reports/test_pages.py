import os
import re
import subprocess
import sys

import pytest

from kubeloop.decisions import Check, decide
from kubeloop.reports.run_page import run_page, state_of
from kubeloop.reports.runs_page import runs_page
from kubeloop.reports.sections import (
    data_section,
    decision_section,
    deploy_section,
    evaluation_section,
    page,
    split_section,
    train_section,
)
from kubeloop.tracking.record import RunRecord
from tests.reports.reading import HOSTILE, PARTS, Page

KINDS = ["passed", "refused_data", "refused_model", "regression", "failed", "running"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_there_once_and_tags_match(pages, kind):
    found = Page(pages[kind])
    assert [each for each in found.ids if each in PARTS] == PARTS
    assert len(found.ids) == len(set(found.ids))
    assert found.tags.count("h1") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_small_load_nothing_and_run_nothing(pages, kind):
    html = pages[kind]
    found = Page(html)
    assert len(html.encode()) < 500_000
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert not {"script", "iframe", "object", "embed", "form", "img"} & set(found.tags)
    assert not [each for each in found.attributes if each[1].startswith("on")]
    for tag, key, value in found.attributes:
        if key in ("src", "href"):
            assert value.startswith(("#", "data:,")), (tag, value)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_captions_and_scopes_and_pictures_have_words(pages, kind):
    html = pages[kind]
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        assert "<caption" in table
        assert "<th>" not in table
        assert all("scope=" in head for head in re.findall(r"<th [^>]*>", table))
    for svg in re.findall(r"<svg[^>]*>", html):
        assert "aria-" in svg or 'overflow="visible"' in svg or '<svg class="strip">' in svg, svg


def test_links_inside_a_page_lead_somewhere(pages):
    found = Page(pages["passed"])
    targets = {value[1:] for _, key, value in found.attributes if key == "href" and value.startswith("#")}
    assert targets <= set(found.ids)


def test_same_record_same_bytes(runs, site, pages):
    assert run_page(runs["passed"], site) == pages["passed"]
    assert run_page(runs["regression"], site) == pages["regression"]


def test_same_figure_in_another_process_with_another_configuration(tmp_path):
    (tmp_path / "matplotlibrc").write_text("axes.grid: False\nlines.linewidth: 9\nsvg.fonttype: path\nfont.size: 30\n")
    program = "from kubeloop.reports.figures import roc; print(roc([0, .2, 1], [0, .8, 1], .8), end='')"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "MPLCONFIGDIR": folder},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, folder in ((1, str(tmp_path)), (2, os.environ.get("MPLCONFIGDIR", "")))
    }
    assert len(seen) == 1
    assert "<text" in seen.pop()


def test_passed_run_says_what_it_saw_and_where_it_serves(pages):
    words = Page(pages["passed"]).text
    assert "heart passed, and became the champion" in words
    assert "ROC AUC 0.914, interval 0.839 to 0.968, on 61 test rows that the training never saw." in words
    assert "kubeloop serve heart" in words
    assert "0, exactly the same" in words
    assert "First model of this name" in words


def test_refused_run_leads_with_the_reasons_and_what_to_do(pages):
    words = Page(pages["refused_data"]).text
    head = words[: words.index("What went in")]
    assert "heart was refused by the data gate" in head
    assert "211 of 303 rows (69.6%) break trestbps <= 220; at most 5% may." in head
    assert "Its values are those of 'chol' in 100% of the rows: has a column been mixed up?" in head
    assert "If the data is wrong, mend the source." in head
    assert "Nothing was trained, registered or deployed by this run." in head
    assert "Did not run: the gate ended the run before." in words


def test_refused_model_names_failures_before_doubts(pages):
    words = Page(pages["refused_model"]).text
    assert words.index("Worse than the champion") < words.index("Not surely better than a dummy")
    assert "Against the champion b70c4d11e9a2" in words
    told = "ROC AUC is 0.338 worse than the champion's; the interval runs from 0.472 worse to 0.204 worse"
    assert f"{told}: all of it is worse." in words
    assert "The champion stays and still serves." in words


def test_failed_run_shows_problem_fix_and_place_but_not_the_rest_of_the_context(pages):
    words = Page(pages["failed"]).text
    assert "heart failed in train" in words
    assert "got -1" in words
    assert "Mend estimator.parameters, or the data that the message names." in words
    assert "file loop.yaml · line 41" in words
    assert "postgresql" not in pages["failed"]


def test_running_run_invents_nothing(pages):
    words = Page(pages["running"]).text
    assert "heart is running: train" in words
    assert "not finished" in words
    assert "passed, and" not in words


def test_states(runs):
    found = {name: state_of(record) for name, record in runs.items()}
    assert found == {
        "passed": "pass",
        "refused_data": "refused",
        "refused_model": "refused",
        "regression": "pass",
        "failed": "failed",
        "running": "running",
    }
    assert state_of(runs["refused_model"].model_copy(update={"verdict": "inconclusive"})) == "inconclusive"
    assert state_of(runs["passed"].model_copy(update={"verdict": "fail"})) == "refused"
    assert state_of(runs["passed"].model_copy(update={"status": "killed"})) == "killed"


def test_unavailable_champion_tells_what_to_do(runs, site):
    check = Check(name="champion", verdict="inconclusive", reason="the champion cannot be asked: its package is gone")
    judged = runs["passed"].tasks[5].model_copy(update={"decision": decide("model", [check], "unavailable")})
    record = runs["passed"].model_copy(
        update={"status": "refused", "verdict": "inconclusive", "tasks": (*runs["passed"].tasks[:5], judged)}
    )
    words = Page(run_page(record, site)).text
    assert "The model gate could not decide about heart" in words
    assert "Bring the champion's package and the registry back" in words


def test_a_later_record_of_a_task_is_the_one_that_is_shown(runs, site):
    first = runs["passed"].tasks[0]
    again = first.model_copy(update={"facts": {**first.facts, "rows": 424242}})
    record = runs["passed"].model_copy(update={"tasks": (first, again)})
    assert "424,242" in run_page(record, site)


def test_fragments_make_pages_of_their_own(runs):
    tasks = {task.task: task for task in runs["passed"].tasks}
    judged = tasks["evaluate"]
    fragments = [
        data_section(tasks["validate"].facts, tasks["validate"].decision),
        split_section(tasks["split"].facts),
        train_section(tasks["train"].facts),
        evaluation_section(judged.facts, judged.decision),
        decision_section(judged.decision),
        deploy_section(tasks["deploy"].facts),
    ]
    for fragment in fragments:
        html = page(f"One {HOSTILE}", [fragment])
        found = Page(html)
        assert html.startswith("<!doctype html>")
        assert "script" not in found.tags
        assert "says nothing" not in found.text
    assert "Data gate" in fragments[0]
    Page(
        page(
            "Nothing",
            [data_section({}), split_section({}), train_section({}), evaluation_section({}), deploy_section({})],
        )
    )


def test_index_of_runs(runs):
    html = runs_page(list(runs.values()))
    found = Page(html)
    assert "6 runs of 2 models, newest first." in found.text
    assert "1 pass, 2 refused, 1 failed, 1 running" in found.text
    assert "211 of 303 rows (69.6%) break trestbps" in found.text
    assert "http" not in html.replace("http-equiv", "")
    assert "There is no run yet." in Page(runs_page([])).text


def test_light_dark_print_and_narrow_are_in_the_one_style_sheet(pages):
    style = pages["passed"].split("<style>")[1].split("</style>")[0]
    for words in ("prefers-color-scheme: dark", "@media print", "max-width: 36rem", "color-scheme: light dark"):
        assert words in style


def test_evidence_reads_in_the_order_of_an_estimate_whatever_the_record_sorted(runs, site):
    words = Page(run_page(RunRecord.model_validate_json(runs["passed"].model_dump_json()), site)).text
    assert "value 0.914 · low 0.839 · high 0.968 · n 61" in words


def test_confidence_is_named_when_the_record_has_it(runs):
    judged = runs["passed"].tasks[5]
    assert "95% intervals: " in evaluation_section({**judged.facts, "confidence": 0.95}, judged.decision)
    assert "Intervals: " in evaluation_section(judged.facts, judged.decision)


def test_endpoint_with_an_address_gets_a_curl_line(runs, site):
    tasks = [
        task.model_copy(update={"facts": {**task.facts, "url": "http://heart.models.example/"}})
        if task.task == "deploy"
        else task
        for task in runs["passed"].tasks
    ]
    html = run_page(runs["passed"].model_copy(update={"tasks": tuple(tasks)}), site)
    assert "http://heart.models.example/v1/models/heart:predict" in html
    assert 'href="http' not in html


def test_the_split_has_a_picture():
    days = [f"2027-01-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
    part = {"rows": 40, "target": 0.5, "low": 0.4, "high": 0.6}
    facts = {
        "development": 80,
        "test": 20,
        "folds": [40, 40],
        "by": "time",
        "cut": days[1],
        "unit": "day",
        "column": HOSTILE,
        "looked_at": [{"what": "twins", "count": 0, "text": f"0 of 20 {HOSTILE}"}],
        "over_time": {"edges": days, "development": [80, 0], "test": [0, 20]},
        "parts": [part, part, part],
    }
    html = page("Split", [split_section(facts)])
    found = Page(html)
    assert html.count('plot-svg"') == 2
    assert "By time: rows from 2027-01-02 00:00 UTC on are the test, cut between whole days of" in found.text
    assert "script" not in found.tags
    broken = {**facts, "over_time": {"edges": [HOSTILE], "development": [1], "test": [1]}, "parts": [{}]}
    assert "plot-svg" not in split_section(broken)
