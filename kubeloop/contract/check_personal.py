"""What a personal column cannot be: its values stay at the source, and later tasks know at most which are equal."""

from collections.abc import Iterator

from kubeloop.contract.expressions import columns_of
from kubeloop.contract.findings import Path, Problem
from kubeloop.contract.model import Contract
from kubeloop.errors import InputError

_EXPECTED = "a column that is not personal, or policy audit_only"


def check_personal(c: Contract) -> Iterator[Problem]:
    """Columns under policy `pii` where a value would have to be seen after `ingest`."""
    personal = {name for name, column in c.data.columns.items() if column.policy == "pii"}
    if not personal:
        return
    roles: list[tuple[Path, str | None, str]] = [
        (("data", "time"), c.data.time, "the time of a row"),
        (("target", "column"), c.target.column, "the target"),
    ]
    if c.split.by in ("stratified", "column"):
        roles.append((("split", "column"), c.split.column, f"the column of a split by {c.split.by}"))
    if (share := c.data.checks.group_share_at_least) is not None:
        roles.append((("data", "checks", "group_share_at_least", "column"), share.column, "a group that is counted"))
    if c.gate.blocks not in (*c.data.id, c.data.group, c.data.site, c.split.column):
        roles.append((("gate", "blocks"), c.gate.blocks, "a block, unless it is `data.group` too"))
    expressions: list[tuple[Path, str]] = [
        (("slices", place, "where"), each.where) for place, each in enumerate(c.slices)
    ]
    if c.business is not None:
        kpis = enumerate(c.business.kpis)
        expressions += [(("business", "kpis", place, "expression"), kpi.expression) for place, kpi in kpis]
    for path, text in expressions:
        roles += [(path, name, "asked for in the finished tables") for name in sorted(_names(text) & personal)]
    for path, name, what in roles:
        if name in personal:
            message = f"{name!r} is under policy pii, so no task after `ingest` sees its values: it cannot be {what}"
            yield Problem(path, message, _EXPECTED, str(name))


def _names(text: str) -> set[str]:
    try:
        return set(columns_of(text))
    except InputError:  # said where the expression itself is looked at
        return set()
