"""Make a run again, stage by stage, and name what differs: behind `kubeloop reproduce`."""

import datetime as dt
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeloop.contract import Contract
from kubeloop.contract.sections import MonitorSection
from kubeloop.digests import document_digest
from kubeloop.errors import InputError
from kubeloop.packaging.package import Package
from kubeloop.site import Site
from kubeloop.site.processes import surrounded
from kubeloop.tracking.record import RunRecord

STAGES = ("gathering", "analysis", "features", "selection", "training", "packaging")
INPUTS = {
    "data": "gathering",
    "configuration": "gathering",
    "seed": "features",
    "code": "features",
    "library": "training",
    "CPU type": "training",
}
"""What a stage depends on, and the first stage that an input reaches."""

_ANALYSED = ("rows", "valid", "quarantined", "rules")


@dataclass(frozen=True)
class Stage:
    """One stage, then and now.

    Attributes:
        name: One of `STAGES`.
        then: Digest in the run's record; None: the run did not come that far.
        now: Digest as made again.
        causes: Which inputs differ that reach this stage; empty where the digests are equal.
    """

    name: str
    then: str | None
    now: str | None
    causes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both are there and equal."""
        return self.then is not None and self.then == self.now


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        run_id: The run.
        stages: In order.
        inputs: Input that differs -> what it was, and what it is, a sentence each.
    """

    run_id: str
    stages: tuple[Stage, ...]
    inputs: dict[str, list[str]]

    @property
    def same(self) -> bool:
        """Whether every stage that the run reached came out equal."""
        return all(stage.same for stage in self.stages if stage.then is not None)


def reproduce(site: Site, record: RunRecord, package: Package | None, present: Contract | None) -> Reproduction:
    """Run gathering, analysis, features, selection, training and packaging again, in a scratch folder.

    Nothing of the run, the registry or the store is touched.

    Args:
        site: Where the run's record is.
        record: The run.
        package: What it registered; None: it registered nothing.
        present: The contract as loop.yaml says now; None: as the run recorded it.

    Raises:
        InputError: What the run was asked to do is not known any more, or its sources are gone.
        KubeloopError: A stage failed.
    """
    recorded = contract_of(site, record, package)
    contract = present or recorded
    then = _then(record, package)
    # User code and sources are looked up as a task of that home would.
    around = dict(package.manifest.environment.variables if package else {})
    around |= {"KUBELOOP_HOME": str(site.home), "KUBELOOP_INPUTS": site.inputs or ""}
    with surrounded(**around), tempfile.TemporaryDirectory(prefix="kubeloop-reproduce-") as scratch:
        now, mended = _again(site, contract, package, moment := _moment(record), Path(scratch))
    inputs = _inputs(recorded, contract, package)
    data = []
    if then.get("gathering") != now["gathering"] and "configuration" not in inputs:
        short = [str(digest)[7:19] for digest in (then.get("gathering"), now["gathering"])]
        upto = f" up to {moment.isoformat()}" if contract.data.snapshot == "as_of" else ""
        data.append(f"the snapshot{upto} was {short[0]}, and is {short[1]}")
    if (before := _mended(record)) is not None and before != mended:
        data.append(f"{before} mended rows came back from the quarantine, and {mended} do")
    if data:
        inputs = {"data": data, **inputs}
    stages = tuple(_stage(name, then.get(name), now.get(name), inputs) for name in STAGES)
    return Reproduction(record.run_id, stages, inputs)


def contract_of(site: Site, record: RunRecord, package: Package | None) -> Contract:
    """The contract that a run was started with.

    Raises:
        InputError: Neither its arguments nor a package of it are there.
    """
    from kubeloop.contract import decode

    if "document" in record.facts:
        return Contract.model_validate(record.facts["document"])
    assert site.home is not None
    order = site.home / "work" / record.run_id / "job.json"
    if order.is_file():
        return decode(json.loads(order.read_text(encoding="ascii"))["arguments"]["register_contract"], Contract)
    if package is not None:
        return Contract.model_validate(package.manifest.contract)
    raise InputError(
        f"the arguments of the run {record.run_id} were expected in its work folder, and are gone",
        "choose a run that registered a package, or one that `kubeloop gc` has kept",
        run_id=record.run_id,
    )


def _then(record: RunRecord, package: Package | None) -> dict[str, str]:
    facts = {task.task: task.facts for task in record.tasks if task.status == "done"}
    found: dict[str, str] = {}
    if "ingest" in facts:
        found["gathering"] = str(facts["ingest"]["digest"])
    if "validate" in facts:
        found["analysis"] = _analysis(facts["validate"])
    if package is None:
        return found
    manifest = package.manifest
    return {
        **found,
        "features": _features(manifest.data.training.digest, manifest.data.validation.digest),
        "selection": document_digest(manifest.estimator),
        "training": manifest.files["estimator.skops"],
        "packaging": package.digest,
    }


def _moment(record: RunRecord) -> dt.datetime:
    """The moment of a snapshot `as_of`: the sources hold its rows still, among later ones."""
    facts = next((task.facts for task in record.tasks if task.task == "ingest" and task.status == "done"), {})
    moment = facts.get("snapshot", {}).get("moment")
    return dt.datetime.fromisoformat(moment) if moment else record.started


