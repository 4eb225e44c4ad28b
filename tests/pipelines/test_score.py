"""The compiled score pipeline: its graph, and one run of it by the command that a user types."""

import datetime as dt
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from kubeloop.cli import score
from kubeloop.errors import InputError
from kubeloop.packaging.read import read_package
from kubeloop.pipelines import submit
from kubeloop.pipelines.compile import compiled_path
from kubeloop.registry.champions import move_champion
from kubeloop.registry.versions import register
from kubeloop.site import laptop
from kubeloop.store import open_engine
from tests.front_door import run_command
from tests.pipelines.kfp_stub import kfp_server

IMAGE = "ghcr.io/kubeloop/pipeline:0.1.0"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(compiled_path("score").read_text(encoding="ascii")))


def test_the_model_is_found_once_and_scoring_alone_is_cached(documents: list[dict[str, Any]]) -> None:
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert sorted(tasks) == ["predict", "read-rows", "write-rows"]
    cached = {name: task["cachingOptions"].get("enableCache", False) for name, task in tasks.items()}
    assert [name for name, on in cached.items() if on] == ["predict"]
    model = tasks["predict"]["inputs"]["parameters"]["model"]["taskOutputParameter"]
    assert model == {"outputParameterKey": "Output", "producerTask": "read-rows"}
    assert all("retryPolicy" not in task for task in tasks.values())


def test_its_tasks_have_image_site_and_limits_and_no_address(documents: list[dict[str, Any]]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    assert {each["container"]["image"] for each in executors.values()} == {IMAGE}
    assert {each["container"]["resources"]["resourceCpuLimit"] for each in executors.values()} == {
        "{{$.inputs.parameters['pipelinechannel--cpu']}}"
    }
    placed = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(placed) == set(executors)
    for each in placed.values():
        assert int(each["activeDeadlineSeconds"]) > 0
        assert each["configMapAsEnv"][0]["optional"]
    text = compiled_path("score").read_text(encoding="ascii")
    assert not re.search(r"(https?|s3|gs|minio|file)://", text)


def test_on_a_kubeflow_it_is_sent_with_images_by_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "images.lock"
    given = score.arguments("toy@2", "s3://lake/in.csv", "s3://lake/out.csv", here=False)
    with kfp_server() as server:
        with pytest.raises(InputError, match="a lock of images was expected"):
            score.submit(server.url, lock, given)
        lock.write_text(f"{IMAGE}: {IMAGE}@sha256:{'a' * 64}\n")
        score.submit(server.url, lock, given)
        score.submit(server.url, lock, given)
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("submitted ")]
    assert [(words[2], words[4]) for words in said] == [("kubeloop-score", said[0][4])] * 2
    assert said[0][1] != said[1][1]


def test_a_path_of_this_machine_is_no_address_for_a_pod() -> None:
    with pytest.raises(InputError, match=r"an address was expected after --out, got out\.csv"):
        score.arguments("toy", "s3://lake/in.csv", "out.csv", here=False)
    given = score.arguments("toy", "in.csv", Path("out.csv"), here=True)
    assert [Path(given[name]).is_absolute() for name in ("source", "out")] == [True, True]
    known = submit.prepare(compiled_path("score"), {IMAGE: f"{IMAGE}@sha256:{'a' * 64}"})
    submit.check_arguments(known, given)


@pytest.mark.slow
def test_predict_as_a_pipeline_on_this_machine(tmp_path: Path, mirror: Path, root: Path) -> None:
    """The command line, the compiled YAML and kfp.local: answers, a quarantine, a record; then a file that is wrong."""
    from tests.serving.conftest import make_package, table

    site = laptop(tmp_path / ".kubeloop")
    assert site.home is not None
    site.home.mkdir()
    shutil.copy(mirror, site.home / "mlflow.db")
    folder = make_package(tmp_path, 1)
    package, engine, now = read_package(folder), open_engine(site), dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    register(engine, site, folder, "made", now)
    move_champion(engine, site.namespace, package.name, package.digest, 0, now)
    engine.dispose()
    frame = table(5).to_pandas().drop(columns=["ill", "_fold"])
    frame["age"] = frame["age"].astype(str)
    frame.loc[7, "age"] = "old"
    frame.to_csv(tmp_path / "in.csv", index=False)
    said = run_command("predict", "toy", "--in", "in.csv", "--out", "out.parquet", "--pipeline", cwd=tmp_path)
    assert said.code == 0, said.err + said.out
    assert [line.split()[0] for line in said.out.splitlines()[:3]] == ["read_rows", "predict", "write_rows"]
    found, kept = pd.read_parquet(tmp_path / "out.parquet"), np.arange(len(frame)) != 7
    wanted = package.predict(frame[kept])
    assert found["prediction"][kept].tolist() == wanted.labels.tolist()
    assert found["prediction"].isna().tolist() == (~kept).tolist()
    (refused,) = pd.read_csv(tmp_path / "out.quarantine.csv").to_dict("records")
    assert (refused["row"], refused["column"]) == (8, "age")
    listed = run_command("runs", "--json", cwd=tmp_path)
    assert '"kubeloop-score"' in listed.out
    frame.drop(columns=["dose"]).to_csv(tmp_path / "in.csv", index=False)
    said = run_command("predict", "toy", "--in", "in.csv", "--out", "out.csv", "--pipeline", cwd=tmp_path)
    assert said.code == 2
    assert "column 'dose' is missing" in said.err
    assert not (tmp_path / "out.csv").exists()
