"""The component `read_rows`."""

from kfp import dsl
from kfp.dsl import Dataset, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def read_rows(model: str, source: str, rows: Output[Dataset]) -> str:
    """Bring the rows of a file in, with the columns that a registered model needs and no others.

    Args:
        model: NAME (its champion), NAME@VERSION or NAME@DIGEST.
        source: CSV, Parquet or JSON Lines: an address (https, s3, gs) or an absolute path.
        rows: The table; digest, rows and schema in the metadata.

    Returns:
        NAME@DIGEST of the model as it was found: what follows takes this one, whoever is promoted meanwhile.
    """
    from kubeloop.components import artifacts
    from kubeloop.registry.exchange import read_rows as read
    from kubeloop.tracking.task import task

    with task("read_rows") as run:
        run.facts = read(run, model, source, artifacts.place(rows))
        artifacts.describe(rows)
    return f"{run.facts['name']}@{run.facts['digest']}"
