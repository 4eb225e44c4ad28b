"""The detector service beside a real predictor: KServe's own agent sends, our sink keeps, windows are judged."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from kubeloop.cluster.api import DEPLOYMENT, POD, Api, connect
from kubeloop.cluster.monitor_service import CLAIM
from kubeloop.contract import Contract
from kubeloop.packaging.store import fetch, publish
from kubeloop.serving.attaching import attach
from kubeloop.serving.on_cluster import endpoint
from kubeloop.serving.trial import TOLERANCE
from kubeloop.site.model import Site
from kubeloop.store import open_engine
from kubeloop.store.tables import champions, log_models, log_services, predictions
from tests.cluster.bed import layout
from tests.cluster.conftest import CLAIMS, Place, as_account, kubectl, secrets_here, shared_site, wait_until
from tests.monitoring.watching.service import package_of
from tests.packaging import models

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

DETECTOR = f"{layout.REGISTRY}/detector:0.1.0"
WINDOW = 50


@pytest.fixture(scope="module")
def watched(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Site with its records in PostgreSQL and its packages in S3, whose models are watched."""
    site = shared_site(place, "watched", tmp_path_factory.mktemp("watched"), logger=None, monitor=DETECTOR)
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(volume(place.namespace)))
    with secrets_here():
        yield site
    kubectl("delete", "pv", f"{place.namespace}-monitor", "--wait=false")


def volume(namespace: str) -> dict[str, object]:
    """What the service's own claim is bound to, where nothing makes volumes; a folder of the node knows no fsGroup."""
    folder = CLAIMS / f"{namespace}-monitor"
    folder.mkdir()
    folder.chmod(0o777)
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "5Gi"},
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace, "name": "heart-monitor"},
    }
    metadata = {"name": f"{namespace}-monitor"}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def package(folder: Path, c: float) -> Path:
    """A package with a reference for windows of 50 rows, each of which is told by itself."""
    document = models.contract(c=c).model_dump(mode="json", exclude_unset=True)
    windows = {"window": {"rows": WINDOW, "minimum_rows": 20}, "confirm": {"windows": 1, "of": 1}}
    small = {"resources": {"cpu": "100m", "memory": "512Mi"}}
    contract = Contract.model_validate({**document, "monitoring": {"detectors": windows}, "serving": small})
    return package_of(contract, folder)


