"""The loop on heart, run after run in one home: first model, nothing new, new data, another champion, both refusals.

The runs build on each other, so each is a module fixture that asks for the one before it; tests only look.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from kubeloop.reports.words import TRAIN
from tests.orphaned import assert_no_orphan

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def first(heart: Path, kubeloop: Any) -> Any:
    return kubeloop("run", "--json", cwd=heart)


@pytest.fixture(scope="module")
def again(heart: Path, first: Any, kubeloop: Any) -> Any:
    return kubeloop("run", "--json", cwd=heart)


@pytest.fixture(scope="module")
def more_data(heart: Path, again: Any, kubeloop: Any) -> Any:
    table = heart / "heart.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, *(line.replace("63,1,1,145", "64,1,1,146") for line in lines[1:9])]) + "\n")
    return kubeloop("run", "--json", cwd=heart)


@pytest.fixture(scope="module")
def other_champion(heart: Path, more_data: Any, kubeloop: Any, edit: Any) -> Any:
    edit(heart / "loop.yaml", "parameters: {", "parameters: {tol: 0.001, ")
    return kubeloop("run", "--json", cwd=heart)


@pytest.fixture(scope="module")
def bad_data(heart: Path, other_champion: Any, kubeloop: Any, edit: Any) -> Any:
    edit(heart / "loop.yaml", "path: heart.csv", "path: heart-mislabelled.csv")
    said = kubeloop("run", "--json", cwd=heart)
    edit(heart / "loop.yaml", "path: heart-mislabelled.csv", "path: heart.csv")
    return said


@pytest.fixture(scope="module")
def bad_model(heart: Path, bad_data: Any, kubeloop: Any, edit: Any) -> Any:
    edit(heart / "loop.yaml", "\nestimator:", "\nfeatures:\n  use: [fbs]\n\nestimator:")
    return kubeloop("run", "--json", cwd=heart)


def test_first_run_goes_all_the_way(first: Any) -> None:
    assert first.code == 0, first.err
    assert first.run["status"] == "done"
    assert set(first.tasks) == set(TRAIN)
    assert all(task["status"] == "done" for task in first.tasks.values())


def test_first_model_is_judged_without_a_champion(first: Any) -> None:
    decision = first.tasks["evaluate"]["decision"]
    assert (decision["verdict"], decision["baseline"]) == ("pass", "none_yet")


def test_deploy_replayed_golden_requests_over_both_protocols(first: Any) -> None:
    text = json.dumps(first.tasks["deploy"]["facts"])
    assert '"v1"' in text
    assert '"v2"' in text


def test_a_second_run_makes_the_same_package_and_skips_no_side_effect(first: Any, again: Any) -> None:
    assert again.code == 0, again.err
    assert set(again.tasks) == set(TRAIN)
    assert again.tasks["register"]["facts"]["digest"] == first.tasks["register"]["facts"]["digest"]
    assert again.tasks["evaluate"]["decision"]["baseline"] == "champion"
    for name in ("ingest", "evaluate", "register", "deploy"):
        assert again.tasks[name]["status"] == "done", f"{name} reads or changes the world, and must run"


def test_what_is_fed_by_an_uncached_task_runs_again(again: Any) -> None:
    # A cache key holds the place of an artifact, and `ingest` looks at the world each time.
    assert {task["status"] for task in again.tasks.values()} == {"done"}


def test_changed_data_makes_nothing_stale(again: Any, more_data: Any) -> None:
    assert more_data.code == 0, more_data.err
    before, after = again.tasks, more_data.tasks
    assert after["ingest"]["facts"]["rows"] == before["ingest"]["facts"]["rows"] + 8
    assert after["ingest"]["facts"]["digest"] != before["ingest"]["facts"]["digest"]
    assert after["register"]["facts"]["digest"] != before["register"]["facts"]["digest"]
    for name in ("validate", "split", "train"):
        assert after[name]["status"] == "done", f"{name} must not come from the cache"


def test_changed_champion_is_what_the_next_run_is_held_against(more_data: Any, other_champion: Any) -> None:
    assert other_champion.code == 0, other_champion.err
    assert other_champion.tasks["evaluate"]["status"] == "done"
    held_against = other_champion.tasks["evaluate"]["facts"]["champion"]["digest"]
    assert held_against == more_data.tasks["register"]["facts"]["digest"]


def test_bad_data_is_refused_before_anything_is_trained(bad_data: Any) -> None:
    assert bad_data.code == 3
    assert bad_data.run["status"] == "refused"
    assert set(bad_data.tasks) == {"ingest", "validate", "refused"}
    problem = bad_data.run["error"]["problem"]
    assert problem.startswith("the data gate said fail:")
    assert "trestbps" in problem


def test_bad_model_is_refused_and_the_champion_stays(
    heart: Path, other_champion: Any, bad_model: Any, kubeloop: Any
) -> None:
    assert bad_model.code == 3
    assert {"register", "deploy"}.isdisjoint(bad_model.tasks)
    assert bad_model.run["error"]["problem"].startswith("the model gate said fail")
    status = json.loads(kubeloop("status", "--json", cwd=heart).out)
    assert status["models"][0]["champion"] == other_champion.tasks["register"]["facts"]["digest"]


def test_every_run_has_its_page(heart: Path, first: Any, bad_data: Any, bad_model: Any) -> None:
    for said in (first, bad_data, bad_model):
        page = heart / ".kubeloop" / "reports" / f"{said.run['run_id']}.html"
        assert said.run["run_id"] in page.read_text(encoding="utf-8")


def test_no_scratch_file_is_left(heart: Path, bad_model: Any) -> None:
    assert list((heart / ".kubeloop" / "work").glob("*/tmp")) == []


def test_no_process_of_the_real_command_is_left(trained: Any) -> None:
    assert_no_orphan(trained.folder / ".kubeloop")


def test_same_input_in_another_folder_and_process_is_the_same_package(trained: Any, first: Any) -> None:
    """That one was made by the real command line, whose tasks were forked from another process than these."""
    assert trained.said.code == 0, trained.said.err
    assert trained.said.tasks["register"]["facts"]["digest"] == first.tasks["register"]["facts"]["digest"]
