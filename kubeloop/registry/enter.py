"""From a trained and judged model to a registered version: what the component `register` does."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract import Contract
from kubeloop.ledger import entries
from kubeloop.packaging.build import build
from kubeloop.packaging.manifest import MANIFEST
from kubeloop.packaging.signing import check
from kubeloop.registry.versions import register
from kubeloop.store import open_engine

if TYPE_CHECKING:
    import sqlalchemy as sa

    from kubeloop.tracking.task import TaskContext


def enter(
    run: "TaskContext",
    contract: Contract,
    data_digest: str,
    evaluation: Mapping[str, Any],
    model: Path,
    out: Path,
    reference: Path | None = None,
) -> dict[str, Any]:
    """Build the package at `out`, publish it, register it.

    Args:
        run: Site, run id and clock.
        contract: All of it.
        data_digest: Digest of the ingested table.
        evaluation: The passing document of `evaluate`.
        model: From `train`.
        out: The package folder; absent or empty.
        reference: From `fit_monitor`; None: the model cannot be watched.

    Returns:
        Facts: name, digest, version, address, mirror, semantic, signature (fingerprint of the key, or `unsigned`).

    Raises:
        KubeloopError: As `build` and `register`.
    """
    engine = open_engine(run.site)
    try:
        judged = {"test": _test_of(engine, run), **evaluation}
        digest = build(model, contract, judged, data_digest, out, reference)
        version = register(engine, run.site, out, run.run_id, run.now)
    finally:
        engine.dispose()
    return {
        "name": version.name,
        "digest": digest,
        "version": version.version,
        "address": version.address,
        "mirror": version.mirror,
        "semantic": version.semantic,
        "signature": check(out, (out / MANIFEST).read_bytes(), run.site),
    }


def _test_of(engine: "sa.Engine", run: "TaskContext") -> str | None:
    """Digest of the test rows that this run was judged on: `evaluate` puts each reading of them into the ledger."""
    for entry in reversed(entries(engine, run.site.namespace, ("test_reading",))):
        if entry.body.get("run") == run.run_id:
            return str(entry.body["test"])
    return None
