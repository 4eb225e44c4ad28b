"""How long a predictor takes from the creation of its pod to its first answer; `pytest -s` shows the stages."""

import datetime as dt
import json
import time
from functools import partial

import pytest

from kubeloop.cluster.api import POD, connect
from kubeloop.cluster.inference_service import inference_service
from kubeloop.cluster.serving import serve
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch, publish
from kubeloop.serving.on_cluster import ask
from tests.cluster.conftest import as_account
from tests.cluster.test_goes_wrong import DEADLINE_S, SMALL
from tests.cluster.test_goes_wrong import packages as packages

pytestmark = [pytest.mark.cluster, pytest.mark.bench, pytest.mark.timeout(600)]


def moment(text):
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_from_pod_created_to_first_answer(place, packages):
    digest = publish(place.site, packages[0]).rpartition("/")[2]
    package = read_package(fetch(place.site, digest), digest, place.site)
    body = json.dumps({"instances": [list(package.golden.requests[0])]}).encode()
    with as_account(place.operator):
        operator = connect(place.site)
        serve(operator, inference_service(place.site, "timed", digest, SMALL), DEADLINE_S)
        post = partial(ask, operator, "timed")
        (before,) = operator.list(POD, "serving.kserve.io/inferenceservice=timed")
        place.admin.delete(POD, before["metadata"]["name"])
        end = time.monotonic() + DEADLINE_S
        while True:  # the pod that goes answers no more, or for a moment still
            status, _ = post("/v1/models/timed:predict", body)
            answered = dt.datetime.now(dt.UTC)
            pods = operator.list(POD, "serving.kserve.io/inferenceservice=timed")
            new = [item for item in pods if item["metadata"]["uid"] != before["metadata"]["uid"]]
            ready = new and any(
                item["type"] == "Ready" and item["status"] == "True" for item in new[0]["status"].get("conditions", [])
            )
            if status == 200 and ready:
                break
            assert time.monotonic() < end, "an answer of the new pod was expected"
            time.sleep(0.1)
    conditions = {item["type"]: moment(item["lastTransitionTime"]) for item in new[0]["status"]["conditions"]}
    (running,) = [item for item in new[0]["status"]["containerStatuses"] if item["name"] == "kserve-container"]
    created = moment(new[0]["metadata"]["creationTimestamp"])
    stages = {
        "container started": moment(running["state"]["running"]["startedAt"]),
        "ready": conditions["Ready"],
        "first answer": answered,
    }
    for name, when in stages.items():
        print(f"{name:<18} {(when - created).total_seconds():5.1f} s after the pod was created")
    assert list(stages.values()) == sorted(stages.values())
