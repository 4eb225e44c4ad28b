"""The mirror on MLflow's own server, over HTTP."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeloop.registry.versions import register
from kubeloop.rollout.promotion import promote
from tests.ports import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    # What `mlflow server` starts; the command itself asks for more than the server needs.
    environment = os.environ | {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/server.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 240
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=60).read()
                break
            except OSError:
                assert child.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end
                threading.Event().wait(0.1)
        yield url
    finally:
        child.terminate()
        child.wait(timeout=180)


def test_a_server_by_url_knows_versions_and_aliases(server, engine, site, packages, now):
    from mlflow.tracking import MlflowClient

    there = site.model_copy(update={"tracking": server})
    first, second = (register(engine, there, package, "run", now) for package in packages[:2])
    assert (first.mirror, second.mirror) == ("done", "done")
    assert promote(there, "heart", first.digest, "run", lambda _folder: {}, now)["mirror"] == "done"
    client = MlflowClient(tracking_uri=server, registry_uri=server)
    champion = client.get_model_version_by_alias("heart", "champion")
    challenger = client.get_model_version_by_alias("heart", "challenger")
    assert champion.tags["kubeloop.digest"] == first.digest
    assert challenger.tags["kubeloop.digest"] == second.digest
    assert champion.source == f"kubeloop://packages/{first.digest}"  # a server takes no path of another machine


def test_a_server_that_is_down_stops_nothing(engine, site, packages, now):
    gone = site.model_copy(update={"tracking": "http://127.0.0.1:9"})
    found = register(engine, gone, packages[0], "run", now)
    assert found.version == 1
    assert found.mirror.startswith("failed: MLflow did not take")
