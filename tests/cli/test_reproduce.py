"""A run made again is the same, digest by digest; where it is not, the input that differs is named."""

import datetime as dt
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kubeloop.cli import reproduction
from kubeloop.cli.main import cli
from kubeloop.cli.reproduce_ import package_of, present_contract
from kubeloop.contract import Contract, sections_of
from kubeloop.contract.load import read_contract
from kubeloop.data.ingest import ingest
from kubeloop.data.mended import mended_rows
from kubeloop.data.splitting import split
from kubeloop.data.tables import read_facts
from kubeloop.data.validation import validate
from kubeloop.decisions import Check, decide
from kubeloop.learning.training import train
from kubeloop.monitoring.reference.fitting import fit_reference
from kubeloop.packaging.build import build, cpu_type
from kubeloop.packaging.store import publish
from kubeloop.scoring.prepare import prepare
from kubeloop.site import Site, laptop
from kubeloop.tracking.record import RunRecord, TaskRecord, read_run, write_run, write_task
from tests.front_door import run_command

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
CONTRACT = """
kubeloop: 1
name: toy
data:
  sources: [{name: people, path: people.csv}]
  id: [key]
  columns:
    key: {type: integer}
    age: {type: number}
    dose: {type: number}
    ill: {type: category}
target: {column: ill, task: binary, positive: "yes"}
estimator: {kind: logistic_regression}
metrics: {primary: accuracy}
seed: 3
"""


@dataclass(frozen=True)
class Made:
    site: Site
    folder: Path

    def again(self) -> reproduction.Reproduction:
        record = read_run(self.site, "toy-1")
        present = present_contract(self.site, record)
        return reproduction.reproduce(self.site, record, package_of(self.site, record), present)


def differing(found: reproduction.Reproduction) -> list[str]:
    return [stage.name for stage in found.stages if not stage.same]


