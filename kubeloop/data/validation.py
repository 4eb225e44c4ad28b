"""The data gate: rows that break a rule are set aside, and the gate decides on how many there are."""

# ruff: noqa: S608 - names go through `quoted`, values through `literal`

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from shutil import copyfile as copy
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kubeloop.contract.sections import ValidateSection
from kubeloop.data.casting import MARKS
from kubeloop.data.engine import BATCH_ROWS, batches, connect, literal, one, quoted, scan
from kubeloop.data.history import LastSnapshot, keep_if_passed, last_snapshot
from kubeloop.data.mended import mended_rows, replay, with_digest
from kubeloop.data.rules import Rule, rules_of
from kubeloop.data.table_checks import Aggregates, Seen, snapshot_checks
from kubeloop.data.tables import FACTS, PART, Stored, TableFacts, read_facts, staged, write_parts
from kubeloop.data.valid_checks import valid_checks
from kubeloop.decisions import Check, Decision, decide
from kubeloop.digests.rows import TableDigest

if TYPE_CHECKING:
    from kubeloop.site import Site

_EXAMPLES = 5
_TWINS = 0.9
_NUMERIC = ("integer", "number")


@dataclass(frozen=True)
class _Broken:
    """A rule that some rows break.

    Attributes:
        rule: Which.
        place: Its number among all rules.
        count: How many rows.
        examples: The first of them, counted from 1 in the order of the snapshot.
    """

    rule: Rule
    place: int
    count: int
    examples: list[int]


@dataclass(frozen=True)
class _Observed:
    """What a column that breaks its bounds really holds: for a person, and as evidence."""

    text: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def judge(
    section: ValidateSection, table: Path, valid: Path, quarantine: Path, site: "Site", moment: dt.datetime
) -> tuple[Decision, dict[str, Any]]:
    """`validate` against the model's last snapshot that passed, which this one becomes if it passes.

    Args:
        section: The contract's part.
        table: The snapshot from `ingest`.
        valid: Gets the rows that keep all rules.
        quarantine: Gets the others.
        site: Whose store keeps what is known of the last snapshot.
        moment: The moment of the run, UTC.
    """
    last = last_snapshot(site, section.name)
    decision, facts = validate(section, table, valid, quarantine, moment, last, mended_rows(site, section.name))
    keep_if_passed(site, section.name, decision, facts)
    return decision, facts


def validate(
    section: ValidateSection,
    table: Path,
    valid: Path,
    quarantine: Path,
    moment: dt.datetime | None = None,
    last: LastSnapshot | None = None,
    mended: Any = None,
) -> tuple[Decision, dict[str, Any]]:
    """Hold every row against the contract's rules, and the table against what it must be as a whole.

    One scan holds all row rules against all rows, a second one gathers what the checks of the table need; what is said
    of broken rows comes from them alone.

    Args:
        section: The contract's part.
        table: The snapshot from `ingest`.
        valid: Gets the rows that keep all rules, without `_bad`.
        quarantine: Gets the others with their values, `_row` (counted from 1 in the snapshot), `_digest` (of the row,
            by which a mended one finds its place) and `_reasons` (text).
        moment: The moment of the run, UTC; freshness and terms of use are inconclusive without it.
        last: The last snapshot that passed; checks of change are inconclusive without it.
        mended: Mended rows (`pyarrow.Table`, see `kubeloop.data.mended`); those that keep all rules come back.

    Returns:
        The Decision of the gate `data`, and facts: rows, valid, quarantined, mended (rows that came back), rules
        (`rule`, `column`, `broken`, `share`, `examples`: numbers of the first rows that break it), snapshot (its
        digest), profile (for `last` of the next run).

    Raises:
        InputError: The table does not fit the contract.
    """
    before = read_facts(table)
    rules = rules_of(section.data, section.target.output, before.types, scan(table), _placing_columns(section))
    aggregates = Aggregates(section.data, before.types)
    with staged(valid) as kept, staged(quarantine) as aside, connect(spill := kept / "spill") as connection:
        broken = _set_aside(connection, table, rules)
        seen = _look(connection, table, aggregates, before.rows)
        after = _write_valid(connection, table, kept, before)
        set_aside = _write_quarantine(connection, broken, aside, before)
        back = 0
        if mended is not None:
            needed = _placing_columns(section)
            after, set_aside, back = replay(connection, section, mended, kept, aside, needed)
            broken = _still_broken(connection, broken) if back else broken
        checks = list(_row_checks(connection, table, section, before, broken, set_aside.rows))
        if before.rows:
            checks += snapshot_checks(section, seen, moment, last)
            checks += valid_checks(connection, kept, section, after)
        rmtree(spill)
    counts = {id(each.rule): each for each in broken}
    facts = {
        "rows": before.rows,
        "valid": after.rows,
        "quarantined": set_aside.rows,
        "mended": back,
        "rules": [_rule_facts(rule, counts.get(id(rule)), before.rows) for rule in rules],
        "snapshot": before.digest,
        "profile": seen.profile,
    }
    return decide("data", checks), facts


