"""The component `tune`."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def tune(
    contract: str,
    train_contract: str,
    development: Input[Dataset],
    trials: Output[Dataset],
    report: Output[HTML],
) -> str:
    """Search hyperparameters on the development rows; without a search in the contract, hand on the contract's own.

    Args:
        contract: TuneSection as escaped canonical JSON.
        train_contract: TrainSection as escaped canonical JSON: what a trial trains.
        development: Rows with a `_fold` column; never a test row.
        trials: A row for each trial; empty without a search.
        report: The search, for a person.

    Returns:
        The choice as escaped canonical JSON: parameters, and where a search chose, estimator and columns to leave out.
    """
    from pathlib import Path

    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import TrainSection, TuneSection
    from kubeloop.experiments.tuning import tune as search
    from kubeloop.tracking.task import task

    with task("tune") as run:
        sections = decode(contract, TuneSection), decode(train_contract, TrainSection)
        run.facts = search(*sections, Path(development.path), Path(trials.path), run.site, run.run_id, run.tell)
        artifacts.write_search_page(report, run.facts)
    return artifacts.choice_text(run.facts)
