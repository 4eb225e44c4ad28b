"""The component `ingest`."""

from kfp import dsl
from kfp.dsl import Dataset, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def ingest(contract: str, table: Output[Dataset]) -> str:
    """Read the contract's sources, join them, derive the target, and keep the result as an immutable snapshot.

    Args:
        contract: IngestSection as escaped canonical JSON (`kubeloop compile --arguments` writes it).
        table: The snapshot: a directory of Parquet parts and `table.json`; digest, rows and schema in the metadata.

    Returns:
        The snapshot's digest; a parameter of what follows, so that changed data misses every cache.
    """
    from pathlib import Path

    from kubeloop.components.artifacts import describe
    from kubeloop.contract import decode
    from kubeloop.contract.sections import IngestSection
    from kubeloop.data.ingest import ingest as read
    from kubeloop.tracking.task import task

    with task("ingest") as run:
        section = decode(contract, IngestSection)
        run.facts = {"name": section.name} | read(section, run.site, Path(table.path), run.now)
        describe(table)
    return str(run.facts["digest"])
