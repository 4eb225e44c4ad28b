"""The component `labels`."""

from kfp import dsl


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def labels(contract: str) -> int:
    """Take what came true from the contract's source of labels into the log, where it is joined to what was predicted.

    Run it as often as labels come: what is there already is not taken twice, another value is a correction.

    Args:
        contract: LabelsSection as escaped canonical JSON.

    Returns:
        How many labels were new or corrected.
    """
    from kubeloop.contract import decode
    from kubeloop.contract.sections import LabelsSection
    from kubeloop.monitoring.labels.taking import take_from_source
    from kubeloop.tracking.task import task

    with task("labels") as run:
        section = decode(contract, LabelsSection)
        run.facts = take_from_source(run.site, section.name, section.labels, run.now)
    return int(run.facts["new"]) + int(run.facts["corrected"])