@pytest.fixture(scope="module")
def run_made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run as the pipeline leaves it: sources, record, package."""
    tmp_path = tmp_path_factory.mktemp("reproduce")
    folder = tmp_path / "project"
    folder.mkdir()
    draw = random.Random(1)
    rows = ["key,age,dose,ill"]
    for key in range(120):
        age = draw.uniform(20, 90)
        rows.append(f"{key},{age:.1f},{draw.uniform(0, 1):.3f},{'yes' if age + draw.gauss(0, 9) > 55 else 'no'}")
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    (folder / "loop.yaml").write_text(CONTRACT)
    site = laptop(folder / ".kubeloop", folder)
    contract = read_contract(folder / "loop.yaml")
    sections = sections_of(contract)
    work = tmp_path / "work"
    table, valid, development, test = (work / name for name in ("table", "valid", "development", "test"))
    facts: dict[str, Any] = {"ingest": ingest(sections.ingest, site, table)}
    facts["validate"] = validate(sections.validation, table, valid, work / "quarantine")[1]
    split(sections.split, valid, development, test)
    train(sections.train, dict(contract.estimator.parameters), development, work / "model")
    metrics = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "method": "wilson", "n": 24}}
    decision = decide("model", [Check(name="threshold", verdict="pass", reason="good enough")])
    judged = {"metrics": metrics, "decision": decision, "test": read_facts(test).digest}
    prepare(work / "model", development)
    fit_reference(sections.monitor, work / "model", development, work / "reference")
    snapshot = facts["ingest"]["digest"]
    digest = build(work / "model", contract, judged, snapshot, work / "package", work / "reference")
    publish(site, work / "package")
    facts["register"] = {"digest": digest}
    document = contract.model_dump(mode="json")
    write_run(
        site,
        RunRecord(
            run_id="toy-1",
            name="toy",
            status="done",
            started=NOW,
            finished=NOW,
            facts={"contract": "loop.yaml", "document": document},
        ),
    )
    for name, found in facts.items():
        write_task(site, "toy-1", TaskRecord(task=name, status="done", started=NOW, finished=NOW, facts=found))
    return Made(site, folder)


@pytest.fixture
def made(run_made: Made) -> Iterator[Made]:
    """The same, with its files put back after a test has changed them."""
    files = [run_made.folder / "people.csv", run_made.folder / "loop.yaml"]
    files += (run_made.folder / ".kubeloop" / "store" / "packages").glob("*/detached/host.json")
    kept = {file: file.read_bytes() for file in files}
    yield run_made
    for file, content in kept.items():
        file.write_bytes(content)


def test_nothing_changed_is_the_same(made):
    found = made.again()
    assert found.same
    assert [stage.name for stage in found.stages] == list(reproduction.STAGES)
    assert found.inputs == {}


def test_another_row_is_named_as_data(made):
    with (made.folder / "people.csv").open("a") as stream:
        stream.write("999,50.0,0.5,no\n")
    found = made.again()
    assert differing(found)[0] == "gathering"
    assert list(found.inputs) == ["data"]
    assert all(stage.causes == ("data",) for stage in found.stages if not stage.same)


def test_a_snapshot_as_of_a_moment_is_read_again_up_to_it(tmp_path):
    days = [f"2026-01-{day:02d},{day},{day % 2}" for day in range(1, 21)]
    people = tmp_path / "people.csv"
    people.write_text("at,dose,ill\n" + "\n".join(days) + "\n")
    document = yaml.safe_load(CONTRACT)
    columns = {"at": {"type": "timestamp"}, "dose": {"type": "number"}, "ill": {"type": "integer"}}
    document["data"] |= {"id": [], "time": "at", "snapshot": "as_of", "columns": columns}
    document["target"] = {"column": "ill", "task": "binary"}
    contract = Contract.model_validate(document)
    site = laptop(tmp_path / ".kubeloop", tmp_path)
    moment = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)
    facts = ingest(sections_of(contract).ingest, site, tmp_path / "table", moment)
    asked = {"document": contract.model_dump(mode="json")}
    write_run(site, RunRecord(run_id="toy-1", name="toy", status="failed", started=NOW, facts=asked))
    write_task(site, "toy-1", TaskRecord(task="ingest", status="done", started=NOW, finished=NOW, facts=facts))
    with people.open("a") as stream:
        stream.write("2026-01-11,3,1\n2026-02-01,3,1\n")  # later ones have come
    (gathering, *_) = reproduction.reproduce(site, read_run(site, "toy-1"), None, None).stages
    assert (gathering.then, gathering.same) == (facts["digest"], True)
    with people.open("a") as stream:
        stream.write("2026-01-02,3,1\n")  # one that the snapshot should have had
    found = reproduction.reproduce(site, read_run(site, "toy-1"), None, None)
    assert found.stages[0].causes == ("data",)
    assert re.fullmatch(
        r"the snapshot up to 2026-01-10T12:00:00\+00:00 was \w{12}, and is \w{12}", found.inputs["data"][0]
    )


def test_another_seed_is_named(made):
    text = (made.folder / "loop.yaml").read_text()
    (made.folder / "loop.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    found = made.again()
    assert found.inputs == {"seed": ["it was 3, and is 4"]}
    assert differing(found) == ["features", "training", "packaging"]
    assert found.stages[2].causes == ("seed",)


def test_another_parameter_is_named(made):
    text = (made.folder / "loop.yaml").read_text()
    (made.folder / "loop.yaml").write_text(
        text.replace("kind: logistic_regression", "kind: logistic_regression, parameters: {C: 0.5}")
    )
    found = made.again()
    assert "estimator.parameters.C" in found.inputs["configuration"][0]
    assert differing(found) == ["selection", "training", "packaging"]


def reproduced(made: Made, path: Path | None = None) -> dict[str, Any]:
    """What `kubeloop reproduce` says in a process of its own, with a folder before all others on its path."""
    words = ["reproduce", "toy-1", "--home", str(made.site.home), "--json"]
    if path is None:
        said = run_command(*words, cwd=made.folder)
        assert said.code == 1, said.out + said.err
        return dict(json.loads(said.out.splitlines()[-1]))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBELOOP")}
    done = subprocess.run(
        [sys.executable, "-m", "kubeloop.cli.main", *words],
        cwd=made.folder,
        env=environment | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stages_that_differ(said: dict[str, Any]) -> dict[str, list[str]]:
    return {stage["name"]: stage["causes"] for stage in said["stages"] if not stage["same"]}


def test_another_library_is_named(made, tmp_path):
    """Its metadata say so; the golden requests prove that it answers alike, so the package is read."""
    (tmp_path / "scipy-9.9.dist-info").mkdir()
    (tmp_path / "scipy-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 9.9\n")
    said = reproduced(made, tmp_path)
    assert list(said["inputs"]) == ["library"]
    assert re.fullmatch(r"scipy [\d.]+, here 9\.9", said["inputs"]["library"][0])
    assert stages_that_differ(said) == {"packaging": ["library"]}


def test_other_code_is_named(made, tmp_path, root):
    shutil.copytree(root / "kubeloop", tmp_path / "kubeloop", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "kubeloop" / "learning" / "answers.py"
    changed.write_text(changed.read_text() + "\n# Changed.\n")
    said = reproduced(made, tmp_path)
    assert said["inputs"] == {"code": ["kubeloop/learning/answers.py is another"]}
    assert stages_that_differ(said) == {"packaging": ["code"]}


def test_another_processor_is_named(made):
    """The host stands outside the digest. Here alone nothing comes out otherwise, so a seed is changed, too."""
    host = next((made.site.home / "store" / "packages").glob("*/detached/host.json"))
    host.write_text(json.dumps(json.loads(host.read_text()) | {"cpu": "Zilog Z80"}))
    text = (made.folder / "loop.yaml").read_text()
    (made.folder / "loop.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    said = reproduced(made)
    assert said["inputs"]["CPU type"] == [f"it was Zilog Z80, and is {cpu_type()}"]
    assert stages_that_differ(said)["training"] == ["seed", "CPU type"]
    assert stages_that_differ(said)["features"] == ["seed"]


def test_rows_that_were_mended_since_are_named_as_data(made):
    contract = read_contract(made.folder / "loop.yaml")
    record = read_run(made.site, "toy-1")
    validated = next(task for task in record.tasks if task.task == "validate")
    write_task(made.site, "toy-1", validated.model_copy(update={"facts": {**validated.facts, "mended": 3}}))
    found = made.again()
    assert found.inputs == {"data": ["3 mended rows came back from the quarantine, and 0 do"]}
    assert mended_rows(made.site, contract.name) is None
    write_task(made.site, "toy-1", validated)


def test_an_imported_model_stays_the_one_that_was_imported(made):
    """Its file stands in the record; loop.yaml names the estimator that was not asked."""
    record = read_run(made.site, "toy-1")
    imported = {"kind": "imported", "file": "imported/x.skops", "digest": None, "unseen_test": True}
    document = record.facts["document"] | {"estimator": imported}
    asked = present_contract(made.site, record.model_copy(update={"facts": {**record.facts, "document": document}}))
    assert asked is not None
    assert (asked.estimator.kind, asked.estimator.file) == ("imported", "imported/x.skops")
    plain = present_contract(made.site, record)
    assert plain is not None
    assert plain.estimator.kind == "logistic_regression"


def test_causes_are_those_that_reach_the_stage():
    inputs = {"library": ["numpy"], "data": ["x"]}
    assert reproduction._stage("gathering", "a", "b", inputs).causes == ("data",)
    assert reproduction._stage("training", "a", "b", inputs).causes == ("data", "library")
    assert reproduction._stage("training", "a", "a", inputs).causes == ()


def test_the_command_exits_with_1_and_names_it(made):
    words = ["reproduce", "latest", "--home", str(made.site.home)]
    same = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert same.exit_code == 0, same.output
    assert same.stdout.count("same") == 6
    with (made.folder / "people.csv").open("a") as stream:
        stream.write("999,50.0,0.5,no\n")
    differs = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    assert differs.exit_code == 1
    assert list(json.loads(differs.stdout)["inputs"]) == ["data"]
