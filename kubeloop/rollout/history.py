"""What the ledger says about the promotions of one model: which are open, which champions there were."""

from collections.abc import Iterable
from dataclasses import dataclass

from kubeloop.ledger import Entry

INTENT = "promotion.intent"
PROMOTED = "promotion"
UNDONE = "promotion.undone"
ROLLBACK = "rollback"
"""A rollback is one entry, written before its steps: it is done once the champion row has left its revision."""

MOVES = (INTENT, PROMOTED, UNDONE, ROLLBACK)
"""All kinds of entries that tell of the champion's moves."""


@dataclass(frozen=True)
class Intent:
    """A move of the champion row that the ledger announced.

    Attributes:
        seq: The entry that announced it.
        kind: `promotion.intent` or `rollback`.
        digest: The package that shall be champion.
        previous: The package that was; None for the first.
        revision: The champion row's revision before the move; 0: no row.
        run_id: Who asked.
    """

    seq: int
    kind: str
    digest: str
    previous: str | None
    revision: int
    run_id: str


def open_intents(chain: Iterable[Entry], name: str, revision: int) -> list[Intent]:
    """The announced moves of `name` that nothing ended, the oldest first.

    Args:
        chain: The ledger of the namespace.
        name: The model.
        revision: The champion row's present revision; 0: no row.
    """
    found: dict[int, Intent] = {}
    for entry in chain:
        if entry.body.get("name") != name:
            continue
        if entry.kind in (INTENT, ROLLBACK):
            found[entry.seq] = _intent(entry)
        elif entry.kind in (PROMOTED, UNDONE):
            found.pop(int(entry.body["intent"]), None)
    return [intent for intent in found.values() if intent.kind == INTENT or intent.revision >= revision]


def past_champions(chain: Iterable[Entry], name: str) -> list[str]:
    """The digests one can go back through, the present champion last; a rollback takes one away for good."""
    stack: list[str] = []
    rolled: dict[int, str] = {}
    for entry in chain:
        if entry.body.get("name") != name:
            continue
        if entry.kind == PROMOTED:
            stack.append(entry.body["digest"])
        elif entry.kind == ROLLBACK and stack:
            rolled[entry.seq] = stack.pop()
        elif entry.kind == UNDONE and entry.body["intent"] in rolled:
            stack.append(rolled[entry.body["intent"]])
    return stack


def _intent(entry: Entry) -> Intent:
    body = entry.body
    return Intent(entry.seq, entry.kind, body["digest"], body["previous"], body["revision"], body["run"])
