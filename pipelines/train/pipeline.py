"""The train pipeline: from the sources to the endpoint, with what is watched there."""

from functools import partial

from kfp import dsl

from kubeloop.components.attach_monitor import attach_monitor
from kubeloop.components.clean_up import clean_up
from kubeloop.components.deploy import deploy
from kubeloop.components.evaluate import evaluate
from kubeloop.components.fit_monitor import fit_monitor
from kubeloop.components.ingest import ingest
from kubeloop.components.refused import refused
from kubeloop.components.register import register
from kubeloop.components.split import split
from kubeloop.components.train import train
from kubeloop.components.tune import tune
from kubeloop.components.validate import validate
from kubeloop.pipelines.placing import place

MINUTE = 60


@dsl.pipeline(
    name="kubeloop-train",
    description="From a table to a served model, past two gates that can say no.",
)
def train_pipeline(  # noqa: PLR0913 - a pipeline's parameters are its form in the Kubeflow UI
    ingest_contract: str,
    validate_contract: str,
    split_contract: str,
    tune_contract: str,
    train_contract: str,
    evaluate_contract: str,
    monitor_contract: str,
    register_contract: str,
    deploy_contract: str,
    site: str = "kubeloop",
    cpu: str = "1",
    memory: str = "2Gi",
) -> None:
    """Compose the loop.

    Args:
        ingest_contract: Section for `ingest`; like all sections escaped canonical JSON.
        validate_contract: Section for `validate`.
        split_contract: Section for `split`.
        tune_contract: Section for `tune`.
        train_contract: Section for `train`.
        evaluate_contract: Section for `evaluate`.
        monitor_contract: Section for `fit_monitor` and `attach_monitor`.
        register_contract: The whole contract, which the package keeps.
        deploy_contract: Section for `deploy`.
        site: Name of the ConfigMap and the Secret that describe the site.
        cpu: CPU limit of every task.
        memory: Memory limit of every task.
    """
    here = partial(place, site=site, cpu=cpu, memory=memory)
    pure = partial(here, cached=True)
    world = partial(here, cached=False)

    def refuse(gate: dsl.PipelineTask) -> None:
        with dsl.Elif(gate.outputs["Output"] == "inconclusive", name="inconclusive"):
            world(refused(decision=gate.outputs["decision"]), timeout_s=10 * MINUTE)
        with dsl.Else(name="not-passed"):
            world(refused(decision=gate.outputs["decision"]), timeout_s=10 * MINUTE)

    # A cancelled task has half a second left, so what it made on the cluster is taken away here.
    last = world(clean_up(contract=tune_contract), timeout_s=10 * MINUTE)
    with dsl.ExitHandler(last, name="loop"):
        ingested = world(ingest(contract=ingest_contract), timeout_s=60 * MINUTE)
        snapshot = ingested.outputs["Output"]
        validated = world(
            validate(contract=validate_contract, snapshot=snapshot, table=ingested.outputs["table"]),
            timeout_s=60 * MINUTE,
        )
        with dsl.If(validated.outputs["Output"] == "pass", name="data-passed"):
            parted = pure(
                split(contract=split_contract, snapshot=snapshot, table=validated.outputs["valid"]),
                timeout_s=60 * MINUTE,
            )
            tuned = pure(
                tune(
                    contract=tune_contract,
                    train_contract=train_contract,
                    development=parted.outputs["development"],
                ),
                timeout_s=24 * 60 * MINUTE,
            )
            trained = pure(
                train(
                    contract=train_contract,
                    parameters=tuned.outputs["Output"],
                    development=parted.outputs["development"],
                ),
                timeout_s=120 * MINUTE,
            )
            evaluated = world(
                evaluate(
                    contract=evaluate_contract,
                    model=trained.outputs["model"],
                    test=parted.outputs["test"],
                ),
                timeout_s=60 * MINUTE,
            )
            with dsl.If(evaluated.outputs["Output"] == "pass", name="model-passed"):
                watched = pure(
                    fit_monitor(
                        contract=monitor_contract,
                        model=trained.outputs["model"],
                        development=parted.outputs["development"],
                    ),
                    timeout_s=60 * MINUTE,
                )
                registered = world(
                    register(
                        contract=register_contract,
                        snapshot=snapshot,
                        model=trained.outputs["model"],
                        evaluation=evaluated.outputs["decision"],
                        reference=watched.outputs["reference"],
                    ),
                    timeout_s=20 * MINUTE,
                )
                attached = world(
                    attach_monitor(contract=monitor_contract, package=registered.outputs["Output"]),
                    timeout_s=30 * MINUTE,
                )
                world(
                    deploy(contract=deploy_contract, package=attached.outputs["Output"]),
                    timeout_s=30 * MINUTE,
                )
            refuse(evaluated)
        refuse(validated)