def _again(
    site: Site, contract: Contract, package: Package | None, moment: dt.datetime, scratch: Path
) -> tuple[dict[str, str], int]:
    """The stages' digests as made again, and how many mended rows came back."""
    from kubeloop.contract import sections_of
    from kubeloop.data.ingest import ingest
    from kubeloop.data.mended import mended_rows
    from kubeloop.data.splitting import split
    from kubeloop.data.tables import read_facts
    from kubeloop.data.validation import validate
    from kubeloop.digests import file_digest
    from kubeloop.experiments.tuning import choose
    from kubeloop.learning.choice import chosen
    from kubeloop.learning.training import train
    from kubeloop.scoring.prepare import prepare

    sections = sections_of(contract)
    table, valid, development, test = (scratch / name for name in ("table", "valid", "development", "test"))
    snapshot = str(ingest(sections.ingest, site, table, moment)["digest"])
    mended = mended_rows(site, contract.name)
    _, analysed = validate(sections.validation, table, valid, scratch / "quarantine", mended=mended)
    found = {"gathering": snapshot, "analysis": _analysis(analysed)}
    if package is None:
        return found, int(analysed["mended"])
    split(sections.split, valid, development, test)
    trained = scratch / "model"
    # What a search chose is taken from the package: whether it is the best is not what is asked here.
    choice = choose(sections.tune) if contract.search is None else _chosen_then(contract, package)
    train(*chosen(sections.train, choice), development, trained)
    if package.manifest.scoring_plan is not None:
        prepare(trained, development)
    described = json.loads((trained / "model.json").read_text(encoding="ascii"))
    estimator = {"kind": described["estimator"], "parameters": described["parameters"]}
    judged = _judged(package, read_facts(test).digest)
    made = {
        **found,
        "features": _features(read_facts(development).digest, judged["test"]),
        "selection": document_digest(estimator),
        "training": file_digest(trained / "estimator.skops"),
        "packaging": _packaged(trained, contract, judged, snapshot, _watched(package, sections.monitor, scratch)),
    }
    return made, int(analysed["mended"])


def _mended(record: RunRecord) -> int | None:
    """How many mended rows came back in the run; None where its record does not say."""
    facts = next((task.facts for task in record.tasks if task.task == "validate" and task.status == "done"), {})
    return int(facts["mended"]) if "mended" in facts else None


def _chosen_then(contract: Contract, package: Package) -> dict[str, Any]:
    """What the search of a packaged run chose, by its manifest."""
    words = package.manifest.estimator
    used = {feature.name for feature in package.manifest.features}
    groups = contract.search.leave_out.values() if contract.search else ()
    left_out = [name for group in groups for name in group if name not in used]
    return {"estimator": words["kind"], "parameters": words["parameters"], "leave_out": left_out}


def _watched(package: Package, section: MonitorSection, scratch: Path) -> Path | None:
    """The reference, fitted again; None where the package has none."""
    from kubeloop.monitoring.reference.fitting import fit_reference

    if package.manifest.reference_profile is None:
        return None
    fit_reference(section, scratch / "model", scratch / "development", scratch / "reference")
    return scratch / "reference"


def _packaged(trained: Path, contract: Contract, judged: dict[str, Any], snapshot: str, reference: Path | None) -> str:
    from kubeloop.packaging.build import build

    return build(trained, contract, judged, snapshot, trained.parent / "package", reference)


def _judged(package: Package, test: str) -> dict[str, Any]:
    """What the gate said then: judging again would count as another reading of the test rows."""
    from kubeloop.decisions import Check, decide

    manifest = package.manifest
    said = Check(name="recorded", verdict=manifest.decision.verdict, reason="as recorded")
    metrics = {name: metric.model_dump(mode="json") for name, metric in manifest.metrics.items()}
    return {"metrics": metrics, "decision": decide(manifest.decision.gate, [said]), "test": test}


def _analysis(facts: Mapping[str, Any]) -> str:
    from kubeloop.tracking.finite import plain

    return document_digest(plain({name: facts.get(name) for name in _ANALYSED}))


def _features(development: str | None, test: str | None) -> str:
    return document_digest({"development": development, "test": test})


def _inputs(recorded: Contract, present: Contract, package: Package | None) -> dict[str, list[str]]:
    from kubeloop.registry.compare import changes

    apart = changes(recorded.model_dump(mode="json"), present.model_dump(mode="json"))
    found: dict[str, list[str]] = {}
    if "seed" in apart:
        found["seed"] = [f"it was {recorded.seed}, and is {present.seed}"]
    settings = [f"{key} was {old!r}, and is {new!r}" for key, (old, new) in apart.items() if key != "seed"]
    if settings:
        found["configuration"] = settings
    if package is not None:
        found |= _surroundings(package)
    return found


def _surroundings(package: Package) -> dict[str, list[str]]:
    from kubeloop.packaging.build import cpu_type
    from kubeloop.packaging.libraries import differences, present_environment
    from kubeloop.packaging.sources import sources_here

    manifest, found = package.manifest, {}
    here = sources_here()
    then = {name: digest for name, digest in manifest.code().items() if not name.startswith("code/user/")}
    moved = sorted(name for name in then.keys() | here.keys() if then.get(name) != here.get(name))
    if moved:
        found["code"] = [f"{name.removeprefix('code/')} is another" for name in moved]
    libraries = differences(manifest.environment, present_environment(manifest.environment.libraries))
    if libraries:
        found["library"] = libraries
    host = package.folder / "detached" / "host.json"
    cpu = json.loads(host.read_text(encoding="ascii")).get("cpu") if host.is_file() else None
    if cpu is not None and cpu != cpu_type():
        found["CPU type"] = [f"it was {cpu}, and is {cpu_type()}"]
    return found


def _stage(name: str, then: str | None, now: str | None, inputs: Mapping[str, list[str]]) -> Stage:
    if then == now:
        return Stage(name, then, now, ())
    reached = STAGES.index(name)
    causes = tuple(found for found in INPUTS if found in inputs and STAGES.index(INPUTS[found]) <= reached)
    return Stage(name, then, now, causes)