@pytest.fixture(scope="module")
def digests(watched: Site, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two versions in the store."""
    folders = [package(tmp_path_factory.mktemp("version"), c) for c in (1.0, 0.25)]
    return [publish(watched, folder).rpartition("/")[2] for folder in folders]


@dataclass
class Traffic:
    """One request after the other, each with an age that no other has; whoever answers, it is noted.

    Attributes:
        api: As whom.
        answered: Requests that were answered well.
        failures: Status and body of all others.
    """

    api: Api
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Traffic":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._end.wait(0.1):
            row = {"age": age(number), "smokes": number % 2 == 0, "pain": ("none", "some", "much")[number % 3]}
            text = json.dumps({"instances": [row]}).encode()
            # Not as `ask` does: what it asks are golden requests, which no sink keeps.
            status, body = self.api.ask_service("heart-predictor", "/v1/models/heart:predict", text, {})
            if status == 200:
                self.answered += 1
            else:
                self.failures.append(f"{status} {body[:200]!r}")
            number += 1

    def at_least(self, count: int) -> None:
        """Wait until so many are answered."""
        wait_until(lambda: self.answered >= count or self.failures, f"{count} answers", 300)


def age(number: int) -> float:
    """Spread over what the model has learned from; none twice among 70,000."""
    return round(20 + (number * 37 % 70_000) / 1000, 3)


def logged(site: Site) -> dict[float, tuple[str, bool]]:
    """By age: which version has answered, and whether its answer is there."""
    engine = open_engine(site)
    query = (
        sa.select(predictions.c.inputs, predictions.c.outputs, log_models.c.version)
        .join(log_models, log_models.c.id == predictions.c.model)
        .join(log_services, log_services.c.id == predictions.c.service)
        .where(log_services.c.namespace == site.namespace)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    engine.dispose()
    found = {}
    for row in rows:
        for cells in json.loads(bytes(row.inputs)):
            found[cells[0]] = (row.version, row.outputs is not None)
    return found


def page(place: Place, path: str) -> str:
    """What the detectors show, by the API server's proxy."""
    return kubectl("get", "--raw", f"/api/v1/namespaces/{place.namespace}/services/heart-monitor:8081/proxy{path}")


def test_no_request_and_no_event_is_lost_while_a_watched_version_takes_anothers_place(
    place: Place, watched: Site, digests: list[str]
) -> None:
    with as_account(place.operator):
        facts = attach(watched, "heart", digests[0])
        assert (facts["where"], facts["versions"]) == ("cluster", [digests[0]])
        serve = endpoint(watched, "heart")
        assert serve(fetch(watched, digests[0]))["max_difference"] <= TOLERANCE
        with Traffic(connect(watched)) as traffic:
            traffic.at_least(2 * WINDOW)
            remember(watched, digests[0])
            assert attach(watched, "heart", digests[1])["versions"] == digests
            assert serve(fetch(watched, digests[1]))["max_difference"] <= TOLERANCE
            traffic.at_least(traffic.answered + 2 * WINDOW)
    assert traffic.failures == []
    asked = {age(number) for number in range(traffic.answered)}

    def complete() -> bool:
        found = logged(watched)
        return asked <= set(found) and all(found[each][1] for each in asked)

    wait_until(complete, "each request in the log, with its answer", 300)
    assert {logged(watched)[each][0] for each in asked} == set(digests)


def remember(site: Site, digest: str) -> None:
    """Put a version down as champion, as a promotion does at its end."""
    row = {"namespace": site.namespace, "name": "heart", "digest": digest, "revision": 1, "updated_at": "2026-11-21"}
    engine = open_engine(site)
    with engine.begin() as connection:
        connection.execute(sa.insert(champions).values(row))
    engine.dispose()


def test_windows_of_both_versions_are_judged_and_their_pages_are_served(
    place: Place, watched: Site, digests: list[str]
) -> None:
    def judged() -> set[str]:
        return {item["version"] for item in json.loads(page(place, "/windows.json"))["windows"]}

    wait_until(lambda: judged() >= set(digests), "a window of either version", 300)
    shown = json.loads(page(place, "/windows.json"))
    assert shown["unwatched"] == []
    for item in shown["windows"]:
        assert item["rows"] >= WINDOW
        html = page(place, f"/windows/{item['id']}")
        assert "<html" in html
        assert "age" in html
    assert "kubeloop_watch_judged" in page(place, "/metrics")


def test_neither_container_that_serves_pages_or_takes_events_holds_the_stores_credential(place: Place) -> None:
    (pod,) = [
        item
        for item in place.admin.list(POD, "app.kubernetes.io/name=heart,app.kubernetes.io/component=monitor")
        if "deletionTimestamp" not in item["metadata"]
    ]
    (fetching,) = pod["spec"]["initContainers"]
    assert {item["name"] for item in fetching["env"]} == {"KUBELOOP_SECRET_S3_KEY", "KUBELOOP_SECRET_S3_SECRET"}
    for container in pod["spec"]["containers"]:
        assert "secretKeyRef" not in json.dumps(container)
        look = partial(kubectl, "-n", place.namespace, "exec", pod["metadata"]["name"], "-c", container["name"], "--")
        assert look("ls", "/etc/kubeloop/secret") == ""
    assert place.admin.get(DEPLOYMENT, "heart-monitor")["status"]["availableReplicas"] == 1
    assert place.admin.get(CLAIM, "heart-monitor")["status"]["phase"] == "Bound"
