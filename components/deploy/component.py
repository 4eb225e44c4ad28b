"""The component `deploy`."""

from kfp import dsl
from kfp.dsl import HTML, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def deploy(contract: str, package: str, report: Output[HTML]) -> str:
    """Boot the package behind a real server, replay its golden requests, and make it champion if it answers exactly.

    Args:
        contract: DeploySection as escaped canonical JSON.
        package: Digest of a registered package.
        report: Where it serves and what was proven, for a person.

    Returns:
        The digest that serves now.
    """
    from functools import partial

    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import DeploySection
    from kubeloop.rollout.promotion import promote
    from kubeloop.serving.trial import trial
    from kubeloop.tracking.task import task

    with task("deploy") as run:
        section = decode(contract, DeploySection)
        proof = partial(trial, name=section.name, answers=section.serving.answers)
        run.facts = promote(run.site, section.name, package, run.run_id, proof, run.now)
        artifacts.write_deploy_page(report, run.facts)
    return package
