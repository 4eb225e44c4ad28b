"""heart on a real KFP server: submitted by the command line, run to its end; verdict, reasons and artifacts fetched."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.cluster import installing
from kubeloop.cluster.api import ISVC, connect
from kubeloop.ledger import entries
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import champion
from kubeloop.serving.on_cluster import ask, settled
from kubeloop.serving.trial import TOLERANCE
from kubeloop.site.addresses import filesystem
from kubeloop.site.load import named_site
from kubeloop.site.model import Site
from kubeloop.store import open_engine
from tests.cluster.bed import archives, backing, layout
from tests.cluster.conftest import PREDICTOR, account, as_account, kubectl
from tests.cluster.test_images import PIPELINE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

SECRETS = {"s3-key": "whose-pipelines-keep", "s3-secret": "what-pipelines-keep"}
COMPILED_FOR = "ghcr.io/kubeloop/pipeline:0.1.0"
ARTIFACTS = "s3://mlpipeline"


@dataclass(frozen=True)
class Flow:
    """A KFP server, and the Site in its namespace.

    Attributes:
        host: Of its API.
        site: As this machine knows it.
        folder: With loop.yaml, its table, the lock of images and the home.
        operator: The kubeconfig of people's account.
    """

    host: str
    site: Site
    folder: Path
    operator: Path


@pytest.fixture(scope="module")
def flow(cluster: None, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    host = os.environ.get("KFP_HOST")
    if not host:
        pytest.skip("NO KFP SERVER: set KFP_HOST to the URL of ml-pipeline's API (and KFP_NAMESPACE, if not kubeflow)")
    if not layout.AUDIT_LOG.exists():
        pytest.skip("NO BED: the PostgreSQL, the S3 and the images that this test uses are the bed's")
    namespace = os.environ.get("KFP_NAMESPACE", "kubeflow")
    folder = tmp_path_factory.mktemp("flow")
    bucket = f"flow-{folder.parent.name}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(f"{backing.S3}/{bucket}", method="PUT"), timeout=60).close()
    place = folder / "home" / "sites" / "cluster"
    place.mkdir(parents=True)
    (place / "site.yaml").write_text(yaml.safe_dump(site_document(namespace, bucket)))
    site = named_site(folder / "home", "cluster")
    # The namespace is the server's own, with pods that Pod Security need not let in.
    documents = [item for item in installing.render(site) if item["kind"] != "Namespace"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kubeloop"}, "stringData": SECRETS}
    admin = connect(site)
    installing.install(admin, documents)
    kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump(secret))
    (folder / "images.lock").write_text(yaml.safe_dump({COMPILED_FOR: by_digest(PIPELINE)}))
    shutil.copy(root / "examples/heart/heart.csv", folder / "heart.csv")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv("KUBELOOP_SECRET_" + name.upper().replace("-", "_"), value)
        yield Flow(host, site, folder, account(namespace, "kubeloop-operator", folder))
    for item in admin.list(ISVC):
        admin.delete(ISVC, item["metadata"]["name"])


def site_document(namespace: str, bucket: str) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "store": f"s3://{bucket}/kubeloop",
        "objects": {
            "endpoint": backing.S3,
            "region": "us-east-1",
            "key": "${secret:s3-key}",
            "secret": "${secret:s3-secret}",
        },
        "sql": backing.SQL,
        "tracking": "sqlite:////tmp/mlflow.db",
        "allow_unsigned": True,
        "cluster": {"image": PREDICTOR, "deadline_s": 600},
    }


def by_digest(image: str) -> str:
    """The name by digest of an image that the node has; a registry would give it."""
    line = next(line for line in archives.ctr("images", "ls", f"name=={image}").splitlines() if line.startswith(image))
    digest = next(word for word in line.split() if word.startswith("sha256:"))
    named = f"{image.rpartition(':')[0]}@{digest}"
    archives.ctr("images", "tag", "--force", image, named)
    return named


def loop(flow: Flow, root: Path, **more: Any) -> Path:
    """The heart example, small enough for a node of two CPUs."""
    document = yaml.safe_load((root / "examples/heart/loop.yaml").read_text())
    document["serving"]["resources"]["cpu"] = "100m"
    (flow.folder / "loop.yaml").write_text(yaml.safe_dump(document | more))
    return flow.folder / "loop.yaml"


def kubeloop(flow: Flow, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "KUBECONFIG": str(flow.operator)}
    command = [sys.executable, "-m", "kubeloop.cli.main", *words, "--host", flow.host, "--home", "home", "--json"]
    return subprocess.run(
        [*command, "--site", "cluster"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=flow.folder,
    )


def submitted(flow: Flow) -> str:
    done = kubeloop(flow, "submit", "loop.yaml", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["run"])


def test_heart_runs_to_its_end_and_serves(flow: Flow, root: Path) -> None:
    loop(flow, root)
    run = submitted(flow)
    done = kubeloop(flow, "wait", run, "--deadline", "3000")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ended"], told["verdict"], told["error"]) == ("done", "pass", None)
    engine = open_engine(flow.site)
    row = champion(engine, flow.site.namespace, "heart")
    assert row is not None
    assert "promotion" in [entry.kind for entry in entries(engine, flow.site.namespace)]
    here = flow.site.model_copy(update={"home": flow.folder / "home"})
    package = read_package(fetch(here, row.digest), row.digest, here)
    with as_account(flow.operator):
        post = partial(ask, connect(flow.site), "heart")
        assert settled(post, "heart", package.manifest) <= TOLERANCE
    pages = [content for name, content in artifacts(flow, run) if name.endswith("/report")]
    assert pages
    assert all(b"<html" in page[:2000] for page in pages)


def artifacts(flow: Flow, run: str) -> Iterator[tuple[str, bytes]]:
    """What the run's tasks have put into the server's own store."""
    files, path = filesystem(flow.site, ARTIFACTS)
    for name in files.find(path):
        if f"/{run}/" in name:
            yield name, files.cat_file(name)


def test_a_refused_run_says_why(flow: Flow, root: Path) -> None:
    loop(flow, root, metrics={"primary": "roc_auc", "thresholds": {"roc_auc": {"at_least": 0.999}}})
    run = submitted(flow)
    done = kubeloop(flow, "wait", run, "--deadline", "3000")
    assert done.returncode == 3, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ended"], told["verdict"]) == ("failed", "fail")
    assert "0.999" in json.dumps(told["error"])
    values = list(SECRETS.values())
    for name, content in artifacts(flow, run):
        assert not [value for value in values if value.encode() in content], name


def test_a_run_whose_pods_may_not_be_made_says_why(flow: Flow, root: Path) -> None:
    from kfp import Client

    loop(flow, root)
    namespace = flow.site.namespace
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump(quota))
    try:
        run = submitted(flow)
        done = kubeloop(flow, "wait", run, "--deadline", "600")
    finally:
        kubectl("-n", namespace, "delete", "resourcequota", "full")
    Client(host=flow.host).terminate_run(run)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"the run {run} cannot go on: " in done.stdout
    assert "exceeded quota: full" in done.stdout


def test_a_cancelled_run_is_told_from_a_failed_one(flow: Flow, root: Path) -> None:
    from kfp import Client

    loop(flow, root)
    run = submitted(flow)
    Client(host=flow.host).terminate_run(run)
    done = kubeloop(flow, "wait", run, "--deadline", "1200")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "was cancelled" in done.stdout + done.stderr
