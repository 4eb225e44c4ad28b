"""The component `clean_up`."""

from kfp import dsl


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def clean_up(contract: str) -> None:
    """Delete what a cancelled search left on the cluster; the last task, whatever became of the run.

    A task that is cancelled has half a second left, too little to do it itself. On a laptop there is nothing to do.

    Args:
        contract: TuneSection as escaped canonical JSON.
    """
    import os

    from kubeloop.contract import decode
    from kubeloop.contract.sections import TuneSection
    from kubeloop.experiments.away import clean_up as delete
    from kubeloop.site import load_site

    section = decode(contract, TuneSection)
    if section.search is not None:
        delete(load_site(), section.name, os.environ.get("KUBELOOP_RUN_ID") or "adhoc")
