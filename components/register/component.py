"""The component `register`."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def register(
    contract: str,
    snapshot: str,
    model: Input[Model],
    evaluation: Input[Artifact],
    reference: Input[Artifact],
    package: Output[Model],
) -> str:
    """Build the package, prove it, put it into the package store write-once, and enter it as challenger.

    Args:
        contract: The whole Contract as escaped canonical JSON; the package keeps it.
        snapshot: Digest of the data.
        model: From `train`.
        evaluation: The passing Decision from `evaluate`; anything else is refused.
        reference: From `fit_monitor`: what live rows are held against.
        package: The package, with digest and version in the metadata.

    Returns:
        The package's digest.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import Contract, decode
    from kubeloop.registry.enter import enter
    from kubeloop.tracking.task import task

    with task("register") as run:
        judged = artifacts.read_passing(evaluation)
        places = (artifacts.place(model), artifacts.place(package), artifacts.place(reference))
        run.facts = enter(run, decode(contract, Contract), snapshot, judged, *places)
        package.metadata.update(digest=run.facts["digest"], version=run.facts["version"])
    return str(run.facts["digest"])
