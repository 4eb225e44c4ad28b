import datetime as dt
import json
from typing import Any

import pytest
from click.testing import CliRunner

from kubeloop.cli import diff_, open_
from kubeloop.errors import InputError
from kubeloop.site import laptop
from kubeloop.tracking.record import RunRecord, TaskRecord, write_run, write_task

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def home(tmp_path):
    """Three runs: a good one, one with another parameter and other data, one that was refused before it trained."""
    site = laptop(tmp_path / ".kubeloop")
    for number, (alpha, auc) in enumerate([(1, 0.8), (2, 0.9), (2, None)]):
        run_id = f"heart-2026030{number + 1}-120000-aaa{number}"
        document = {"seed": 7, "estimator": {"kind": "ridge", "parameters": {"alpha": alpha}}}
        facts = {"document": document, "code": {"kubeloop": "0.1.0"}, "libraries": {"numpy": f"1.2{number}"}}
        moment = NOW + dt.timedelta(days=number)
        status = "done" if auc else "refused"
        write_run(
            site, RunRecord(run_id=run_id, name="heart", status=status, started=moment, finished=moment, facts=facts)
        )
        found: dict[str, dict[str, Any]] = {"ingest": {"digest": f"sha256-{str(number) * 64}"}}
        if auc:
            found["evaluate"] = {"metrics": {"roc_auc": {"value": auc, "low": auc - 0.1, "high": auc + 0.05}}}
        for task, said in found.items():
            write_task(site, run_id, TaskRecord(task=task, status="done", started=moment, finished=moment, facts=said))
    return site.home


def said(command, *words):
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_two_runs_side_by_side(home):
    text = said(diff_.command, "aaa0", "20260302", "--home", home)
    assert "A  run heart-20260301-120000-aaa0  (done)" in text
    assert "0.800 (0.700 to 0.850)" in text
    assert "+0.1000" in text
    assert "only a paired gate decides" in text
    lines = " ".join(text.split())
    assert "parameters alpha: 1 -> 2" in lines
    assert "data 000000000000 -> 111111111111" in lines
    assert "contract estimator.parameters.alpha: 1 -> 2" in lines
    assert "code the same" in lines
    assert "libraries numpy: 1.20 -> 1.21" in lines


def test_as_one_document_also_with_a_run_that_was_refused(home):
    found = json.loads(said(diff_.command, "aaa1", "aaa2", "--home", home, "--json"))
    assert found["metrics"]["roc_auc"] == {
        "old": {"value": 0.9, "low": 0.8, "high": 0.9500000000000001},
        "new": None,
        "difference": None,
    }
    assert found["parameters"] == {}
    assert found["libraries"] == {"numpy": ["1.21", "1.22"]}
    assert found["new"]["about"] == "refused"


def test_what_one_side_does_not_know_is_not_called_the_same():
    known = {"kind": "run", "id": "a", "name": "n", "about": "", "metrics": {}, "parameters": {}, "data": "sha256-d"}
    old = known | {"contract": None, "code": {"kubeloop": "1"}, "libraries": {"python": "3.11.7", "numpy": "1"}}
    version = {"kind": "version", "contract": {}, "libraries": {"python": "3.11"}}
    found = diff_.differences(old, old | version)
    assert found["unknown"] == ["contract"]
    assert found["libraries"] == {}, "a package names fewer libraries, and Python without its patch release"


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("heart-2026", "is part of 3 ids", "one of: heart-20260303-120000-aaa2"),
        ("hearts-20260301-120000-aaa0", "is neither", "the nearest is heart-20260301-120000-aaa0"),
        ("aa", "is neither", "NAME@VERSION"),
        ("heart@7", "a registered model was expected", "register one"),
    ],
)
def test_what_names_no_run_or_version(home, text, problem, fix):
    with pytest.raises(InputError, match=problem) as error:
        diff_.side(laptop(home), text)
    assert fix in error.value.fix


def test_open_writes_the_page_of_all_runs_and_those_it_links_to(home):
    text = said(open_.command, "--print", "--home", home)
    assert text.strip().endswith("reports/index.html")
    page = (home / "reports" / "index.html").read_text(encoding="utf-8")
    for number in range(3):
        name = f"heart-2026030{number + 1}-120000-aaa{number}"
        assert f"./{name}.html" in page
        assert name in (home / "reports" / f"{name}.html").read_text(encoding="utf-8")


def test_open_takes_part_of_a_runs_id(home):
    assert said(open_.command, "aaa1", "--print", "--home", home).strip().endswith("heart-20260302-120000-aaa1.html")


def test_open_without_any_run(tmp_path):
    (tmp_path / ".kubeloop").mkdir()
    with pytest.raises(InputError, match="there is none yet"):
        open_.write_index(laptop(tmp_path / ".kubeloop"))


def test_mlflows_own_pages_need_the_whole_mlflow(home, monkeypatch):
    from importlib import metadata

    found = metadata.version

    def version(name):
        if name == "mlflow":
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(InputError, match="UI is not installed") as error:
        open_.serve_mlflow(laptop(home), 5000)
    assert "pip install mlflow==3.17" in error.value.fix
