"""The component `attach_monitor`."""

from kfp import dsl
from kfp.dsl import HTML, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def attach_monitor(contract: str, package: str, report: Output[HTML]) -> str:
    """Have a package watched where it will serve, before it does: on a cluster its detector service comes up.

    KServe's logger sends to that service from the first deployment on. On a Site without a cluster nothing runs yet:
    `kubeloop serve NAME --monitor` watches there.

    Args:
        contract: MonitorSection as escaped canonical JSON.
        package: Digest of a registered package.
        report: What is watched, and where, for a person.

    Returns:
        The digest, for `deploy`.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import MonitorSection
    from kubeloop.serving.attaching import attach
    from kubeloop.tracking.task import task

    with task("attach_monitor") as run:
        run.facts = attach(run.site, decode(contract, MonitorSection).name, package)
        artifacts.write_monitor_page(report, {}, run.facts)
    return package
