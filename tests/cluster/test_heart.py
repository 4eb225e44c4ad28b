"""heart on a real KServe: from `kubeloop run` to equal answers, and back again, with nothing but the Role's verbs."""

import http.client
import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest

from kubeloop.cluster.api import DEPLOYMENT, ISVC, POD, connect
from kubeloop.ledger import entries
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import champion
from kubeloop.serving import process
from kubeloop.serving.on_cluster import ask, settled
from kubeloop.serving.trial import TOLERANCE
from kubeloop.store import open_engine
from tests.cluster.bed import layout
from tests.cluster.conftest import as_account, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

ALLOWED = {
    ("get", "inferenceservices"),
    ("create", "inferenceservices"),
    ("patch", "inferenceservices"),
    ("delete", "inferenceservices"),
    ("list", "deployments"),
    ("list", "replicasets"),
    ("list", "pods"),
    ("list", "events"),
    ("get", "pods/log"),
    ("create", "services/proxy"),
}


def kubeloop(place, *words, check=True):
    """The command line, as the operator's account alone."""
    environment = {**os.environ, "KUBECONFIG": str(place.operator)}
    command = [sys.executable, "-m", "kubeloop.cli.main", *words, "--home", str(place.home), "--site", "cluster"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, env=environment)
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)


def over_the_wire(package, name, post):
    """The bodies of every golden request's answer, over V1 and V2."""
    names = [feature.name for feature in package.manifest.features]
    bodies = []
    for request in package.golden.requests:
        for rows in ([list(request)], [dict(zip(names, request, strict=True))]):
            status, body = post(f"/v1/models/{name}:predict", json.dumps({"instances": rows}).encode())
            assert status == 200, body
            bodies.append(json.loads(body))
    tensors = [
        {"name": feature.name, "shape": [1], "datatype": "BYTES" if feature.kind == "category" else "FP64"}
        for feature in package.manifest.features
    ]
    request = package.golden.requests[0]
    inputs = [{**tensor, "data": [value]} for tensor, value in zip(tensors, request, strict=True)]
    status, body = post(f"/v2/models/{name}/infer", json.dumps({"inputs": inputs, "id": "one"}).encode())
    assert status == 200, body
    return [*bodies, json.loads(body)]


def local_answers(package, name, folder):
    """The same requests to a predictor on this machine."""
    running = process.start(package.folder, name, folder / "predictor.log", folder, None)
    try:
        process.wait_ready(running)

        def post(path, body):
            connection = http.client.HTTPConnection(process.HOST, running.port, timeout=30)
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

        return over_the_wire(package, name, post)
    finally:
        process.stop(running)


@pytest.fixture(scope="module")
def loop(place, root):
    """A copy of the heart example."""
    folder = place.home.parent
    shutil.copy(root / "examples/heart/heart.csv", folder / "heart.csv")
    text = (root / "examples/heart/loop.yaml").read_text(encoding="utf-8")
    # Two of them, each with KServe's agent, have to fit into a node of two CPUs while one takes the other's place.
    less = text.replace("resources: {cpu: 500m,", "resources: {cpu: 100m,")
    assert less != text
    (folder / "loop.yaml").write_text(less, encoding="utf-8")
    return folder / "loop.yaml"


def package_of(place, digest):
    return read_package(fetch(place.site, digest), digest, place.site)


def test_from_run_to_equal_answers_and_back(place, loop, tmp_path):
    first = kubeloop(place, "run", str(loop))["run"]
    assert (first["status"], first["verdict"], first["facts"]["mirror"]) == ("done", "pass", "done")
    deployed = first["tasks"][-1]["facts"]
    assert deployed["protocols"] == ["v1", "v2"]
    assert deployed["max_difference"] <= TOLERANCE
    one = deployed["digest"]
    with as_account(place.operator):
        post = partial(ask, connect(place.site), "heart")
        answers = over_the_wire(package_of(place, one), "heart", post)
        assert answers == local_answers(package_of(place, one), "heart", tmp_path)

        loop.write_text(loop.read_text(encoding="utf-8").replace("{C: 0.1}", "{C: 0.2}"), encoding="utf-8")
        second = kubeloop(place, "run", str(loop))["run"]
        assert second["status"] == "done", second["error"]
        two = second["tasks"][-1]["facts"]["digest"]
        assert two != one
        changed = over_the_wire(package_of(place, two), "heart", post)
        assert changed == local_answers(package_of(place, two), "heart", tmp_path)
        assert changed != answers

        back = kubeloop(place, "rollback", "heart")
        assert (back["digest"], back["previous"], back["outcome"]) == (one, two, "rolled back")
        assert over_the_wire(package_of(place, one), "heart", post) == answers
    engine = open_engine(place.site)
    assert champion(engine, place.namespace, "heart").digest == one
    kinds = [entry.kind for entry in entries(engine, place.namespace) if entry.kind.startswith(("promotion", "roll"))]
    assert kinds == ["promotion.intent", "promotion", "promotion.intent", "promotion", "rollback"]