def _placing_columns(section: ValidateSection) -> list[str]:
    """Columns that the split places rows by: a row without them is nowhere."""
    split = section.split
    named = {"time": section.data.time, "group": split.column or section.data.group, "column": split.column}
    found = split.column if split.by == "stratified" else named.get(split.by)
    return [found] if found else []


def _rule_facts(rule: Rule, found: _Broken | None, rows: int) -> dict[str, Any]:
    count = found.count if found else 0
    return {
        "rule": rule.text,
        "column": rule.column,
        "broken": count,
        "share": count / rows if rows else 0.0,
        "examples": found.examples if found else [],
    }


def _set_aside(connection: Any, table: Path, rules: list[Rule]) -> list[_Broken]:
    """Put the rows that break a rule into the temporary table `aside`, with a column per rule; the rules broken.

    One scan, in which each rule is held once against each row.
    """
    flags = [f"{rule.broken} AS {_flag(place)}" for place, rule in enumerate(rules)]
    listed = ", ".join(["* EXCLUDE (file_row_number)", "file_row_number + 1 AS _row", *flags])
    marked = f"SELECT {listed} FROM {scan(table)}"
    test = " OR ".join(_flag(place) for place in range(len(rules))) or "false"
    connection.execute(f"CREATE TEMP TABLE aside AS SELECT * FROM ({marked}) WHERE {test}").fetchall()
    parts = [f"count_if({_flag(place)})" for place in range(len(rules))]
    parts += [f"min(_row, {_EXAMPLES}) FILTER (WHERE {_flag(place)})" for place in range(len(rules))]
    values = one(connection, f"SELECT {', '.join(parts)} FROM aside") if rules else ()
    counts, rows = values[: len(rules)], values[len(rules) :]
    found = enumerate(zip(rules, counts, rows, strict=True))
    return [
        _Broken(rule, place, int(count), [int(row) for row in first]) for place, (rule, count, first) in found if count
    ]


def _flag(place: int) -> str:
    """SQL of the column of `aside` that says whether a row breaks a rule."""
    return quoted(f"\x1f{place}")


def _look(connection: Any, table: Path, aggregates: Aggregates, rows: int) -> Seen:
    """What the table's checks need to know of it."""
    asked = aggregates.sql
    found = one(connection, f"SELECT {', '.join(asked)} FROM {scan(table)}") if asked else ()
    return aggregates.read(rows, found)


def _still_broken(connection: Any, broken: list[_Broken]) -> list[_Broken]:
    """Broken rules without the rows that have come back mended."""
    parts = [f"count_if({_flag(each.place)})" for each in broken]
    counts = one(connection, f"SELECT {', '.join(parts)} FROM aside WHERE _row NOT IN (SELECT _row FROM good)")
    return [replace(each, count=int(count)) for each, count in zip(broken, counts, strict=True) if count]


def _write_valid(connection: Any, table: Path, partial: Path, before: TableFacts) -> TableFacts:
    away = connection.execute("SELECT _row - 1 AS n FROM aside").fetchnumpy()["n"]
    marked = [name for name in MARKS if name in before.types]
    if not len(away) and not marked:
        for name in (PART, FACTS):  # the same rows are the same bytes
            copy(table / name, partial / name)
        return before
    kept = np.ones(before.rows, bool)
    kept[away] = False
    types = {name: kind for name, kind in before.types.items() if name not in MARKS}
    stored = Stored(table)
    schema = pa.schema([stored.schema.field(name) for name in types])
    # What is left has the whole table's digest less that of the few rows that are set aside.
    known = None if marked or before.total is None else TableDigest(schema, before.rows, before.total)
    rows = _kept(stored.batches(BATCH_ROWS, types), kept, known)
    return write_parts(schema, rows, partial, types, known)


def _kept(batches: Iterable[Any], kept: npt.NDArray[np.bool_], known: TableDigest | None) -> Iterator[Any]:
    """The rows that are kept; the others are taken out of the digest."""
    start = 0
    for batch in batches:
        mask = kept[start : start + batch.num_rows]
        start += batch.num_rows
        if mask.all():
            yield batch
            continue
        if known is not None:
            known.remove(batch.filter(pa.array(~mask)))
        yield batch.filter(pa.array(mask))


