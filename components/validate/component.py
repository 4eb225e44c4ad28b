"""The component `validate`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def validate(
    contract: str,
    snapshot: str,
    table: Input[Dataset],
    valid: Output[Dataset],
    quarantine: Output[Dataset],
    decision: Output[Artifact],
    report: Output[HTML],
) -> str:
    """Hold every row against the contract's rules; set the breaking ones aside with their reasons; decide on the rates.

    Args:
        contract: ValidateSection as escaped canonical JSON.
        snapshot: Digest of `table`, so that changed data misses the cache.
        table: The snapshot from `ingest`.
        valid: Rows that keep all rules.
        quarantine: Rows that break a rule, each with its reasons.
        decision: The gate's Decision as JSON.
        report: What was found, for a person.

    Returns:
        The verdict: `pass`, `fail` or `inconclusive`.
    """
    from pathlib import Path

    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import ValidateSection
    from kubeloop.data.validation import judge
    from kubeloop.tracking.task import task

    with task("validate") as run:
        places = (Path(table.path), Path(valid.path), Path(quarantine.path))
        run.decision, run.facts = judge(decode(contract, ValidateSection), *places, run.site, run.now)
        artifacts.describe(valid, quarantine)
        artifacts.write_decision(decision, run.decision)
        artifacts.write_data_page(report, run.facts, run.decision)
    return run.decision.verdict
