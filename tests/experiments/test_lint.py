"""Every rule of the lint: a file that passes, and one that is caught."""

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.errors import InputError
from kubeloop.experiments import lint_algorithm, lint_spec
from kubeloop.experiments.lint import lint, refuse

Experiment = Callable[..., dict[str, Any]]
HERE = Path(__file__).parent
BROKEN: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "broken.yaml").read_text())
GOOD: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "good.yaml").read_text())


def changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for path, value in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        node: Any = document
        for part in way:
            node = node[part]
        if value is None:
            del node[last]
        elif isinstance(node, list) and last == len(node):
            node.append(value)
        else:
            node[last] = copy.deepcopy(value)
    return document


def test_base_has_no_finding(experiment: Experiment) -> None:
    assert lint(experiment()) == []


@pytest.mark.parametrize("name", GOOD)
def test_good_experiments_have_no_error(experiment: Experiment, name: str) -> None:
    assert [str(finding) for finding in lint(changed(experiment(), GOOD[name])) if finding.level == "error"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_breach_is_caught_at_its_place(experiment: Experiment, name: str) -> None:
    breach = BROKEN[name]
    document = changed(changed(experiment(), GOOD.get(breach.get("base"), {})), breach["set"])
    found = [each for each in lint(document) if (each.rule, each.path) == (breach.get("rule", name), breach["path"])]
    assert found, [str(finding) for finding in lint(document)]
    assert breach["said"] in found[0].message
    assert found[0].level == breach.get("level", "error")
    assert found[0].mend


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_near_the_breach_and_right_passes(experiment: Experiment, name: str) -> None:
    breach = BROKEN[name]
    base = changed(experiment(), GOOD.get(breach.get("base"), {}))
    document = changed(copy.deepcopy(base), breach.get("passes", {}))
    assert document != changed(base, breach["set"])
    assert [str(each) for each in lint(document) if each.rule == breach.get("rule", name)] == []


def rules() -> set[str]:
    """Every rule that there is: the first word of each Finding, which is always a literal."""
    found: set[str] = set()
    for file in Path(lint_spec.__file__).parent.glob("lint*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "advice":
                node.body = []  # it hands its own argument on
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "advice"):
                assert node.args, f"{file.name}:{node.lineno}: the rule goes first"
                assert isinstance(node.args[0], ast.Constant), f"{file.name}:{node.lineno}: a literal is a rule's name"
                found.add(str(node.args[0].value))
    return found


def test_every_rule_has_a_file_that_breaks_it() -> None:
    assert rules() == {breach.get("rule", name) for name, breach in BROKEN.items()}
    assert set(lint_algorithm.SETTINGS) == set(lint_spec.ALGORITHMS)


def test_all_findings_come_at_once_errors_first(experiment: Experiment) -> None:
    changes = {
        name: BROKEN[name]["set"] for name in ("name", "count-trials", "bounds", "limit-failures", "job-retries")
    }
    document = experiment()
    for change in changes.values():
        changed(document, change)
    found = lint(document)
    assert set(changes) <= {finding.rule for finding in found}
    levels = [finding.level for finding in found]
    assert levels == sorted(levels, key=lambda level: level != "error")
    with pytest.raises(InputError, match=r"x.yaml: metadata.name: .* \(and 3 more\)") as caught:
        refuse(found, "x.yaml")
    assert len(caught.value.context["findings"]) == 4


def test_a_file_of_something_else_is_said_in_words() -> None:
    assert [str(finding) for finding in lint({"kubeloop": 1, "name": "heart"})] == [
        "apiVersion: kubeflow.org/v1beta1 Experiment was expected, got neither apiVersion nor kind [kind]",
        "metadata and spec were expected [shape]",
    ]
    assert [str(finding) for finding in lint(["heart"])] == ['an Experiment was expected, got ["heart"] [shape]']


@pytest.mark.parametrize("document", [None, [], "text", {"apiVersion": "v1"}, {"metadata": 3, "spec": {}}])
def test_what_is_no_experiment_is_a_finding(document: Any) -> None:
    assert {finding.level for finding in lint(document)} == {"error"}