def _write_quarantine(connection: Any, broken: list[_Broken], partial: Path, before: TableFacts) -> TableFacts:
    names = [name for name in before.types if name not in MARKS]
    texts = ", ".join(f"CASE WHEN {_flag(each.place)} THEN {_reason(each.rule)} END" for each in broken) or "NULL"
    listed = ", ".join(quoted(name) for name in before.types)
    columns = f"{listed}, _row, concat_ws('; ', {texts}) AS _reasons"
    with batches(connection, f"SELECT {columns} FROM aside ORDER BY _row") as reader:
        schema = with_digest(pa.RecordBatch.from_pylist([], reader.schema), names).schema
        found = (with_digest(batch, names) for batch in reader)
        return write_parts(schema, found, partial, {name: before.types[name] for name in names})


def _reason(rule: Rule) -> str:
    """SQL of what the quarantine says of a row."""
    text = literal(rule.text)
    return text if rule.got is None else f"{text} || coalesce(': got ' || {rule.got}, '')"


def _row_checks(
    connection: Any, table: Path, section: ValidateSection, before: TableFacts, broken: list[_Broken], aside: int
) -> Iterator[Check]:
    """The share of rows that each broken rule, and all of them together, set aside."""
    rows, limit = before.rows, section.quarantine_at_most
    if not rows:
        yield Check(name="rows", verdict="inconclusive", reason="the table has no rows: nothing can be said of it")
        return
    for found in sorted(broken, key=lambda found: -found.count):
        rule = found.rule
        over = _exceeds(found.count, rows, limit)
        observed = _observed(connection, table, section, before, rule) if over else _Observed()
        yield Check(
            name=f"rule:{rule.column}:{rule.kind}",
            verdict="fail" if over else "pass",
            reason=f"{_of(found.count, rows)} {_break(found.count)} {rule.text}; at most {_percent(limit)} may"
            + observed.text,
            evidence={
                "broken": found.count,
                "rows": rows,
                "share": found.count / rows,
                "at_most": limit,
                **observed.numbers,
            },
        )
    yield Check(
        name="quarantine",
        verdict="fail" if _exceeds(aside, rows, limit) else "pass",
        reason=f"{_of(aside, rows)} {_break(aside)} a row rule; at most {_percent(limit)} may",
        evidence={"quarantined": aside, "rows": rows, "share": aside / rows, "at_most": limit},
    )


def _exceeds(count: int, rows: int, limit: float) -> bool:
    """Whether `count` of `rows` is more than the share `limit`, exactly as the contract's decimal says it."""
    return count > Fraction(repr(limit)) * rows


def _of(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} rows ({_percent(count / rows)})"


def _break(count: int) -> str:
    return "breaks" if count == 1 else "break"


def _percent(share: float) -> str:
    percent = f"{100 * share:.1f}".removesuffix(".0")
    return f"{100 * share:.2g}%" if percent == "0" and share else f"{percent}%"


def _observed(connection: Any, table: Path, section: ValidateSection, before: TableFacts, rule: Rule) -> _Observed:
    """What a column that breaks its bounds really holds, and whether it holds what another column should."""
    column = section.data.columns.get(rule.column)
    if column is None or rule.kind not in ("minimum", "maximum") or column.policy is not None:
        return _Observed()
    cell = quoted(rule.column)
    low, middle, high = one(connection, f"SELECT min({cell}), median({cell}), max({cell}) FROM {scan(table)}")
    text = f". {rule.column} runs from {low:.6g} to {high:.6g}, median {middle:.6g}; {_allowed(column)}"
    others = [
        name
        for name, other in section.data.columns.items()
        if name != rule.column and name in before.types and other.type in _NUMERIC and other.policy is None
    ]
    twin = _twin(connection, table, rule.column, others)
    if twin:
        text += f". Its values are those of {twin[0]!r} in {_percent(twin[1])} of the rows: has a column been mixed up?"
    return _Observed(text, {"minimum": float(low), "median": float(middle), "maximum": float(high)})


def _allowed(column: Any) -> str:
    low, high = column.minimum, column.maximum
    if low is None:
        return f"at most {high:.6g} is allowed"
    return f"at least {low:.6g} is allowed" if high is None else f"{low:.6g} to {high:.6g} is allowed"


def _twin(connection: Any, table: Path, column: str, others: list[str]) -> tuple[str, float] | None:
    """The other numeric column that holds the same values row by row, if there is one, and in which share of rows."""
    if not others:
        return None
    cell = quoted(column)
    shares = [f"avg(CAST({cell} = {quoted(other)} AS INTEGER))" for other in others]
    found = one(connection, f"SELECT {', '.join(shares)} FROM {scan(table)}")
    share, name = max(
        ((share or 0.0, name) for share, name in zip(found, others, strict=True)), key=lambda pair: pair[0]
    )
    return (name, share) if share >= _TWINS else None
