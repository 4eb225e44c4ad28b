"""The component `train`."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def train(
    contract: str,
    parameters: str,
    development: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> None:
    """Fit the contract's pipeline on the development rows and cross-validate it over their folds.

    Args:
        contract: TrainSection as escaped canonical JSON.
        parameters: What `tune` chose.
        development: Rows with a `_fold` column; never a test row.
        model: The fitted pipeline (skops), its proven scoring plan, its schema, and how its training rows can be told.
        metrics: Cross-validated means.
        report: The training, for a person.
    """
    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import TrainSection
    from kubeloop.contract.text import decode_document
    from kubeloop.learning.choice import chosen
    from kubeloop.learning.training import train as fit
    from kubeloop.scoring.prepare import prepare
    from kubeloop.tracking.task import task

    with task("train") as run:
        places = (artifacts.place(development), artifacts.place(model))
        run.facts = fit(*chosen(decode(contract, TrainSection), decode_document(parameters)), *places)
        run.facts |= {"scoring_plan": prepare(places[1], places[0])}
        artifacts.log_cross_validation(metrics, run.facts)
        artifacts.write_train_page(report, run.facts)
