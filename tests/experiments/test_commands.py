"""`kubeloop tune`: what a person types and sees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from kubeloop.cli.tune_ import command
from kubeloop.data.tables import read_frame
from kubeloop.errors import InputError

Experiment = Callable[..., dict[str, Any]]


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], Path]:
    def write(document: Any) -> Path:
        path = tmp_path / "e.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def test_lint_of_a_right_file(file: Callable[[Any], Path], experiment: Experiment) -> None:
    done = call("lint", file(experiment()))
    assert done.exit_code == 0
    assert done.output.endswith("e.yaml is right\n")


def test_lint_exits_with_2_for_errors_alone(file: Callable[[Any], Path], experiment: Experiment) -> None:
    advised = call("lint", file(experiment(maxFailedTrialCount=None)))
    assert advised.exit_code == 0
    assert "[limit-failures]" in advised.output
    assert "1 piece of advice" in advised.output
    broken = call("lint", file(experiment(parallelTrialCount=0, maxFailedTrialCount=None)))
    assert broken.exit_code == 2
    assert "1 error, 1 piece of advice" in broken.output
    assert "mend: write 1 or more" in broken.output


def test_lint_as_json(file: Callable[[Any], Path], experiment: Experiment) -> None:
    found = json.loads(call("lint", file(experiment(parallelTrialCount=0)), "--json").output)
    assert found["errors"] == 1
    assert found["findings"][0]["path"] == "spec.parallelTrialCount"


def test_run_shows_the_best_and_writes_table_and_report(
    file: Callable[[Any], Path], experiment: Experiment, tmp_path: Path
) -> None:
    path = file(experiment(maxTrialCount=9, algorithm={"algorithmName": "random"}))
    done = call("run", path, "--out", tmp_path / "out", "--seed", "3")
    assert done.exit_code == 0, done.output
    assert done.output.count("Succeeded") == 9
    assert "all 9 trials were run" in done.output
    table = read_frame(tmp_path / "out" / "trials")
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    assert best["value"] == table["value"].min()
    page = (tmp_path / "out" / "report.html").read_text()
    for word in ("Optimisation history", "Parallel coordinates", "Parameter importance", "Quality against seconds"):
        assert word in page
    again = json.loads(call("run", path, "--out", tmp_path / "out", "--seed", "3", "--json").stdout)
    assert again["best"] == best


def test_run_sends_nothing_for_a_broken_file(
    file: Callable[[Any], Path], experiment: Experiment, tmp_path: Path
) -> None:
    done = call("run", file(experiment(maxFailedTrialCount=-1, parallelTrialCount=0)), "--out", tmp_path / "out")
    assert isinstance(done.exception, InputError)
    assert "(and 1 more)" in done.exception.problem
    assert "[count-failed]" in done.stderr
    assert "[count-parallel]" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "YAML was expected"), ("a: 1\n---\nb: 2\n", "one document was expected, got 2")]
)
def test_what_is_no_single_document_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    done = call("lint", path)
    assert isinstance(done.exception, InputError)
    assert said in done.exception.problem


def test_networks_are_refused_in_words(file: Callable[[Any], Path], experiment: Experiment) -> None:
    document = experiment(algorithm={"algorithmName": "darts"}, nasConfig={})
    spec = document["spec"]
    del spec["parameters"]
    spec["nasConfig"] = {"graphConfig": {"numLayers": 3}, "operations": [{"operationType": "skip_connection"}]}
    for each, reference in zip(spec["trialTemplate"]["trialParameters"], "abcd", strict=True):
        each["reference"] = reference
    done = call("run", file(document))
    assert isinstance(done.exception, InputError)
    assert "darts does not run on this machine: it searches networks" in done.exception.problem
