"""What the rows that are left must be together."""

# ruff: noqa: S608 - names go through `quoted`

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from kubeloop.contract.data import GroupShare
from kubeloop.contract.sections import ValidateSection
from kubeloop.data.casting import spelling
from kubeloop.data.engine import one, quoted, scan
from kubeloop.data.leaks import leak_checks
from kubeloop.data.tables import TableFacts
from kubeloop.decisions import Check


def valid_checks(connection: Any, valid: Path, section: ValidateSection, after: TableFacts) -> Iterator[Check]:
    """What the rows that are left must be together: enough, filled, with every class and group; no column that leaks.

    Args:
        connection: DuckDB.
        valid: Folder of the rows that keep all rules.
        section: The contract's part.
        after: What is known of that table.
    """
    target, rows = section.target.output, after.rows
    if rows < 2:
        yield Check(
            name="rows_left",
            verdict="inconclusive",
            reason=f"{rows} rows are left; nothing can be learnt from fewer than 2",
            evidence={"rows": rows},
        )
        return
    yield Check(name="rows_left", verdict="pass", reason=f"{rows:,} rows are left", evidence={"rows": rows})
    parts = [_filled(name, kind) for name, kind in after.types.items()]
    distinct, *filled = one(
        connection, f"SELECT count(DISTINCT {quoted(target)}), {', '.join(parts)} FROM {scan(valid)}"
    )
    empty = [name for name, count in zip(after.types, filled, strict=True) if not count]
    yield Check(
        name="columns_filled",
        verdict="fail" if empty else "pass",
        reason=f"{', '.join(empty)}: no value in any of the {rows:,} rows left" if empty else "every column has values",
        evidence={"empty": empty},
    )
    yield Check(
        name="target_varies",
        verdict="fail" if distinct < 2 else "pass",
        reason=f"different values of the target {target!r}: {distinct}; at least 2 must be left",
        evidence={"distinct": distinct},
    )
    if section.target.task != "regression":
        yield from _class_checks(connection, valid, section, distinct)
    if section.data.checks.group_share_at_least is not None:
        yield _group_check(connection, valid, section, section.data.checks.group_share_at_least)
    yield from leak_checks(connection, valid, section, after)


def _filled(name: str, kind: str) -> str:
    """SQL of how many cells of a column hold something."""
    return f"count_if(NOT isnan({quoted(name)}))" if kind == "number" else f"count({quoted(name)})"


def _class_checks(connection: Any, valid: Path, section: ValidateSection, distinct: int) -> Iterator[Check]:
    """Each class at least twice, once to learn from, once to judge by; and with the share that the contract asks."""
    target = section.target.output
    counts = _counts(connection, valid, target)
    rare = sorted(name for name, count in counts if count < 2)
    yield Check(
        name="classes",
        verdict="fail" if rare else "pass",
        reason=f"a class of the target has a single row{_named(section, target, rare)}; each needs at least 2"
        if rare
        else f"each of {distinct} classes has at least 2 rows",
        evidence={"classes": distinct},
    )
    asked = section.data.checks.class_share_at_least
    if asked is not None:
        yield _share_check(section, "class_share", f"class of the target {target!r}", (target, counts), asked)


def _group_check(connection: Any, valid: Path, section: ValidateSection, asked: GroupShare) -> Check:
    counts = _counts(connection, valid, asked.column)
    column = section.data.columns.get(asked.column)
    seen = {name for name, _ in counts}
    declared = [spelling(value) for value in (column.values if column else None) or ()]
    counts += [(name, 0) for name in declared if name not in seen]
    return _share_check(section, "group_share", f"group of {asked.column!r}", (asked.column, counts), asked.share)


def _counts(connection: Any, valid: Path, column: str) -> list[tuple[str, int]]:
    """Values of a column and their rows, the rarest first."""
    cell = quoted(column)
    query = f"SELECT CAST({cell} AS VARCHAR) AS v, count(*) AS n FROM {scan(valid)} WHERE v IS NOT NULL GROUP BY v"
    return [(str(value), int(count)) for value, count in connection.execute(f"{query} ORDER BY n, v").fetchall()]


def _share_check(
    section: ValidateSection, name: str, what: str, found: tuple[str, list[tuple[str, int]]], asked: float
) -> Check:
    column, counts = found
    total = sum(count for _, count in counts)
    if not total:
        return Check(name=name, verdict="inconclusive", reason=f"no row has a value in {column!r}")
    value, fewest = min(counts, key=lambda pair: pair[1])
    small = fewest < Fraction(repr(asked)) * total
    return Check(
        name=name,
        verdict="fail" if small else "pass",
        reason=f"the smallest {what}{_named(section, column, [value])} makes up {100 * fewest / total:.3g}% of the "
        f"rows; at least {100 * asked:.3g}% must be there",
        evidence={"rows": fewest, "of": total, "share": fewest / total, "at_least": asked},
    )


def _named(section: ValidateSection, name: str, values: list[str]) -> str:
    """Values of a column in brackets; nothing where they may not be shown."""
    column = section.data.columns.get(name)
    return "" if column is not None and column.policy is not None else f" ({', '.join(values[:5])})"
