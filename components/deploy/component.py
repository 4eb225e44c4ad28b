"""The component `deploy`."""

from kfp import dsl
from kfp.dsl import HTML, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def deploy(contract: str, package: str, report: Output[HTML]) -> str:
    """Serve the package, replay its golden requests over the wire, and make it champion if it answers exactly.

    On a Site with a cluster it is served there, as an InferenceService; elsewhere it is booted on this machine.

    Args:
        contract: DeploySection as escaped canonical JSON.
        package: Digest of a registered package.
        report: Where it serves and what was proven, for a person.

    Returns:
        The digest that serves now.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import DeploySection
    from kubeloop.rollout.promotion import promote
    from kubeloop.serving.on_cluster import endpoint_of
    from kubeloop.tracking.task import task

    with task("deploy") as run:
        section = decode(contract, DeploySection)
        apply = endpoint_of(run.site, section.name, section.serving.answers)
        run.facts = promote(run.site, section.name, package, run.run_id, apply, run.now)
        artifacts.write_deploy_page(report, run.facts)
    return package
