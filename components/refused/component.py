"""The component `refused`."""

from kfp import dsl
from kfp.dsl import Artifact, Input


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def refused(decision: Input[Artifact]) -> None:
    """End the run red, with the gate's reasons: a refused run must not look like a success.

    Args:
        decision: The Decision of the gate that did not pass.

    Raises:
        RefusedError: Always, with the gate's reasons.
    """
    from kubeloop.components.artifacts import read_decision
    from kubeloop.errors import RefusedError
    from kubeloop.tracking.task import task

    with task("refused") as run:
        run.decision = read_decision(decision)
        reasons = "".join(f"\n  - {reason}" for reason in run.decision.reasons)
        problem = f"the {run.decision.gate} gate said {run.decision.verdict}:{reasons}"
        raise RefusedError(problem, "read the report of this run; mend the data or the model, then run again")
