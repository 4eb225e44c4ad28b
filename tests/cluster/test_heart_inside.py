"""heart run by a pod: PostgreSQL, a store in S3, the account of `deploy` alone; and its answers, asked from outside."""

import json
from functools import partial
from pathlib import Path

import pytest
import yaml

from kubeloop.cluster.api import ISVC, POD, connect
from kubeloop.cluster.manifest import SecurityContext
from kubeloop.ledger import entries
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import champion
from kubeloop.serving.on_cluster import ask
from kubeloop.serving.trial import TOLERANCE
from kubeloop.store import open_engine
from tests.cluster.conftest import SECRETS, as_account, kubectl, secrets_here, shared_site, wait_until
from tests.cluster.test_heart import ALLOWED, local_answers, over_the_wire, used_by
from tests.cluster.test_images import PIPELINE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

EXAMPLE = Path(__file__).parents[2] / "examples/heart"
RUN = """
mkdir -p /tmp/home/sites
cp -rL /etc/kubeloop/site /tmp/home/sites/inside
cp -L /example/* /tmp/
cd /tmp
kubeloop run loop.yaml --home home --site inside --json >out 2>err || { cat err out; exit 1; }
cat out
"""


@pytest.fixture(scope="module")
def inside(place):
    """The Site as pods of the namespace know it, its ConfigMap and its Secret there."""
    site = shared_site(place, "inside", Path("/tmp/home"))
    files = {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in ("loop.yaml", "heart.csv")}
    example = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "example"}, "data": files}
    kubectl("-n", place.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(example))
    return site


def job(site):
    """A pod as KFP makes one for a task: the component's account, the Site's ConfigMap and Secret mounted."""
    container = {
        "name": "run",
        "image": PIPELINE,
        "command": ["sh", "-ec", RUN],
        "securityContext": SecurityContext().model_dump(by_alias=True),
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "site", "mountPath": "/etc/kubeloop/site"},
            {"name": "secret", "mountPath": "/etc/kubeloop/secret"},
            {"name": "example", "mountPath": "/example"},
        ],
    }
    volumes = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "site", "configMap": {"name": "inside"}},
        {"name": "secret", "secret": {"secretName": "inside"}},
        {"name": "example", "configMap": {"name": "example"}},
    ]
    spec = {"restartPolicy": "Never", "serviceAccountName": "kubeloop-deploy", "enableServiceLinks": False}
    spec |= {"containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "run", "namespace": site.namespace}, "spec": spec}


def test_a_pod_runs_the_loop_and_serves_what_it_made(place, inside, tmp_path):
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(job(inside)))

    def phase():
        return place.admin.get(POD, "run")["status"].get("phase")

    wait_until(lambda: phase() in ("Succeeded", "Failed"), "the end of the run", 1200)
    told = kubectl("-n", place.namespace, "logs", "run")
    assert phase() == "Succeeded", told[-4000:]
    run = json.loads(told)["run"]
    assert (run["status"], run["verdict"]) == ("done", "pass")
    facts = run["tasks"][-1]["facts"]
    assert facts["max_difference"] <= TOLERANCE
    assert SECRETS["s3-secret"] not in told
    here = inside.model_copy(update={"home": tmp_path / "home"})
    with secrets_here():
        package = read_package(fetch(here, facts["digest"]), facts["digest"], here)
    with as_account(place.operator):
        served = over_the_wire(package, "heart", partial(ask, connect(place.site), "heart"))
    assert served == local_answers(package, "heart", tmp_path)


def test_the_records_are_in_postgresql_and_the_credential_with_the_fetching_container_alone(place, inside):
    engine = open_engine(inside)
    assert champion(engine, place.namespace, "heart") is not None
    kinds = [entry.kind for entry in entries(engine, place.namespace)]
    assert "promotion" in kinds
    predictor = place.admin.get(ISVC, "heart")["spec"]["predictor"]
    (fetching,) = predictor["initContainers"]
    assert {item["name"] for item in fetching["env"]} == {"KUBELOOP_SECRET_S3_KEY", "KUBELOOP_SECRET_S3_SECRET"}
    (pod,) = place.admin.list(POD, "serving.kserve.io/inferenceservice=heart")
    (serving,) = [item for item in pod["spec"]["containers"] if item["name"] == "kserve-container"]
    assert "secretKeyRef" not in json.dumps(serving)
    assert not [volume for volume in pod["spec"]["volumes"] if "secret" in volume]


def test_the_pod_used_nothing_but_the_verbs_of_deploy(place):
    used, denied = used_by(f"system:serviceaccount:{place.namespace}:kubeloop-deploy")
    assert used <= ALLOWED - {("create", "services/proxy")}
    assert ("patch", "inferenceservices") in used
    assert denied == []
