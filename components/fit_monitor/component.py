"""The component `fit_monitor`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def fit_monitor(
    contract: str,
    model: Input[Model],
    development: Input[Dataset],
    reference: Output[Artifact],
    report: Output[HTML],
) -> None:
    """Fit what live rows of a model will be held against: counts in bins, and what chance does to them; never a row.

    Args:
        contract: MonitorSection as escaped canonical JSON.
        model: From `train`, with what its folds answered to rows that they had not learned from.
        development: The rows that taught it; never a test row.
        reference: The reference profile, which `register` puts into the package.
        report: What is watched, at which rate of false alarms, and what cannot be told, for a person.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import MonitorSection
    from kubeloop.monitoring.reference.fitting import fit_reference
    from kubeloop.tracking.task import task

    with task("fit_monitor") as run:
        places = (artifacts.place(model), artifacts.place(development), artifacts.place(reference))
        run.facts = fit_reference(decode(contract, MonitorSection), *places)
        artifacts.write_monitor_page(report, run.facts)
