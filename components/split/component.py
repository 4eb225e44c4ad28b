"""The component `split`."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output


@dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
def split(
    contract: str,
    snapshot: str,
    table: Input[Dataset],
    development: Output[Dataset],
    test: Output[Dataset],
    report: Output[HTML],
) -> None:
    """Keep test rows apart from development rows by a hash that no added row can move.

    Args:
        contract: SplitSection as escaped canonical JSON.
        snapshot: Digest of the snapshot that `table` came from.
        table: Valid rows.
        development: Rows for the search and the training, with a `_fold` column.
        test: Rows that only `evaluate` reads.
        report: The split, for a person.
    """
    from pathlib import Path

    from kubeloop.components import artifacts
    from kubeloop.contract import decode
    from kubeloop.contract.sections import SplitSection
    from kubeloop.data.splitting import split as part
    from kubeloop.tracking.task import task

    with task("split") as run:
        places = (Path(table.path), Path(development.path), Path(test.path))
        run.facts = part(decode(contract, SplitSection), *places)
        artifacts.describe(development, test)
        artifacts.write_split_page(report, run.facts)
