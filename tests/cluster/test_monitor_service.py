"""The detector service of a model: its objects, the lint, and what a cluster that refuses or fails makes of it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kubeloop.cluster import watching
from kubeloop.cluster.api import DEPLOYMENT
from kubeloop.cluster.inference_service import REVISION, logger_address
from kubeloop.cluster.monitor_service import LOG_KEY, NETWORK_POLICY, SERVICE, monitor_service
from kubeloop.contract import sections_of
from kubeloop.errors import InputError, PermanentError, TransientError
from kubeloop.monitoring.log.privacy import SECRET
from kubeloop.monitoring.log.windows import WindowKey
from kubeloop.monitoring.reference.fitting import fit_reference
from kubeloop.packaging.build import build
from kubeloop.packaging.store import publish
from kubeloop.packaging.verify import verify
from kubeloop.serving.attaching import attach
from kubeloop.serving.monitor_process import watched_of
from kubeloop.serving.sink_process import Services
from kubeloop.site.model import Cluster, ObjectStore, Site, laptop
from tests.cluster.fake_cluster import FakeCluster
from tests.packaging import models

IMAGE = "reg/detector:1.0"


def site(folder: Path = Path("/mnt/models"), **more) -> Site:
    cluster = {"image": "reg/predictor:1.0", "monitor": IMAGE, "deadline_s": 60.0} | more.pop("cluster", {})
    return Site(
        **{
            "store": "pvc://models/kubeloop",
            "objects": ObjectStore(mount=folder),
            "sql": f"sqlite:///{folder}/kubeloop.db",
            "tracking": "sqlite://",
            "namespace": "team-a",
            "home": folder,
            "allow_unsigned": True,
            "cluster": Cluster(**cluster),
        }
        | more
    )


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    fake = FakeCluster("kubeloop-monitor")
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("watched")
    model = models.train(folder)
    fit_reference(sections_of(models.contract()).monitor, model, folder / "development", folder / "reference")
    evaluation = models.evaluation()
    build(model, models.contract(), evaluation, models.DATA, folder / "package", folder / "reference")
    return folder / "package"


def published(where: Site, package: Path) -> str:
    return publish(where, package).rpartition("/")[2]


def test_the_service_listens_before_the_first_deployment_and_a_second_attach_changes_nothing(
    cluster, package, tmp_path
):
    here = site(tmp_path)
    digest = published(here, package)
    facts = attach(here, "heart", digest)
    assert (facts["where"], facts["versions"]) == ("cluster", [digest])
    assert facts["logger"] == logger_address(here, "heart") == "http://heart-monitor.team-a.svc.cluster.local/"
    assert set(cluster.objects) == {
        (plural, "heart-monitor") for plural in ("configmaps", "deployments", "networkpolicies", "services")
    }
    told = Services.model_validate_json(cluster.objects["configmaps", "heart-monitor"]["data"]["services.json"])
    (service,) = told.services
    assert [(model.version, [column.name for column in model.columns]) for model in service.models] == [
        (digest, ["age", "smokes", "pain"])
    ]
    first = [method for method, _ in cluster.asked if method in ("DRY", "PATCH")]
    assert first == ["DRY"] * 4 + ["PATCH"] * 4
    before = json.dumps(cluster.objects["deployments", "heart-monitor"], sort_keys=True)
    attach(here, "heart", digest)
    assert json.dumps(cluster.objects["deployments", "heart-monitor"], sort_keys=True) == before


def test_what_serves_now_stays_known_while_another_package_is_about_to(cluster, package, tmp_path):
    import sqlalchemy as sa

    from kubeloop.store import open_engine
    from kubeloop.store.tables import champions

    here = site(tmp_path)
    digest = published(here, package)
    folder = tmp_path / "other"
    model = models.train(folder, c=0.25)
    words = models.contract(c=0.25)
    fit_reference(sections_of(words).monitor, model, folder / "development", folder / "reference")
    build(model, words, models.evaluation(), models.DATA, folder / "package", folder / "reference")
    challenger = published(here, folder / "package")
    engine = open_engine(here)
    row = {"namespace": here.namespace, "name": "heart", "digest": digest, "revision": 1, "updated_at": "2026-11-21"}
    with engine.begin() as connection:
        connection.execute(sa.insert(champions).values(row))
    engine.dispose()
    assert attach(here, "heart", challenger)["versions"] == [digest, challenger]


def test_a_package_without_a_reference_is_not_watched_and_nothing_is_applied(cluster, tmp_path):
    here = site(tmp_path)
    digest = published(here, models.package(tmp_path / "bare"))
    with pytest.raises(InputError, match=r"a reference profile was expected in package .* it has none"):
        attach(here, "heart", digest)
    assert cluster.objects == {}


def test_on_a_laptop_it_is_said_how_to_watch(package, tmp_path):
    here = laptop(tmp_path)
    facts = attach(here, "heart", published(here, package))
    assert (facts["where"], facts["how"]) == ("laptop", "`kubeloop serve heart --monitor` watches it")


def test_a_cluster_without_a_detector_image_watches_nothing_and_says_so(package, tmp_path):
    here = site(tmp_path, cluster={"monitor": None, "logger": "http://sink/events"})
    facts = attach(here, "heart", published(here, package))
    assert (facts["where"], facts["logger"]) == ("nowhere", "http://sink/events")
    assert facts["how"] == "not watched: cluster.monitor in site.yaml names no image"


def broken_pod(revision: str) -> dict:
    waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
    return {
        "metadata": {"name": "heart-monitor-1", "annotations": {REVISION: revision}},
        "spec": {"containers": [{"name": "detector"}]},
        "status": {"containerStatuses": [{"name": "detector", "state": {"waiting": waiting}, "restartCount": 0}]},
    }


def test_an_image_that_cannot_be_had_is_told_at_once_and_nothing_stays_behind(cluster, package, tmp_path):
    from kubeloop.cluster.api import connect

    here = site(tmp_path)
    wanted = monitor_service(here, "heart", '{"services":[]}')
    cluster.pods = [broken_pod(wanted.revision)]
    with pytest.raises(PermanentError, match=r"heart-monitor does not come up: .*manifest unknown"):
        watching.watch(connect(here), wanted, 60)
    assert cluster.objects == {}


def test_a_service_that_listened_before_is_left_when_its_successor_fails(cluster, tmp_path):
    from kubeloop.cluster.api import connect

    here = site(tmp_path)
    watching.watch(connect(here), monitor_service(here, "heart", '{"services":[]}'), 60)
    other = monitor_service(here, "heart", '{"services":[ ]}')
    cluster.pods = [broken_pod("another")]  # of no revision of ours: it is only waited for
    with pytest.raises(TransientError, match="heart-monitor should take events within 0 s, and does not yet"):
        watching.watch(connect(here), other, 0)
    assert len(cluster.objects) == 4


def test_what_the_cluster_refuses_in_a_dry_run_changes_nothing(cluster, tmp_path):
    from kubeloop.cluster.api import connect

    here = site(tmp_path)
    cluster.refusals["deployments"] = "image is not from our registry"
    with pytest.raises(PermanentError, match="the cluster refused the Deployment: image is not from our registry"):
        watching.watch(connect(here), monitor_service(here, "heart", '{"services":[]}'), 60)
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("name", "more", "finding"),
    [
        ("Heart", {}, "small letters, digits and dashes were expected, a letter first; got 'Heart'"),
        ("h" * 50, {}, "at most 45 small letters"),
        ("heart", {"cluster": {"monitor": "reg/detector"}}, r"cluster\.monitor: a tag other than latest"),
    ],
)
def test_lint_finds_what_the_cluster_would(name, more, finding):
    with pytest.raises(InputError, match=finding):
        watching.watch(None, monitor_service(site(**more), name, "{}"), 1)  # type: ignore[arg-type]


def test_settings_that_no_config_map_holds_are_found():
    assert "1,000,001 bytes" in "".join(watching.lint(monitor_service(site(), "heart", "x" * 1_000_001)))


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"store": "gs://models/kubeloop"}, "a store on a claim or in S3 was expected for watching .*, got gs://"),
        ({"cluster": {"monitor": None}}, "should name the detector's image, and names none"),
    ],
)
def test_sites_that_cannot_run_one_are_told(more, match):
    with pytest.raises(InputError, match=match):
        monitor_service(site(**more), "heart", "{}")


def test_a_pod_keeps_to_pod_security_restricted_and_never_leaves_the_logger_alone():
    spec = monitor_service(site(), "heart", "{}").of(DEPLOYMENT)["spec"]
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert [container["name"] for container in pod["containers"]] == ["sink", "detector"]
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    sink, detector = pod["containers"]
    assert {"name": "store", "mountPath": "/mnt/models", "readOnly": True} in detector["volumeMounts"]
    assert "/mnt/models" not in {mount["mountPath"] for mount in sink["volumeMounts"]}
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == [SECRET] == [LOG_KEY]
    assert ["readinessProbe" in container for container in pod["containers"]] == [True, False]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def in_s3(**more) -> Site:
    objects = ObjectStore(endpoint="http://minio:9000", key="${secret:s3-key}", secret="${secret:s3-secret}")
    return site(store="s3://models/kubeloop", objects=objects, sql="postgresql://k:${secret:sql}@db/k", **more)


def test_packages_in_s3_are_fetched_by_a_container_that_alone_holds_the_credential():
    digests = ["sha256-" + letter * 64 for letter in "ab"]
    made = monitor_service(in_s3(), "heart", "{}", digests)
    spec = made.of(DEPLOYMENT)["spec"]["template"]["spec"]
    (fetch,), (sink, detector) = spec["initContainers"], spec["containers"]
    assert fetch["image"] == IMAGE
    words = ["--package", digests[0], "--package", digests[1], "--to", "/mnt/package"]
    assert fetch["command"][2:] == ["kubeloop.serving.fetch", *words]
    assert {item["valueFrom"]["secretKeyRef"]["key"] for item in fetch["env"]} == {"s3-key", "s3-secret"}
    assert "s3-" not in json.dumps([sink, detector, spec["volumes"]])
    assert [item["key"] for volume in spec["volumes"] for item in volume.get("secret", {}).get("items", [])] == [
        LOG_KEY,
        "sql",
    ]
    assert detector["args"][:3] == ["heart", "--packages", "/mnt/package/cache/packages"]
    assert {"name": "store", "mountPath": "/mnt/package", "readOnly": True} in detector["volumeMounts"]
    ports = [port["port"] for out in made.of(NETWORK_POLICY)["spec"]["egress"] for port in out["ports"]]
    assert ports == [53, 53, 5432, 9000]


def test_what_is_acknowledged_lies_on_a_claim_of_its_own_that_is_never_deleted(cluster, tmp_path):
    from kubeloop.cluster.api import connect

    made = monitor_service(in_s3(), "heart", '{"services":[]}', ["sha256-" + "a" * 64])
    spec = made.of(DEPLOYMENT)["spec"]["template"]["spec"]
    assert {"name": "home", "persistentVolumeClaim": {"claimName": "heart-monitor"}} in spec["volumes"]
    (near,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["topologyKey"] == "kubernetes.io/hostname"
    api = connect(site(tmp_path))
    watching.watch(api, made, 60)
    assert len(cluster.objects) == 5
    watching.unwatch(api, made)
    assert set(cluster.objects) == {("persistentvolumeclaims", "heart-monitor")}


def test_detectors_read_the_packages_that_were_fetched_and_name_a_version_that_was_not(package, tmp_path):
    here = in_s3()  # whose credential is nowhere: the store is not asked
    manifest, digest = verify(package)
    shutil.copytree(package, tmp_path / digest)
    key = WindowKey(here.namespace, manifest.name, "predictor", digest)
    watched = watched_of(here, frozenset(), key, tmp_path)
    assert watched is not None
    assert watched.judge.profile.detectors.window.rows == 1000
    with pytest.raises(InputError, match=r"package b{12} of heart was expected in .*, and is not there"):
        watched_of(here, frozenset(), replace(key, version="sha256-" + "b" * 64), tmp_path)


def test_predictors_may_reach_the_store_that_their_packages_are_in():
    from kubeloop.cluster.installing import render

    def egress(where: Site) -> str:
        (policy,) = [item for item in render(where) if item["kind"] == "NetworkPolicy"]
        return json.dumps(policy["spec"]["egress"])

    assert '"port": 9000' in egress(in_s3())
    assert '"port": 443' in egress(site(store="s3://models/kubeloop"))
    assert '"port": 443' not in egress(site())


def test_both_containers_run_what_is_there_with_words_that_it_understands(tmp_path):
    sink, detector = monitor_service(site(), "heart", "{}").of(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    for container, unknown in ((sink, "--servixes"), (detector, "--tel")):
        said = subprocess.run(
            [sys.executable, *container["command"][1:], *container["args"], unknown], capture_output=True, text=True
        )
        assert f"unrecognized arguments: {unknown}\n" in said.stderr


def test_who_may_talk_to_it_and_to_whom_it_may():
    here = site(sql="postgresql+psycopg://kubeloop@db:6432/kubeloop")
    made = monitor_service(here, "heart", "{}")
    policy = made.of(NETWORK_POLICY)["spec"]
    events, pages = policy["ingress"]
    predictors = {"podSelector": {"matchLabels": {"serving.kserve.io/inferenceservice": "heart"}}}
    assert predictors in events["from"]
    assert predictors not in pages["from"]
    assert [rule["ports"][0]["port"] for rule in (events, pages)] == [8080, 8081]
    assert [port["port"] for out in policy["egress"] for port in out["ports"]] == [53, 53, 6432]
    labels = made.of(DEPLOYMENT)["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert made.of(SERVICE)["spec"]["selector"].items() <= labels.items()
    # The label by which the predictors' own policy lets them reach it.
    assert labels["app.kubernetes.io/part-of"] == "kubeloop"
