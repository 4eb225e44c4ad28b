"""The component `predict`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def predict(model: str, rows: Input[Dataset], answers: Output[Dataset], quarantine: Output[Dataset]) -> str:
    """Score a table in batches, in bounded memory, with the answers that the endpoint would give.

    A task that was killed and is tried again in the same run goes on where it stopped.

    Args:
        model: NAME (its champion), NAME@VERSION or NAME@DIGEST.
        rows: A table with the model's columns; further ones are left out.
        answers: Row by row `prediction`, and `probability_<class>` for each class; null where a row was refused.
        quarantine: Of each refused row its number from 1, the column and the reason.

    Returns:
        The digest of the package that answered.
    """
    from kubeloop.components import artifacts
    from kubeloop.registry.scored import score
    from kubeloop.tracking.task import task

    with task("predict") as run:
        run.facts = score(run, model, artifacts.place(rows), artifacts.place(answers), artifacts.place(quarantine))
        artifacts.describe(answers, quarantine)
    return str(run.facts["digest"])
