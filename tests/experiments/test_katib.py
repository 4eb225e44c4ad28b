"""A search and its Experiment: there and back, and through Katib's own SDK."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kubeloop.errors import InputError
from kubeloop.experiments.katib import from_experiment, to_experiment, with_defaults
from kubeloop.experiments.search import (
    Algorithm,
    Budget,
    Collector,
    Condition,
    MedianStop,
    Objective,
    Parameter,
    Search,
    Template,
    TrialParameter,
)

Experiment = Callable[..., dict[str, Any]]

WHOLE = Search(
    name="whole",
    namespace="team",
    labels={"kubeloop.io/run": "r1"},
    annotations={"note": "kept"},
    parameters=(
        Parameter("kind", "categorical", values=("ridge", "trees")),
        Parameter("alpha", "double", 1e-4, 10.0, log=True, when=Condition("kind", ("ridge",))),
        Parameter("leaves", "int", 7, 63, 8, when=Condition("kind", ("trees",))),
        Parameter("bins", "discrete", values=("31", "63", "255")),
    ),
    objective=Objective("roc_auc", "maximize", 0.95, ("log_loss",), {"roc_auc": "latest", "log_loss": "min"}),
    algorithm=Algorithm("tpe", {"random_state": "7"}),
    budget=Budget(12, 2, 3),
    early=MedianStop(2, 3),
    collector=Collector("File", "/var/log/katib/m.json", "JSON"),
    template=Template(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {
                "template": {"spec": {"containers": [{"name": "trial", "command": ["x", "--a=${trialParameters.a}"]}]}}
            },
        },
        "trial",
        (TrialParameter("a", "alpha", "how stiff"),),
        {"retain": True},
    ),
)


def test_search_goes_there_and_back() -> None:
    back = from_experiment(to_experiment(WHOLE))
    assert back == Search(**{**WHOLE.__dict__, "template": back.template})
    assert back.template.spec == WHOLE.template.spec
    assert back.template.parameters == WHOLE.template.parameters
    assert back.template.more["retain"] is True


def test_experiment_goes_there_and_back(experiment: Experiment) -> None:
    full = with_defaults(experiment())
    again = to_experiment(from_experiment(full))
    assert from_experiment(again) == from_experiment(full)
    assert again["spec"]["trialTemplate"] == full["spec"]["trialTemplate"]
    assert again["spec"]["maxTrialCount"] == full["spec"]["maxTrialCount"]
    assert [p["feasibleSpace"]["min"] for p in again["spec"]["parameters"][:2]] == ["0.01", "0.5"]


def test_katibs_own_sdk_loads_what_we_send_and_gives_it_back_equal() -> None:
    katib = pytest.importorskip("kubeflow.katib", reason="the extra `katib` is not installed")
    from kubernetes.client import ApiClient

    sent = to_experiment(WHOLE)
    client = ApiClient()
    client.deserialize.__globals__["kubernetes"].client.models.__dict__.update(
        {name: getattr(katib, name) for name in dir(katib) if name.startswith("V1beta1")}
    )
    loaded = client.deserialize(SimpleNamespace(data=json.dumps(sent)), katib.V1beta1Experiment)
    assert isinstance(loaded.spec.trial_template, katib.V1beta1TrialTemplate)
    assert loaded.spec.parameters[1].feasible_space.distribution == "logUniform"
    assert client.sanitize_for_serialization(loaded) == sent


def test_inactive_parameters_do_not_matter() -> None:
    drawn = {"kind": "ridge", "alpha": "0.1", "leaves": "31", "bins": "63"}
    assert WHOLE.active(drawn) == {"kind": "ridge", "alpha": "0.1", "bins": "63"}


def test_unbounded_distribution_is_refused_in_words(experiment: Experiment) -> None:
    document = experiment()
    document["spec"]["parameters"][0]["feasibleSpace"]["distribution"] = "logNormal"
    with pytest.raises(InputError, match=r"'lr' has the distribution logNormal.*uniform or logUniform"):
        from_experiment(document)


@pytest.mark.parametrize(
    ("goal", "value", "reached"), [(0.1, 0.1, True), (0.1, 0.11, False), (0.1, 0.05, True), (None, 0.0, False)]
)
def test_goal_of_a_minimum(goal: float | None, value: float, reached: bool) -> None:
    assert Objective("loss", "minimize", goal).reached(value) is reached
