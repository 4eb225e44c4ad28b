"""What component faces do with their output artifacts: metadata, JSON, metrics, pages.

Applies no kfp decorator: it is imported inside running components, where kfp offers none.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.decisions import Decision
from kubeloop.digests import canonical_json, file_digest
from kubeloop.errors import PermanentError, RefusedError
from kubeloop.tracking.finite import finite

if TYPE_CHECKING:
    from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics

    from kubeloop.evaluation.evaluate import Evaluation
    from kubeloop.tracking.task import TaskContext


def place(artifact: "Artifact") -> Path:
    """Where an artifact lies on this machine."""
    return Path(artifact.path)


def describe(*tables: "Dataset") -> None:
    """Copy digest, rows and schema of tables into their metadata; flat, for KFP keeps nothing else faithfully."""
    for table in tables:
        document = json.loads((place(table) / "table.json").read_text(encoding="ascii"))
        table.metadata.update(
            digest=document["digest"], rows=document["rows"], schema=canonical_json(document["columns"])
        )


def write_decision(artifact: "Artifact", decision: Decision, **more: Any) -> None:
    """Write a Decision, and what else the next task needs of it, as canonical JSON."""
    artifact.metadata.update(gate=decision.gate, verdict=decision.verdict, baseline=decision.baseline)
    document = {"decision": decision.model_dump(mode="json"), **more}
    place(artifact).write_text(canonical_json(document), encoding="ascii")


def read_decision(artifact: "Artifact") -> Decision:
    """The Decision that `write_decision` wrote."""
    return Decision.model_validate(_read(artifact)["decision"])


def read_passing(artifact: "Artifact") -> dict[str, Any]:
    """The whole document of a passing Decision.

    Raises:
        RefusedError: The verdict is not `pass`: whoever wired the pipeline differently does not get past the gate.
    """
    document = _read(artifact)
    decision = Decision.model_validate(document["decision"])
    if decision.verdict != "pass":
        raise RefusedError(
            f"a passing decision of the {decision.gate} gate was expected, got {decision.verdict}",
            "register only what `evaluate` has passed",
        )
    return document


def _read(artifact: "Artifact") -> dict[str, Any]:
    try:
        document = json.loads(place(artifact).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise PermanentError(
            f"a decision was expected in {artifact.name}, but it cannot be read: {error}",
            "run the pipeline again without its cache",
        ) from error
    return dict(document)


def log_cross_validation(metrics: "Metrics", facts: dict[str, Any]) -> None:
    """Cross-validated means as KFP metrics."""
    means = {f"cv_{name}": estimate["mean"] for name, estimate in facts["cv"].items()}
    metrics.metadata.update(finite(means))


def count_reading(run: "TaskContext", name: str, test: "Dataset", target: str) -> int:
    """Enter into the ledger that this run reads these test rows, and return how many runs have, this one included.

    Entered before they are read: a run that fails after a look has looked, too. A run that tries again counts once.
    Rows are known by their table, in any order, or by what happened to them, in order: a feature that is added, dropped
    or moved makes another table of the same rows.
    """
    from kubeloop.data.tables import read_facts
    from kubeloop.ledger import append, entries
    from kubeloop.store import open_engine

    known = {"test": read_facts(place(test)).digest, "truth": _truth(place(test), target)}
    body = {"run": run.run_id, "name": name, **known}
    engine = open_engine(run.site)
    try:
        said = [entry.body for entry in entries(engine, run.site.namespace, ("test_reading",))]
        if body not in said:
            append(engine, run.site.namespace, "test_reading", body, run.now)
    finally:
        engine.dispose()
    same = [found for found in said if any(found.get(word) == digest for word, digest in known.items())]
    return len({found["run"] for found in [*same, body]})


def _truth(table: Path, target: str) -> str:
    """Digest of the target's values in the order of the rows."""
    from kubeloop.data.tables import Stored
    from kubeloop.digests import row_digests

    return f"sha256-{hashlib.sha256(row_digests(Stored(table).select([target])).tobytes()).hexdigest()}"


def write_evaluation(
    decision: "Artifact",
    metrics: "Metrics",
    curves: "ClassificationMetrics",
    report: "HTML",
    model: "Artifact",
    result: "Evaluation",
) -> None:
    """All that `evaluate` hands on: decision with estimates and what was judged against what, metrics, curves, page."""
    champion = result.facts.get("champion") or {}
    write_decision(
        decision,
        result.decision,
        metrics=result.facts["metrics"],
        estimator=file_digest(place(model) / "estimator.skops"),
        champion=champion.get("digest"),
    )
    values: dict[str, Any] = {}
    for name, estimate in result.facts["metrics"].items():
        values |= {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
    metrics.metadata.update(finite(values))
    _log_curves(curves, result.facts.get("curves", {}))
    from kubeloop.reports.sections import evaluation_section, page

    _write_page(report, page("Evaluation", [evaluation_section(result.facts, result.decision)]))


def _log_curves(artifact: "ClassificationMetrics", curves: dict[str, Any]) -> None:
    roc = curves.get("roc")
    if roc:
        artifact.log_roc_curve(roc["fpr"], roc["tpr"], roc["threshold"])
    confusion = curves.get("confusion")
    if confusion:
        artifact.log_confusion_matrix([str(label) for label in confusion["labels"]], confusion["matrix"])


def write_data_page(report: "HTML", facts: dict[str, Any], decision: Decision) -> None:
    """What `validate` found."""
    from kubeloop.reports.sections import data_section, page

    _write_page(report, page("Data", [data_section(facts, decision)]))


def write_split_page(report: "HTML", facts: dict[str, Any]) -> None:
    """How the rows were kept apart."""
    from kubeloop.reports.sections import page, split_section

    _write_page(report, page("Split", [split_section(facts)]))


def write_search_page(report: "HTML", facts: dict[str, Any]) -> None:
    """What was searched, and what came of it."""
    from kubeloop.reports.search_page import search_section
    from kubeloop.reports.sections import page

    _write_page(report, page("Search", [search_section(facts)]))


def choice_text(facts: dict[str, Any]) -> str:
    """What `train` gets of the facts of `tune`, as parameter text."""
    from kubeloop.contract.text import encode_document

    return encode_document({key: facts[key] for key in ("parameters", "estimator", "leave_out") if key in facts})


def write_train_page(report: "HTML", facts: dict[str, Any]) -> None:
    """What was trained."""
    from kubeloop.reports.sections import page, train_section

    _write_page(report, page("Training", [train_section(facts)]))


def write_monitor_page(report: "HTML", facts: dict[str, Any], attached: dict[str, Any] | None = None) -> None:
    """What is watched, and where."""
    from kubeloop.reports.sections import page
    from kubeloop.reports.watch_section import watch_section

    _write_page(report, page("Monitoring", [watch_section(facts, attached)]))


def write_deploy_page(report: "HTML", facts: dict[str, Any]) -> None:
    """Where it serves."""
    from kubeloop.reports.sections import deploy_section, page

    _write_page(report, page("Deployment", [deploy_section(facts)]))


def _write_page(report: "HTML", html: str) -> None:
    place(report).write_text(html, encoding="utf-8")
