"""A run made again is the same, digest by digest; where it is not, the input that differs is named."""

import datetime as dt
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kubeloop.cli import reproduction
from kubeloop.cli.main import cli
from kubeloop.cli.reproduce_ import package_of, present_contract
from kubeloop.contract import sections_of
from kubeloop.contract.load import read_contract
from kubeloop.data.ingest import ingest
from kubeloop.data.splitting import split
from kubeloop.data.tables import read_facts
from kubeloop.data.validation import validate
from kubeloop.decisions import Check, decide
from kubeloop.learning.training import train
from kubeloop.packaging import build as building
from kubeloop.packaging import libraries, sources
from kubeloop.packaging.build import build
from kubeloop.packaging.store import publish
from kubeloop.site import Site, laptop
from kubeloop.tracking.record import RunRecord, TaskRecord, read_run, write_run, write_task

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


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run as the pipeline leaves it: sources, record, package."""
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
    digest = build(work / "model", contract, judged, facts["ingest"]["digest"], work / "package")
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


def test_another_library_is_named(made, monkeypatch):
    real = libraries.version
    monkeypatch.setattr(libraries, "version", lambda name: "9.9" if name == "scipy" else real(name))
    record = read_run(made.site, "toy-1")
    with pytest.MonkeyPatch.context() as quiet:
        # It would be refused or proven at load; here the point is that it is named.
        quiet.setattr(libraries, "version", real)
        package = package_of(made.site, record)
    assert reproduction._surroundings(package)["library"][0].startswith("scipy ")
    assert "here 9.9" in reproduction._surroundings(package)["library"][0]


def test_other_code_is_named(made, monkeypatch):
    real = sources.sources_here()
    changed = dict.fromkeys(list(real)[:1], "sha256-" + "0" * 64)
    monkeypatch.setattr(sources, "sources_here", lambda: real | changed)
    record = read_run(made.site, "toy-1")
    assert reproduction._surroundings(package_of(made.site, record)) == {
        "code": [f"{next(iter(changed)).removeprefix('code/')} is another"]
    }


def test_another_processor_is_named(made, monkeypatch):
    monkeypatch.setattr(building, "cpu_type", lambda: "another one")
    record = read_run(made.site, "toy-1")
    (said,) = reproduction._surroundings(package_of(made.site, record))["CPU type"]
    assert said.endswith("and is another one")


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
