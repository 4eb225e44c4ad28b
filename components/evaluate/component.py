"""The component `evaluate`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def evaluate(
    contract: str,
    model: Input[Model],
    test: Input[Dataset],
    decision: Output[Artifact],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
    report: Output[HTML],
) -> str:
    """Judge the model on the test rows: thresholds, dummy baseline, champion; every number with its interval.

    Args:
        contract: EvaluateSection as escaped canonical JSON.
        model: From `train`.
        test: Rows that neither the search nor the training saw.
        decision: Decision and estimates as JSON.
        metrics: The estimates and the ends of their intervals.
        curves: ROC and confusion matrix.
        report: What the gate saw and decided, for a person.

    Returns:
        The verdict: `pass`, `fail` or `inconclusive`.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import EvaluateSection
    from kubeloop.evaluation.evaluate import evaluate as judge
    from kubeloop.registry.baseline import champion_baseline
    from kubeloop.tracking.task import task

    with task("evaluate") as run:
        section = decode(contract, EvaluateSection)
        baseline = champion_baseline(run.site, section.name)
        readings = artifacts.count_reading(run, section.name, test, section.target.output)
        result = judge(section, artifacts.place(model), artifacts.place(test), baseline, readings)
        run.decision, run.facts = result.decision, result.facts
        artifacts.write_evaluation(decision, metrics, curves, report, model, result)
    return result.decision.verdict
