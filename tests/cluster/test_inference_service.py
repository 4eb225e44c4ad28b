"""The InferenceService that we send, and the lint that holds it back."""

import pytest

from kubeloop.cluster import lint
from kubeloop.cluster.inference_service import CONTAINER, PACKAGE, REVISION, inference_service
from kubeloop.cluster.manifest import VERSION
from kubeloop.contract.serving import Autoscaling, Replicas, Resources, Serving
from kubeloop.errors import InputError
from kubeloop.site.model import Cluster, ObjectStore, Site

DIGEST = "sha256-" + "a" * 64


def site(**cluster):
    return Site(
        store="pvc://models/kubeloop",
        objects=ObjectStore(mount="/mnt/models"),
        sql="sqlite://",
        tracking="sqlite://",
        namespace="team-a",
        cluster=Cluster(**{"image": "reg/predictor:1.0", "logger": "http://sink/events"} | cluster),
    )


def service(serving=None, name="heart", **cluster):
    return inference_service(site(**cluster), name, DIGEST, serving or Serving())


def scaled(metric, target, **cluster):
    room = Replicas(minimum=1, maximum=3)
    return service(Serving(replicas=room, autoscaling=Autoscaling(metric=metric, target=target)), **cluster)


def test_the_package_is_read_from_the_claim_by_its_digest():
    predictor = service().document()["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["name"] == CONTAINER
    assert container["args"][:4] == ["--package", f"/mnt/models/kubeloop/packages/{DIGEST}", "--name", "heart"]
    claim = {"name": "store", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    assert claim in predictor["volumes"]
    assert predictor["annotations"] == {PACKAGE: DIGEST, VERSION: DIGEST, REVISION: service().revision}


def test_a_package_in_s3_is_fetched_by_a_container_that_alone_holds_the_credential():
    objects = ObjectStore(endpoint="http://minio:9000", key="${secret:s3-key}", secret="${secret:s3-secret}")
    where = site().model_copy(update={"store": "s3://models/kubeloop", "objects": objects})
    predictor = inference_service(where, "heart", DIGEST, Serving()).document()["spec"]["predictor"]
    (fetch,), (container,) = predictor["initContainers"], predictor["containers"]
    assert fetch["command"][2:] == ["kubeloop.serving.fetch", "--package", DIGEST, "--to", "/mnt/package"]
    assert {item["name"]: item["valueFrom"]["secretKeyRef"] for item in fetch["env"]} == {
        "KUBELOOP_SECRET_S3_KEY": {"name": "kubeloop", "key": "s3-key"},
        "KUBELOOP_SECRET_S3_SECRET": {"name": "kubeloop", "key": "s3-secret"},
    }
    assert fetch["securityContext"] == container["securityContext"]
    assert "env" not in container
    assert container["args"][1] == f"/mnt/package/cache/packages/{DIGEST}"
    assert [item["readOnly"] for item in container["volumeMounts"] if item["name"] == "store"] == [True]


def test_equal_input_gives_equal_revisions_and_any_difference_another():
    assert service() == service()
    others = [service(Serving(answers="labels")), service(image="reg/predictor:1.1"), service(logger=None)]
    assert len({item.revision for item in [service(), *others]}) == 4


def test_the_logger_is_there_from_the_first_deploy_and_nothing_unstable_is_in_the_metadata():
    document = service().document()
    logger = document["spec"]["predictor"]["logger"]
    assert (logger["mode"], logger["metadataAnnotations"]) == ("all", [VERSION])
    assert set(document["metadata"]) == {"name", "namespace", "labels"}


def test_where_a_detector_service_is_the_logger_sends_to_it_unless_the_site_names_a_sink():
    watched = service(logger=None, monitor="reg/detector:1.0").document()["spec"]["predictor"]
    assert watched["logger"]["url"] == "http://heart-monitor.team-a.svc.cluster.local/"
    named = service(monitor="reg/detector:1.0").document()["spec"]["predictor"]
    assert named["logger"]["url"] == "http://sink/events"
    assert "logger" not in service(logger=None).document()["spec"]["predictor"]


def test_a_pod_keeps_to_pod_security_restricted_and_holds_no_token():
    predictor = service().document()["spec"]["predictor"]
    context = predictor["containers"][0]["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert predictor["automountServiceAccountToken"] is False
    assert "env" not in predictor["containers"][0]


def test_it_scales_only_where_there_is_room_to_and_as_the_contract_says():
    room = Replicas(minimum=1, maximum=3)
    scaled = service(Serving(replicas=room)).spec.predictor
    assert (scaled.scale_metric, scaled.scale_target, scaled.max_replicas) == ("cpu", 80, 3)
    told = service(Serving(replicas=room, autoscaling=Autoscaling(metric="cpu", target=60), timeout_s=5)).spec.predictor
    assert (told.scale_metric, told.scale_target, told.timeout) == ("cpu", 60, 5)
    assert service(Serving(autoscaling=Autoscaling())).spec.predictor.scale_metric is None


def test_on_knative_it_scales_by_requests_and_asks_for_nothing_that_knative_refuses_a_pod():
    told = Serving(replicas=Replicas(minimum=0, maximum=3), autoscaling=Autoscaling(metric="rps", target=700))
    made = service(told, mode="knative")
    assert list(lint.lint(made)) == []
    assert made.document()["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    predictor = made.document()["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["scaleMetric"], predictor["scaleTarget"]) == (0, "rps", 700)
    assert "terminationGracePeriodSeconds" not in predictor
    assert "lifecycle" not in predictor["containers"][0]
    assert "scaleMetric" not in service(Serving(replicas=told.replicas), mode="knative").document()["spec"]["predictor"]


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        (lambda: service(Serving(replicas=Replicas(minimum=3, maximum=1))), "minimum should be at most maximum, got 3"),
        (lambda: service(Serving(replicas=Replicas(minimum=0))), "cannot scale to 0"),
        (lambda: scaled("rps", 9), "Standard mode scales by cpu, got rps, which needs cluster.mode knative"),
        (lambda: scaled("cpu", 700), "at most 100 percent of the CPU was expected, got 700"),
        (lambda: scaled("cpu", 70, mode="knative"), "Knative scales by rps or concurrency, got cpu"),
        (lambda: service(Serving(resources=Resources(cpu="half"))), "serving.resources.cpu: a quantity .* got 'half'"),
        (lambda: service(name="Heart"), "lower-case letters"),
        (lambda: service(name="h" * 60), "at most 42 characters were expected, got 60"),
        (lambda: service(image="reg:5000/predictor"), "a tag other than latest, or a digest"),
        (lambda: service(image="reg/predictor:latest"), "a tag other than latest"),
        (lambda: service(image="reg/predictor@sha256:12"), "a digest is sha256: and 64"),
        (lambda: service(logger="sink/events"), "cluster.logger: a URL of http"),
    ],
)
def test_the_lint_names_what_kserve_would_refuse_or_forget(made, finding):
    with pytest.raises(InputError, match=finding):
        lint.check(made())


def test_the_lint_passes_what_we_make():
    assert list(lint.lint(service())) == []
    assert list(lint.lint(service(image="reg/p@sha256:" + "0" * 64))) == []


def test_a_store_that_no_pod_can_mount_is_refused():
    elsewhere = site().model_copy(update={"store": "file:///srv/store"})
    with pytest.raises(InputError, match=r"a store on a claim or in S3 was expected .* got file:///srv/store"):
        inference_service(elsewhere, "heart", DIGEST, Serving())
