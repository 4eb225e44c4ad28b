"""The steps of a promotion, and what finishes or undoes one that stopped between two of them.

Order: intent in the ledger, apply, desired record, champion row, alias, ledger. Whoever holds the rollout lock of a
model may take them; the champion row's revision stops whoever does not. After any stop the champion row is the truth:
an open intent whose row has moved is finished; any other is undone, or carried out if there is nothing to go back to.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kubeloop.errors import KubeloopError
from kubeloop.ledger import append, mark_head
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import ChampionRow, champion, move_champion
from kubeloop.registry.mirror import mirror_alias
from kubeloop.registry.versions import version_of
from kubeloop.rollout.desired import desired, want, want_nothing
from kubeloop.rollout.history import INTENT, PROMOTED, UNDONE, Intent
from kubeloop.site.model import Site

Apply = Callable[[Path], dict[str, Any]]
"""Makes the endpoint serve the package in a folder; returns once it is ready and has answered the golden requests."""


_STILL_OPEN = "undo"
"""The key in an error's context that says why a failed move could not be undone either."""


def answered_here(site: Site) -> Apply:
    """An `Apply` for a package that served before: its golden requests are answered in this process, without a boot.

    A rollback cannot wait for a server. Whoever follows the champion row replays them over the wire before it switches.
    What it returns raises IntegrityError where the package is altered, or answers otherwise than when it was judged.
    """

    def apply(folder: Path) -> dict[str, Any]:
        package = read_package(folder, site=site)
        apart = package.prove()
        return {"golden": len(package.golden.requests), "max_difference": apart, "protocols": ["in process"]}

    return apply


@dataclass(frozen=True)
class Rollout:
    """One model whose rollout lock is held.

    Attributes:
        engine: Of the Site.
        site: Where.
        name: The model.
        apply: How its endpoint is told.
        now: The clock of this command, aware.
    """

    engine: sa.Engine
    site: Site
    name: str
    apply: Apply
    now: dt.datetime

    @property
    def namespace(self) -> str:
        """Whose registry and ledger."""
        return self.site.namespace


def announce(move: Rollout, kind: str, digest: str, row: ChampionRow | None, run_id: str) -> Intent:
    """Step 1: say in the ledger what shall happen."""
    previous, revision = (row.digest, row.revision) if row else (None, 0)
    body = {"name": move.name, "digest": digest, "previous": previous, "revision": revision, "run": run_id}
    entry = append(move.engine, move.namespace, kind, body, move.now)
    mark_head(move.engine, move.site)
    return Intent(entry.seq, kind, digest, previous, revision, run_id)


def carry_out(move: Rollout, intent: Intent) -> tuple[dict[str, Any], str]:
    """Steps 2 to 6; a step that fails is undone.

    Returns:
        What `apply` found, and how the mirror went.

    Raises:
        KubeloopError: A step failed; all is as before, or the intent stays open where that failed too.
    """
    try:
        proof = move.apply(proven(move.site, intent.digest))
        want(move.engine, move.namespace, move.name, intent.digest, intent.revision + 1, move.now)
        move_champion(move.engine, move.namespace, move.name, intent.digest, intent.revision, move.now)
    except KubeloopError as error:
        _undo_after(move, intent, error)
        raise
    return proof, conclude(move, intent)


def conclude(move: Rollout, intent: Intent) -> str:
    """Steps 5 and 6, once the row has moved: mirror the alias, end the intent; gives the mirror's word."""
    mirror = mirrored(move, intent.digest)
    if intent.kind == INTENT:
        _end(move, PROMOTED, intent, {"revision": intent.revision + 1, "mirror": mirror})
    return mirror


def mirrored(move: Rollout, digest: str) -> str:
    """Move MLflow's champion alias; gives `done` or why it could not be moved."""
    version = version_of(move.engine, move.namespace, move.name, digest)
    return mirror_alias(move.site, move.name, "champion", version.version) if version else "failed: no such version"


def settle(move: Rollout, intent: Intent) -> str:
    """Finish or undo a move that stopped between two steps; gives which, in a sentence.

    Raises:
        KubeloopError: The endpoint could not be told; the intent stays open.
    """
    row = champion(move.engine, move.namespace, move.name)
    short = intent.digest[7:19]
    if row and (row.digest, row.revision) == (intent.digest, intent.revision + 1):
        conclude(move, intent)
        return f"finished the promotion of {short}"
    if intent.revision == (row.revision if row else 0) and (row is None or intent.kind != INTENT):
        # Nothing to go back to, or a rollback that somebody needs: both go forward.
        try:
            carry_out(move, intent)
        except KubeloopError as error:
            if _STILL_OPEN in error.context:
                raise
            return f"undid the move to {short}: {error.problem}"
        return f"carried out the move to {short}"
    undo(move, intent, "it stopped half-way")
    return f"undid the promotion of {short}"


def undo(move: Rollout, intent: Intent, reason: str) -> None:
    """Bring endpoint and desired record back to the champion row, then end the intent."""
    restore(move)
    _end(move, UNDONE, intent, {"reason": reason})


def restore(move: Rollout) -> None:
    """Make the endpoint serve what the champion row says; with no row the desired record goes."""
    row = champion(move.engine, move.namespace, move.name)
    if row is None:
        want_nothing(move.engine, move.namespace, move.name)
        return
    move.apply(proven(move.site, row.digest))
    want(move.engine, move.namespace, move.name, row.digest, row.revision, move.now)


def agrees(move: Rollout, row: ChampionRow | None) -> bool:
    """Whether the desired record says what the champion row says."""
    told = desired(move.engine, move.namespace, move.name)
    if row is None or told is None:
        return row is None and told is None
    return (told.digest, told.revision) == (row.digest, row.revision)


def proven(site: Site, digest: str) -> Path:
    """The package's folder, every byte verified.

    Raises:
        IntegrityError: It is missing, altered, or the libraries here answer otherwise.
    """
    return read_package(fetch(site, digest), digest, site).folder


def _undo_after(move: Rollout, intent: Intent, error: KubeloopError) -> None:
    try:
        undo(move, intent, error.problem)
    except KubeloopError as second:
        error.context[_STILL_OPEN] = f"{second.problem}; `reconcile` will try again"


def _end(move: Rollout, kind: str, intent: Intent, more: dict[str, Any]) -> None:
    body = {
        "name": move.name,
        "digest": intent.digest,
        "previous": intent.previous,
        "run": intent.run_id,
        "intent": intent.seq,
    }
    append(move.engine, move.namespace, kind, {**body, **more}, move.now)
    mark_head(move.engine, move.site)
