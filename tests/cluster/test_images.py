"""Each component's compiled command in the image that it is compiled for: user 1000, a read-only root, no token."""

import json

import pytest
import yaml

from kubeloop.cluster.api import POD
from kubeloop.cluster.manifest import SecurityContext
from kubeloop.pipelines.compile import compiled_path
from tests.cluster.bed import layout
from tests.cluster.conftest import kubectl, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PIPELINE = f"{layout.REGISTRY}/pipeline:0.1.0"
_, *TRAIN = [None, *yaml.safe_load_all(compiled_path("train").read_text(encoding="utf-8"))]
EXECUTORS = TRAIN[0]["deploymentSpec"]["executors"]
COMPONENTS = {
    name.removeprefix("comp-"): definition
    for name, definition in TRAIN[0]["components"].items()
    if "executorLabel" in definition
}


def told(definition):
    """What KFP's launcher tells an executor: sections without a word in them, artifacts that are not there."""

    def artifacts(part):
        return {
            name: {"artifacts": [{"name": name, "type": found["artifactType"], "uri": f"/tmp/{name}", "metadata": {}}]}
            for name, found in definition.get(part, {}).get("artifacts", {}).items()
        }

    made = definition.get("outputDefinitions", {}).get("parameters", {})
    return {
        "inputs": {
            "parameterValues": dict.fromkeys(definition.get("inputDefinitions", {}).get("parameters", {}), "{}"),
            "artifacts": artifacts("inputDefinitions"),
        },
        "outputs": {
            "artifacts": artifacts("outputDefinitions"),
            "parameters": {name: {"outputFile": f"/tmp/outputs/{name}"} for name in made},
            "outputFile": "/tmp/outputs/executor_output.json",
        },
    }


def container(name):
    """A component's container: command and arguments as compiled; what KFP rewrites is rewritten, no more."""
    compiled = EXECUTORS[COMPONENTS[name]["executorLabel"]]["container"]
    arguments = [json.dumps(told(COMPONENTS[name])) if item == "{{$}}" else item for item in compiled["args"]]
    return {
        "name": name,
        "image": PIPELINE,
        "command": compiled["command"],
        # Kubernetes reads $(NAME) in arguments, as it does under KFP.
        "args": arguments,
        "env": compiled.get("env", []),
        "securityContext": SecurityContext().model_dump(by_alias=True),
        "volumeMounts": [{"name": name, "mountPath": "/tmp"}],
    }


@pytest.fixture(scope="module")
def said(place):
    """The pod's containers, ended: exit code and log of each component."""
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container(name) for name in COMPONENTS],
        "volumes": [{"name": name, "emptyDir": {}} for name in COMPONENTS],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "components"}, "spec": spec}
    kubectl("-n", place.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(pod))

    def ended():
        found = place.admin.get(POD, "components")["status"].get("containerStatuses", [])
        return found if found and all("terminated" in item["state"] for item in found) else None

    wait_until(ended, "the end of every component", 600)
    return {
        item["name"]: (item["state"]["terminated"]["exitCode"], place.admin.log("components", item["name"], 200))
        for item in ended()
    }


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_compiled_command_starts_and_reaches_our_own_refusal(said, name):
    """All that the component imports is there, and its version is the compiled one: it gets as far as its input."""
    code, log = said[name]
    assert code == 1
    assert "kubeloop.errors." in log, log
    assert "fix: " in log
    assert "ModuleNotFoundError" not in log
    assert "Read-only file system" not in log
    assert ("a decision was expected in" if name.startswith(("refused", "register")) else "Field required") in log
