"""The component `tune`."""

from kfp import dsl


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def tune(contract: str) -> str:
    """Choose hyperparameters; without a search in the contract, hand on the contract's own.

    Args:
        contract: TuneSection as escaped canonical JSON.

    Returns:
        The chosen parameters as escaped canonical JSON.
    """
    from kubeloop.contract import decode
    from kubeloop.contract.sections import TuneSection
    from kubeloop.contract.text import encode_document
    from kubeloop.experiments.tuning import choose
    from kubeloop.tracking.task import task

    with task("tune") as run:
        run.facts = choose(decode(contract, TuneSection))
    return encode_document(run.facts["parameters"])
