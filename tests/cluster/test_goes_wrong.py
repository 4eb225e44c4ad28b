"""What goes wrong on a real KServe, each with the message that a person sees; all as the operator's account."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import yaml

from kubeloop.cluster.api import ISVC, POD, connect
from kubeloop.cluster.inference_service import PACKAGE, inference_service
from kubeloop.cluster.serving import serve
from kubeloop.contract.serving import Replicas, Resources, Serving
from kubeloop.errors import IntegrityError, KubeloopError, PermanentError
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch, publish
from kubeloop.serving.on_cluster import ask, endpoint, settled
from kubeloop.serving.trial import TOLERANCE, replay_over
from tests.cluster.bed import layout
from tests.cluster.conftest import Place, as_account, kubectl, wait_until

_SPEC = importlib.util.spec_from_file_location(
    "kubeloop_test_registry", Path(__file__).parents[1] / "registry" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_REGISTRY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REGISTRY)
packages = _REGISTRY.packages

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SMALL = Serving(resources=Resources(cpu="50m", memory="512Mi"))
DEADLINE_S = 240.0


@pytest.fixture(scope="module")
def digests(place, packages):
    return [publish(place.site, folder).rpartition("/")[2] for folder in packages]


@pytest.fixture
def operator(place):
    with as_account(place.operator):
        yield connect(place.site)


def service(place, name, digest, serving=SMALL, site=None, **cluster):
    base = site or place.site
    made = base.model_copy(update={"cluster": base.cluster.model_copy(update=cluster)})
    return inference_service(made, name, digest, serving)


def refusal(operator, made, deadline_s=DEADLINE_S):
    """What a deployment that must fail says; nothing of it may stay behind."""
    began = time.monotonic()
    with pytest.raises(KubeloopError) as caught:
        serve(operator, made, deadline_s)
    print(f"\n--- {made.metadata.name}, after {time.monotonic() - began:.0f} s:\n{caught.value}")
    assert operator.get(ISVC, made.metadata.name) is None, "a failed first deployment was left behind"
    return str(caught.value)


def test_an_image_that_does_not_exist(place, operator, digests):
    said = refusal(operator, service(place, "no-image", digests[0], image=f"{layout.REGISTRY}/nothing:1"))
    assert f"the image {layout.REGISTRY}/nothing:1 of kserve-container cannot be had" in said
    assert "correct cluster.image in site.yaml" in said


def test_a_container_that_dies_at_once_for_its_package_is_not_there(place, operator):
    said = refusal(operator, service(place, "no-package", "sha256-" + "0" * 64))
    assert "kserve-container ended 2 times, the last time with exit code" in said
    assert "its last lines:" in said
    assert "0" * 64 in said


def test_a_container_that_dies_after_half_a_minute(place, operator, digests):
    image = f"{layout.REGISTRY}/dies-late:1"
    said = refusal(operator, service(place, "dies-late", digests[0], image=image))
    assert "kserve-container ended 2 times, the last time with exit code 7" in said
    assert "the disk is gone" in said


def test_a_package_with_a_flipped_byte(place, operator, packages, digests):
    folder = Path(place.site.objects.mount) / "kubeloop/packages" / digests[2]
    whole = folder / "estimator.skops"
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    whole.write_bytes(bytes(content))
    try:
        with pytest.raises(IntegrityError, match=r"estimator\.skops"):
            fetch(place.site, digests[2])
        said = refusal(operator, service(place, "flipped", digests[2]))
        assert "estimator.skops" in said
    finally:
        shutil.copy(packages[2] / "estimator.skops", whole)


def test_a_claim_that_is_missing(place, operator, digests):
    elsewhere = place.site.model_copy(update={"store": "pvc://nothing/kubeloop"})
    said = refusal(operator, service(place, "no-claim", digests[0], site=elsewhere))
    assert "no node can take its pod:" in said
    assert 'persistentvolumeclaim "nothing" not found' in said


def test_settings_that_are_missing(place, operator, digests):
    said = refusal(operator, service(place, "no-settings", digests[0], settings="elsewhere"))
    assert 'a volume of its pod cannot be mounted: MountVolume.SetUp failed for volume "site"' in said
    assert "by `kubeloop install`" in said


def test_too_little_memory(place, operator, digests):
    made = service(place, "thirsty", digests[0], Serving(resources=Resources(cpu="50m", memory="48Mi")))
    said = refusal(operator, made)
    assert "kserve-container was ended for taking more than its 48Mi of memory" in said
    assert "raise serving.resources.memory" in said


def test_a_quota_that_is_too_small(place, operator, digests):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    quota |= {"spec": {"hard": {"requests.memory": "256Mi"}}}
    kubectl("-n", place.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(quota))
    try:
        said = refusal(operator, service(place, "too-big", digests[0]))
    finally:
        kubectl("-n", place.namespace, "delete", "quota", "small")
    assert "its pods may not be created:" in said
    assert "exceeded quota: small" in said
    assert "quota" in said.partition("fix:")[2]


def test_a_namespace_without_rights(place, operator, digests):
    elsewhere = place.site.model_copy(update={"namespace": "default"})
    api = connect(elsewhere)
    with pytest.raises(
        PermanentError, match="this account may not get inferenceservices in the namespace default"
    ) as e:
        serve(api, service(place, "stranger", digests[0], site=elsewhere), 30)
    assert "`kubeloop install`" in e.value.fix


def test_other_namespaces_secrets_and_verbs_are_denied(place, operator):
    denied = [("get", "", "secrets"), ("list", "", "secrets"), ("get", "", "configmaps"), ("create", "", "pods")]
    denied += [("delete", "", "pods"), ("create", "", "pods/exec"), ("patch", "apps", "statefulsets")]
    denied += [("deletecollection", "serving.kserve.io", "inferenceservices"), ("get", "", "services")]
    denied += [("create", "rbac.authorization.k8s.io", "rolebindings")]
    assert [what for what in denied if operator.may(*what)] == []
    assert operator.may("patch", "serving.kserve.io", "inferenceservices")
    with pytest.raises(PermanentError, match="may not list pods in the namespace kube-system"):
        connect(place.site.model_copy(update={"namespace": "kube-system"})).list(POD)


def test_pod_security_restricted_holds(place):
    container = {"name": "c", "image": "x:1", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root", "namespace": place.namespace}}
    pod |= {"spec": {"containers": [container]}}
    command = ["kubectl", "apply", "--dry-run=server", "-f", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(pod), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted' in done.stderr


def test_a_bad_update_leaves_the_old_pod_serving_and_going_back_takes_no_restart(place, operator, digests):
    good = service(place, "steady", digests[0])
    assert serve(operator, good, DEADLINE_S).changed
    package = read_package(fetch(place.site, digests[0]), digests[0], place.site)
    ours = partial(operator.list, POD, "serving.kserve.io/inferenceservice=steady")
    pods = {item["metadata"]["uid"] for item in ours()}
    with pytest.raises(PermanentError, match="cannot be had"):
        serve(operator, service(place, "steady", digests[1], image=f"{layout.REGISTRY}/nothing:1"), DEADLINE_S)
    assert settled(partial(ask, operator, "steady"), "steady", package.manifest) <= TOLERANCE
    back = serve(operator, good, DEADLINE_S)
    print(f"\nback after {back.seconds} s")
    assert pods <= {item["metadata"]["uid"] for item in ours()}
    again = serve(operator, good, DEADLINE_S)
    assert (again.changed, again.previous) == (False, digests[0])


def test_two_deployments_at_once_leave_one_and_tell_the_other(place, operator, digests):
    made = [service(place, "raced", digest) for digest in digests[:2]]

    def attempt(one):
        try:
            serve(operator, one, DEADLINE_S)
        except KubeloopError as error:
            return error.problem
        return "served"

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(attempt, made))
    live = operator.get(ISVC, "raced")
    winner = live["spec"]["predictor"]["annotations"][PACKAGE]
    assert told[digests.index(winner)] == "served"
    assert (
        "another deployment has taken its place meanwhile" in told[1 - digests.index(winner)] or told == ["served"] * 2
    )


def test_a_cancelled_first_deployment_leaves_nothing(place, operator, digests):
    made = service(place, "cancelled", digests[0])

    def interrupt():
        wait_until(lambda: place.admin.get(ISVC, "cancelled"), "the InferenceService", 60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        serve(operator, made, DEADLINE_S)
    assert operator.get(ISVC, "cancelled") is None
    wait_until(lambda: not operator.list(POD, "serving.kserve.io/inferenceservice=cancelled"), "no pod", 300)


def test_a_controller_that_is_down(place, operator, digests):
    scale = ("-n", "kserve", "scale", "deploy/kserve-controller-manager")
    kubectl(*scale, "--replicas=0")
    gone = partial(kubectl, "-n", "kserve", "get", "pods", "-o", "name")
    try:
        wait_until(lambda: not gone().strip(), "the controller's end", 90)
        with pytest.raises(PermanentError, match="KServe's webhook does not answer, so nothing was changed") as caught:
            serve(operator, service(place, "nobody", digests[0]), 30)
        assert "kubectl -n kserve get pods" in caught.value.fix
    finally:
        kubectl(*scale, "--replicas=1")
        kubectl("-n", "kserve", "rollout", "status", "deploy/kserve-controller-manager", "--timeout=110s")
        probe = service(place, "probe", digests[0])
        # It is ready a moment before its webhook answers; the API client asks again until it does.
        operator.apply(ISVC, probe.document(), dry_run=True)


def test_an_api_server_that_restarts_in_the_middle(place, operator, digests):
    if not layout.AUDIT_LOG.exists():
        pytest.skip("NO BED: only its API server may be restarted by a test")
    restart = [sys.executable, "-c", "from tests.cluster.bed.node import restart_api_server as r; print(r())"]
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve, operator, service(place, "patient", digests[0]), DEADLINE_S)
        wait_until(lambda: place.admin.get(ISVC, "patient"), "the InferenceService", 60)
        subprocess.run(restart, check=True, cwd=Path(__file__).parents[2], timeout=180)
        assert serving.result().changed


def test_no_request_fails_when_one_of_two_pods_is_deleted(place, operator, digests):
    two = SMALL.model_copy(update={"replicas": Replicas(minimum=2, maximum=2)})
    serve(operator, service(place, "pair", digests[0], two), DEADLINE_S)
    victim = operator.list(POD, "serving.kserve.io/inferenceservice=pair")[0]["metadata"]["name"]
    package = read_package(fetch(place.site, digests[0]), digests[0], place.site)
    settled(partial(ask, operator, "pair"), "pair", package.manifest)
    kubectl("-n", place.namespace, "delete", "pod", victim, "--wait=false")
    for _ in range(8):
        assert replay_over(partial(ask, operator, "pair"), "pair", package.manifest) <= TOLERANCE


def test_the_component_refuses_before_it_asks_the_cluster(place, operator):
    """An endpoint for a package that is altered in the store never gets as far as the API."""
    with pytest.raises(KubeloopError):
        endpoint(place.site, "never")(Path(place.site.objects.mount) / "kubeloop/packages" / ("sha256-" + "1" * 64))
    assert operator.get(ISVC, "never") is None


__all__ = ["Place", "packages"]
