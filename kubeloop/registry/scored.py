"""A table scored by a registered model: what the component `predict` does."""

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.data.tables import PART, read_facts, write_table
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.find import find
from kubeloop.scoring.batch import score_file
from kubeloop.scoring.scorer import load_scorer
from kubeloop.store import open_engine

if TYPE_CHECKING:
    from kubeloop.packaging.package import Package
    from kubeloop.site import Site
    from kubeloop.tracking.task import TaskContext


def named(site: "Site", model: str) -> "Package":
    """The package that a person means, every byte of it verified.

    Args:
        site: Whose registry.
        model: NAME (its champion), NAME@VERSION or NAME@DIGEST.

    Raises:
        InputError: There is no such model.
        IntegrityError: The package is not what its digest says.
    """
    name, _, which = model.partition("@")
    engine = open_engine(site)
    try:
        digest = find(engine, site.namespace, name, which or "champion").digest
    finally:
        engine.dispose()
    return read_package(fetch(site, digest), digest, site)


def score(run: "TaskContext", model: str, rows: Path, answers: Path, quarantine: Path) -> dict[str, Any]:
    """Score a table.

    On a Site with a folder of its own, batches that are done outlive the task: the same run goes on after them.

    Args:
        run: Site and run id.
        model: NAME, NAME@VERSION or NAME@DIGEST.
        rows: The table.
        answers: Folder of the answers, as `scoring.batch.score_file` writes them, as a table.
        quarantine: Folder of a table of the refused rows: row (from 1), column, reason.

    Returns:
        Facts: name, digest, rows, refused, taken_up, evaluator.

    Raises:
        InputError: There is no such model, or a column is missing.
        IntegrityError: The package is not what its digest says.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    package = named(run.site, model)
    digest = package.digest
    known = read_facts(rows).digest
    key = hashlib.sha256(f"{run.run_id} {digest} {known}".encode()).hexdigest()[:32]
    with tempfile.TemporaryDirectory(prefix="kubeloop-predict-") as scratch:
        out = Path(scratch) / "answers.parquet"
        work = (run.site.home or Path(scratch)) / "scoring" / key
        scored = score_file(package, load_scorer(package), rows / PART, out, work=(work, known))
        with pq.ParquetFile(out) as file:
            write_table(pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches()), answers)
        refused = pa.table(
            {"row": pa.array([], pa.int64()), "column": pa.array([], pa.string()), "reason": pa.array([], pa.string())}
        )
        if scored.quarantine is not None:
            refused = pc.read_csv(scored.quarantine, convert_options=pc.ConvertOptions(column_types=refused.schema))
        write_table(refused, quarantine)
    return {
        "name": package.name,
        "digest": digest,
        "rows": scored.rows,
        "refused": scored.refused,
        "taken_up": scored.taken_up,
        "evaluator": scored.evaluator,
    }
