"""The component `write_rows`."""

from kfp import dsl
from kfp.dsl import Dataset, Input


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def write_rows(answers: Input[Dataset], quarantine: Input[Dataset], out: str, quarantine_out: str) -> int:
    """Put the answers of `predict` where somebody waits for them, and the reasons for those that are missing.

    Args:
        answers: From `predict`.
        quarantine: From `predict`.
        out: Where the answers go: an address (s3, gs) or an absolute path, ending in .csv or .parquet.
        quarantine_out: Where the reasons go; empty: beside the answers, as <name>.quarantine.csv. Nothing is there
            where no row was refused.

    Returns:
        Rows that were refused.
    """
    from kubeloop.components.artifacts import place
    from kubeloop.registry.exchange import write_rows as write
    from kubeloop.tracking.task import task

    with task("write_rows") as run:
        run.facts = write(run, place(answers), place(quarantine), out, quarantine_out)
    return int(run.facts["refused"])
