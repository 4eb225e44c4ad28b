"""A look at the data before a run: what its first steps would refuse, without leaving anything behind."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract.sections import Sections
from kubeloop.data.history import last_snapshot
from kubeloop.data.ingest import ingest
from kubeloop.data.mended import mended_rows
from kubeloop.data.splitting import split
from kubeloop.data.validation import validate
from kubeloop.decisions import Decision
from kubeloop.errors import InputError

if TYPE_CHECKING:
    from kubeloop.site import Site


@dataclass(frozen=True)
class Look:
    """What a run would find.

    Attributes:
        facts: Of `validate`.
        decision: Of the gate `data`.
        parts: Of `split`; None where the gate would not let a run come so far, or the split refuses.
        refusal: Why the split refuses; None where it does not.
    """

    facts: dict[str, Any]
    decision: Decision
    parts: dict[str, Any] | None
    refusal: InputError | None

    @property
    def passes(self) -> bool:
        """Whether a run would go on to training."""
        return self.parts is not None


def look(sections: Sections, site: "Site", scratch: Path, moment: dt.datetime) -> Look:
    """Read the sources, judge the table and part it, as a run does; the snapshot is not remembered.

    Args:
        sections: Of the contract.
        site: Whose last snapshot and mended rows count.
        scratch: An empty folder for tables, to be removed afterwards.
        moment: The moment of the look, UTC.

    Raises:
        InputError: What a source or the contract says cannot be right.
        TransientError: A source did not come whole.
    """
    table, valid = scratch / "table", scratch / "valid"
    ingest(sections.ingest, site, table, moment)
    section = sections.validation
    last, mended = last_snapshot(site, section.name), mended_rows(site, section.name)
    decision, facts = validate(section, table, valid, scratch / "quarantine", moment, last, mended)
    if decision.verdict != "pass":
        return Look(facts, decision, None, None)
    try:
        parts = split(sections.split, valid, scratch / "development", scratch / "test")
    except InputError as error:
        return Look(facts, decision, None, error)
    return Look(facts, decision, parts, None)
