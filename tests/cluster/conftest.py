"""A namespace of its own on the Kubernetes of `$KUBECONFIG`, with a claim that this machine can write to."""

import json
import os
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.cluster import installing
from kubeloop.cluster.api import ISVC, POD, Api, connect
from kubeloop.site.load import named_site
from kubeloop.site.model import ObjectStore, Site
from tests.cluster.bed import backing, layout

PREDICTOR = os.environ.get("KUBELOOP_PREDICTOR_IMAGE", f"{layout.REGISTRY}/predictor:0.1.0")
CLAIMS = Path(os.environ.get("KUBELOOP_TEST_CLAIMS") or layout.CLAIMS)
"""A folder of this machine that the node has at the same path: what is written there, a pod finds in its claim."""


SECRETS = {"s3-key": "kubeloop", "s3-secret": "hunter2-of-the-store"}
"""Of a Site whose packages are in the bed's S3."""

ADMIN = os.environ.get("KUBECONFIG", "")
"""The administrator's, whoever a test is at the moment."""


def kubectl(*words: str, stdin: str | None = None) -> str:
    """As the administrator."""
    command = ["kubectl", "--kubeconfig", ADMIN, *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def as_account(kubeconfig: Path) -> Iterator[None]:
    """Be another account for the while of a block."""
    before = os.environ["KUBECONFIG"]
    os.environ["KUBECONFIG"] = str(kubeconfig)
    try:
        yield
    finally:
        os.environ["KUBECONFIG"] = before


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what} was expected within {deadline_s:.0f} s"
        time.sleep(0.2)


@dataclass(frozen=True)
class Place:
    """The tests' namespace.

    Attributes:
        site: As a laptop knows it; models are served in its namespace.
        home: The laptop's home.
        operator: The kubeconfig of the account that people use: exactly its Role, no administrator.
        admin: The API as administrator.
    """

    site: Site
    home: Path
    operator: Path
    admin: Api

    @property
    def namespace(self) -> str:
        return self.site.namespace


@pytest.fixture(scope="session")
def cluster() -> None:
    """A Kubernetes with KServe."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("NO KUBERNETES: set KUBECONFIG; `make cluster` brings one up and prints it")


@pytest.fixture(scope="module")
def place(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    namespace = f"kl-{secrets.token_hex(3)}"
    home = tmp_path_factory.mktemp("laptop") / ".kubeloop"
    claim = CLAIMS / namespace
    claim.mkdir(parents=True)
    folder = home / "sites" / "cluster"
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(yaml.safe_dump(site_document(namespace, home, claim)), encoding="utf-8")
    site = named_site(home, "cluster")
    admin = connect(site)
    installing.install(admin, installing.render(site))
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(volume(namespace, claim)))
    # A claim that is seen before its volume is looked at again after a quarter of a minute.
    bound = ("get", "pvc", "models", "-o", "jsonpath={.status.phase}")
    wait_until(lambda: kubectl("-n", namespace, *bound) == "Bound", "the claim's volume", 300)
    yield Place(site, home, account(namespace, "kubeloop-operator", home), admin)
    for item in admin.list(ISVC):
        admin.delete(ISVC, item["metadata"]["name"])
    kubectl("delete", "namespace", namespace, "--wait=false")
    kubectl("delete", "pv", namespace, "--wait=false")
    # Pods with an agent take half a minute to end, and hold the node's CPU until then: the next module needs it.
    wait_until(lambda: not admin.list(POD), "the end of this module's pods", 300)


def shared_site(place: Place, purpose: str, home: Path, **cluster: Any) -> Site:
    """The place's Site with its records in PostgreSQL and its packages in a bucket of its own, as pods need it.

    Args:
        place: The tests' namespace.
        purpose: Of the bucket, and the name of the Site's ConfigMap and Secret there.
        home: Of what stays where the Site is used.
        cluster: What else of its cluster differs.
    """
    if not layout.AUDIT_LOG.exists():
        pytest.skip("NO BED: the PostgreSQL and the S3 that this test uses are the bed's")
    bucket = f"{purpose}-{place.namespace}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(f"{backing.S3}/{bucket}", method="PUT"), timeout=60).close()
    keys = {"key": "${secret:s3-key}", "secret": "${secret:s3-secret}"}
    assert place.site.cluster is not None
    changes = {
        "store": f"s3://{bucket}/kubeloop",
        "objects": ObjectStore(endpoint=backing.S3, region="us-east-1", **keys),
        "sql": backing.SQL,
        "tracking": f"sqlite:///{home}/mlflow.db",
        "home": home,
        "cluster": place.site.cluster.model_copy(update={"settings": purpose, **cluster}),
    }
    site = place.site.model_copy(update=changes)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": purpose}, "stringData": SECRETS}
    settings = installing.render(site)[-1]
    kubectl("-n", place.namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all([settings, secret]))
    return site


@contextmanager
def secrets_here() -> Iterator[None]:
    """Know the Site's secrets as pods do, for the while of a block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv("KUBELOOP_SECRET_" + name.upper().replace("-", "_"), value)
        yield


def site_document(namespace: str, home: Path, claim: Path) -> dict[str, Any]:
    """A Site whose records are this laptop's and whose packages are in the claim."""
    return {
        "namespace": namespace,
        "store": "pvc://models/kubeloop",
        "objects": {"mount": str(claim)},
        "sql": f"sqlite:///{home}/kubeloop.db",
        "tracking": f"sqlite:///{home}/mlflow.db",
        "allow_unsigned": True,
        "cluster": {
            "image": PREDICTOR,
            "logger": f"http://kubeloop-log.{namespace}.svc.cluster.local/events",
            "deadline_s": 300,
        },
    }


def volume(namespace: str, folder: Path) -> list[dict[str, Any]]:
    """A volume that is a folder of the node, and the claim `models` bound to it."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": namespace},
            "spec": {**spec, "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(folder)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": namespace},
            "spec": {**spec, "resources": {"requests": {"storage": "1Gi"}}},
        },
    ]


def account(namespace: str, name: str, folder: Path) -> Path:
    """A kubeconfig with a ServiceAccount's own token."""
    token = kubectl("-n", namespace, "create", "token", name, "--duration=6h").strip()
    shown = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    shown["users"] = [{"name": name, "user": {"token": token}}]
    shown["contexts"] = [{"name": name, "context": {"cluster": shown["clusters"][0]["name"], "user": name}}]
    shown["current-context"] = name
    file = folder / f"{name}.kubeconfig"
    file.write_text(json.dumps(shown), encoding="utf-8")
    file.chmod(0o600)
    return file