def staying(place):
    """The pods that are not about to end: one with an agent takes half a minute for it."""
    return {item["metadata"]["uid"] for item in place.admin.list(POD) if "deletionTimestamp" not in item["metadata"]}


def test_the_same_version_again_changes_nothing(place):
    digest = champion(open_engine(place.site), place.namespace, "heart").digest
    before = place.admin.get(ISVC, "heart")["metadata"]["resourceVersion"]
    pods = staying(place)
    facts = kubeloop(place, "promote", f"heart@{digest}")
    assert facts["outcome"] == "already champion"
    again = kubeloop(place, "reconcile", "heart", "--force")["models"][0]
    assert again["champion"] == digest
    assert place.admin.get(ISVC, "heart")["metadata"]["resourceVersion"] == before
    assert staying(place) == pods


def test_a_change_by_hand_is_reported_and_taken_back_only_when_asked(place):
    from tests.cluster.conftest import kubectl

    patch = json.dumps({"spec": {"predictor": {"maxReplicas": 7}}})
    kubectl("-n", place.namespace, "patch", "isvc", "heart", "--type=merge", "-p", patch)
    versions = kubeloop(place, "reconcile", "heart")["models"][0]
    assert versions["actions"] == []
    other = next(
        entry.body["previous"]
        for entry in entries(open_engine(place.site), place.namespace)
        if entry.kind == "rollback"
    )
    refused = kubeloop(place, "promote", f"heart@{other}", check=False)
    assert "spec.predictor.maxReplicas is 7" in refused["error"]["problem"]
    assert "kubeloop reconcile --force" in refused["error"]["fix"]
    kubeloop(place, "reconcile", "heart", "--force")
    assert place.admin.get(ISVC, "heart")["spec"]["predictor"]["maxReplicas"] == 3


def test_a_killed_pod_comes_back_with_the_same_answers(place):
    digest = champion(open_engine(place.site), place.namespace, "heart").digest
    with as_account(place.operator):
        post = partial(ask, connect(place.site), "heart")
        before = over_the_wire(package_of(place, digest), "heart", post)
        (victim,) = [item for item in place.admin.list(POD) if "deletionTimestamp" not in item["metadata"]]
        place.admin.delete(POD, victim["metadata"]["name"])

        def back():
            found = place.admin.list(DEPLOYMENT)[0]
            pods = {item["metadata"]["uid"] for item in place.admin.list(POD)}
            return victim["metadata"]["uid"] not in pods and found["status"].get("availableReplicas") == 1

        wait_until(back, "another pod in its place", 300)
        settled(post, "heart", package_of(place, digest).manifest, 60)
        assert over_the_wire(package_of(place, digest), "heart", post) == before


def used_by(user):
    """Verbs and resources that an account asked for, and those that it was denied, by the API server's audit log."""
    used, denied = set(), []
    with layout.AUDIT_LOG.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["user"].get("username") != user or "objectRef" not in event:
                continue
            what = event["objectRef"]
            resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            used.add((event["verb"], resource))
            if event.get("responseStatus", {}).get("code") == 403:
                denied.append((event["verb"], resource))
    return used, denied


def test_nothing_but_the_roles_verbs_was_used(place):
    if not layout.AUDIT_LOG.exists():
        pytest.skip("NO AUDIT LOG: only the bed writes one where this test can read it")
    used, denied = used_by(f"system:serviceaccount:{place.namespace}:kubeloop-operator")
    assert used <= ALLOWED
    assert used >= {("patch", "inferenceservices"), ("list", "deployments"), ("create", "services/proxy")}
    assert denied == []
