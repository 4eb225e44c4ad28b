"""Make a challenger the champion; bring all records together again; go back to the champion before."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubeloop.errors import InputError, RefusedError
from kubeloop.ledger import entries
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import fetch
from kubeloop.registry.champions import ChampionRow, champion
from kubeloop.registry.versions import Version, judged_against, version_of
from kubeloop.rollout.history import INTENT, MOVES, ROLLBACK, Intent, open_intents, past_champions
from kubeloop.rollout.steps import Apply, Rollout, agrees, announce, carry_out, mirrored, proven, restore, settle
from kubeloop.site.model import Site
from kubeloop.store import lock, open_engine

LOCK_WAIT_S = 300.0
"""How long a promotion waits for another one of the same model."""


def promote(site: Site, name: str, digest: str, run_id: str, apply: Apply, now: dt.datetime) -> dict[str, Any]:
    """Make a registered package the champion, in steps that any later call can finish or undo.

    Args:
        site: Where.
        name: The model.
        digest: A registered version that passed its gate.
        run_id: Who asks.
        apply: Makes the endpoint serve a package folder; returns facts once the golden requests were answered.
        now: Aware.

    Returns:
        Facts: name, digest, version, address, previous, revision, outcome (`promoted` | `already champion`), mirror,
        and what `apply` found.

    Raises:
        RefusedError: The gate did not pass it, it was judged against another champion, or another promotion won.
        InputError: The digest is no version of the model.
        IntegrityError: The package is missing or altered.
        TransientError: Another promotion of the model did not end in time.
        KubeloopError: What `apply` raised; the champion is as before.
    """
    with _rolling(site, name, apply, now, f"promoting {name}") as (move, overtaken):
        version = _registered(move, digest)
        row = _settled(move)
        if row and row.digest == digest and agrees(move, row):
            proven(site, digest)
            return _facts(version, row, row.digest, "already champion", "done")
        if overtaken:
            raise _overtaken(name, digest, row)
        _may_follow(move, digest, row)
        intent = announce(move, INTENT, digest, row, run_id)
        proof, mirror = carry_out(move, intent)
        return {
            **proof,
            **_facts(version, champion(move.engine, move.namespace, name), intent.previous, "promoted", mirror),
        }


def reconcile(site: Site, name: str, apply: Apply, now: dt.datetime, *, again: bool = False) -> dict[str, Any]:
    """Finish or undo what stopped half-way, until ledger, desired record, endpoint and champion row agree.

    Args:
        site: Where.
        name: The model.
        apply: As for `promote`.
        now: Aware.
        again: Tell the endpoint also where the records agree: it may have been changed behind their back.

    Returns:
        Facts: name, champion (digest or None), actions (a sentence each; empty if all agreed already), mirror.

    Raises:
        KubeloopError: The champion's package is not whole, or the endpoint could not be told.
    """
    with _rolling(site, name, apply, now, f"reconciling {name}") as (move, _):
        actions = [settle(move, intent) for intent in _open(move)]
        row = champion(move.engine, move.namespace, name)
        if not agrees(move, row) or (again and row):
            restore(move)
            actions.append("told the endpoint to serve the champion" if row else "forgot what never came to serve")
        mirror = mirrored(move, row.digest) if row else ""
        return {"name": name, "champion": row.digest if row else None, "actions": actions, "mirror": mirror}


def rollback(site: Site, name: str, apply: Apply, now: dt.datetime, run_id: str = "adhoc") -> dict[str, Any]:
    """Go back to the champion before the present one, by the ledger; called again, to the one before that.

    Args:
        site: Where.
        name: The model.
        apply: As for `promote`.
        now: Aware.
        run_id: Who asks.

    Returns:
        Facts as `promote`, with outcome `rolled back`.

    Raises:
        InputError: There is no champion before the present one.
        KubeloopError: As `promote`.
    """
    with _rolling(site, name, apply, now, f"rolling {name} back") as (move, overtaken):
        row = _settled(move)
        past = past_champions(entries(move.engine, move.namespace, MOVES), name)
        if overtaken:
            raise _overtaken(name, "the champion before", row)
        if row is None or len(past) < 2:
            raise InputError(
                f"a champion before the present one was expected for {name}, but there is none",
                "promote another version; `kubeloop versions` lists them",
                name=name,
            )
        version = _registered(move, past[-2])
        proof, mirror = carry_out(move, announce(move, ROLLBACK, past[-2], row, run_id))
        after = champion(move.engine, move.namespace, name)
        return {**proof, **_facts(version, after, row.digest, "rolled back", mirror)}


@contextmanager
def _rolling(site: Site, name: str, apply: Apply, now: dt.datetime, what: str) -> Iterator[tuple[Rollout, bool]]:
    """The rollout lock of a model, and whether the champion row moved while this call waited for it."""
    engine = open_engine(site)
    try:
        before = champion(engine, site.namespace, name)
        with lock(site, f"rollout-{name}", LOCK_WAIT_S, what):
            yield Rollout(engine, site, name, apply, now), champion(engine, site.namespace, name) != before
    finally:
        engine.dispose()


def _open(move: Rollout) -> list[Intent]:
    row = champion(move.engine, move.namespace, move.name)
    return open_intents(entries(move.engine, move.namespace, MOVES), move.name, row.revision if row else 0)


def _settled(move: Rollout) -> ChampionRow | None:
    """The champion row, once everything that stopped half-way is finished or undone."""
    for intent in _open(move):
        settle(move, intent)
    return champion(move.engine, move.namespace, move.name)


def _registered(move: Rollout, digest: str) -> Version:
    version = version_of(move.engine, move.namespace, move.name, digest)
    if version is None:
        raise InputError(
            f"{digest} was expected to be a registered version of {move.name}, but it is none",
            "register it first; `kubeloop versions` lists what there is",
            digest=digest,
        )
    return version


def _may_follow(move: Rollout, digest: str, row: ChampionRow | None) -> None:
    """See that the gate passed this package, and against the very champion that it would replace."""
    manifest = read_package(fetch(move.site, digest), digest, move.site).manifest
    if manifest.decision.verdict != "pass":
        raise RefusedError(
            f"the gate said {manifest.decision.verdict} to {digest[7:19]}; only what passed is promoted",
            "mend the data or the model and run again",
            digest=digest,
        )
    judged = judged_against(move.engine, move.namespace, move.name, digest)
    known = judged.get("baseline") == "none_yet" or judged.get("champion")
    if known and row and row.digest not in (judged.get("champion"), digest):
        against = str(judged["champion"])[7:19] if judged.get("champion") else "no champion"
        raise RefusedError(
            f"{digest[7:19]} was judged against {against}, and the champion of {move.name} is {row.digest[7:19]} now",
            "run again: the challenger is then judged against the present champion",
            digest=digest,
            champion=row.digest,
        )


def _overtaken(name: str, wanted: str, row: ChampionRow | None) -> RefusedError:
    return RefusedError(
        f"while {wanted[7:19] if wanted.startswith('sha256-') else wanted} waited to become champion of {name}, "
        f"another move ended: the champion is {row.digest[7:19] if row else 'none'} now",
        "run again: the challenger is then judged against the present champion",
        name=name,
    )


def _facts(
    version: Version, row: ChampionRow | None, previous: str | None, outcome: str, mirror: str
) -> dict[str, Any]:
    return {
        "name": version.name,
        "digest": version.digest,
        "version": version.version,
        "address": version.address,
        "previous": previous,
        "revision": row.revision if row else 0,
        "outcome": outcome,
        "mirror": mirror,
    }
