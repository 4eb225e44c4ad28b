"""The contract's row rules as SQL tests over a typed table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from kubeloop.contract.data import Column, Data, RowRule
from kubeloop.contract.expressions import check_expression, columns_of
from kubeloop.data.casting import BAD, BROKEN_UNSEEN, MARKS, is_masked, spelling
from kubeloop.data.engine import literal, quoted
from kubeloop.errors import InputError

Kind = Literal["type", "nullable", "minimum", "maximum", "values", "pattern", "unique", "expression"]

_NUMERIC = ("integer", "number")
_SHOWN = 40
_OF_VALUES = ("minimum", "maximum", "values", "pattern", "expression")
SEPARATOR = "chr(31)"
"""SQL of what stands between the rules in `_personal`."""


@dataclass(frozen=True)
class Rule:
    """One thing that a cell, or a row, must be.

    Attributes:
        column: Which column; for a rule over several columns, the rule's name.
        kind: Which word of the contract.
        text: For a person: `trestbps <= 220`.
        broken: SQL that is true where a row breaks it, never null.
        got: SQL of what the cell holds, for the quarantine; null when it must not be shown.
    """

    column: str
    kind: Kind
    text: str
    broken: str
    got: str | None


def rules_of(
    data: Data, target: str, present: Mapping[str, str], source: str, needed: Collection[str] = ()
) -> list[Rule]:
    """All row rules: of the columns in the contract's order, then those over several columns.

    Columns that name an entity must have a value, whatever `nullable` says: without it a row is nobody's.

    Args:
        data: The contract's part.
        target: Its column must have a value.
        present: From column name to type, of the table.
        source: SQL that reads the table, for rules that look at all rows.
        needed: Further columns that must have a value.

    Raises:
        InputError: A column of the contract is not in the table, or a rule does not fit a column's type.
    """
    found: list[Rule] = []
    for name, column in data.columns.items():
        if column.policy == "deny":
            continue
        if name not in present:
            raise InputError(
                f"the contract's column {name!r} was expected in the table, it has {', '.join(map(repr, present))}",
                "validate the table that `ingest` has written with this contract",
                column=name,
            )
        required = name in data.id or name == target or name in needed
        found += _rules_of_column(name, column, required, BAD in present)
        if column.unique:
            found.append(_unique(name, column, source))
    if target not in data.columns and BAD in present:
        found.append(_no_value(target, Column(type="text"), has_bad=False))
    found += [_over_columns(rule, [name for name in present if name not in MARKS]) for rule in data.rules]
    masked = any(is_masked(kind) for kind in present.values())
    unseen = {rule.text for rule in personal_rules(data, list(present))} if masked else set()
    return [replace(rule, broken=_was_broken(rule, present)) if rule.text in unseen else rule for rule in found]


def personal_rules(data: Data, names: Collection[str]) -> list[Rule]:
    """The rules over values of columns under policy `pii`, which are held against them where the source is read.

    Args:
        data: The contract's part.
        names: Columns of the table.
    """
    personal = {name: column for name, column in data.columns.items() if column.policy == "pii"}
    rules = [rule for name, column in personal.items() for rule in _rules_of_column(name, column, False, False)]
    of_rows = [rule for rule in data.rules if personal.keys() & set(columns_of(rule.expression))]
    visible = [name for name in names if name not in MARKS]
    return [rule for rule in rules if rule.kind in _OF_VALUES] + [_over_columns(rule, visible) for rule in of_rows]


def _was_broken(rule: Rule, present: Mapping[str, str]) -> str:
    """SQL of whether `ingest` has seen that a row breaks a rule."""
    if BROKEN_UNSEEN not in present:
        return "false"
    marks = f"string_split({quoted(BROKEN_UNSEEN)}, {SEPARATOR})"
    return f"coalesce(list_contains({marks}, {literal(rule.text)}), false)"


def _unique(name: str, column: Column, source: str) -> Rule:
    """All rows of a value that stands twice: which of them is the right one, nobody can tell."""
    cell = quoted(name)
    twice = f"SELECT {cell} FROM {source} WHERE {cell} IS NOT NULL GROUP BY {cell} HAVING count(*) > 1"  # noqa: S608
    shown = None if column.policy == "pii" else f"left(CAST({cell} AS VARCHAR), {_SHOWN})"
    return Rule(name, "unique", f"{name} is unique", f"coalesce({cell} IN ({twice}), false)", shown)


def _over_columns(rule: RowRule, names: Collection[str]) -> Rule:
    check_expression(rule.expression, list(names))
    # The newline ends a comment, should the expression have one.
    return Rule(
        rule.name, "expression", f"{rule.name}: {rule.expression}", f"NOT coalesce(({rule.expression}\n), true)", None
    )


def _rules_of_column(name: str, column: Column, required: bool, has_bad: bool) -> list[Rule]:
    cell = quoted(name)
    rules: list[Rule] = []
    if column.type not in ("category", "text"):
        got = _bad_text(name) if has_bad and column.policy != "pii" else None
        test = _is_bad(name) if has_bad else "false"
        rules.append(Rule(name, "type", f"{name} is {_article(column.type)}", test, got))
    if required or not column.nullable:
        rules.append(_no_value(name, column, has_bad=has_bad))
    shown = None if column.policy == "pii" else f"left(CAST({cell} AS VARCHAR), {_SHOWN})"
    for kind, bound, sign, breaks in (("minimum", column.minimum, ">=", "<"), ("maximum", column.maximum, "<=", ">")):
        if bound is None:
            continue
        if column.type not in _NUMERIC:
            raise InputError(
                f"{kind} was expected on integer and number columns only, {name!r} is {_article(column.type)}",
                f"take `{kind}` away from {name!r}",
                column=name,
            )
        test = f"coalesce({cell} {breaks} CAST({bound!r} AS DOUBLE), false)"
        word: Kind = "minimum" if kind == "minimum" else "maximum"
        rules.append(Rule(name, word, f"{name} {sign} {bound:.15g}", test, shown))
    if column.pattern is not None:
        test = f"coalesce(NOT regexp_matches({cell}, {literal(column.pattern)}), false)"
        rules.append(Rule(name, "pattern", f"{name} fits {column.pattern}", test, shown))
    if column.values is not None:
        rules.append(Rule(name, "values", _set_text(name, column), _not_in(cell, column), shown))
    return rules


def _no_value(name: str, column: Column, *, has_bad: bool) -> Rule:
    test = f"{quoted(name)} IS NULL"
    if has_bad and column.type not in ("category", "text"):
        test = f"({test} AND NOT {_is_bad(name)})"
    return Rule(name, "nullable", f"{name} has a value", test, None)


def _is_bad(name: str) -> str:
    return f"coalesce(list_contains(json_keys({quoted(BAD)}), {literal(name)}), false)"


def _bad_text(name: str) -> str:
    """The text that did not fit, out of the JSON object `_bad`; by position, for a name can hold any character."""
    keys = f"json_keys({quoted(BAD)})"
    values = f"json_extract_string({quoted(BAD)}, '$.*')"
    return f"left({values}[list_position({keys}, {literal(name)})], {_SHOWN})"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _set_text(name: str, column: Column) -> str:
    words = [spelling(value) for value in column.values or ()]
    more = f", ... ({len(words)} values)" if len(words) > 8 else ""
    return f"{name} in {{{', '.join(words[:8])}{more}}}"


def _not_in(cell: str, column: Column) -> str:
    values = column.values or ()
    if not values:
        return f"{cell} IS NOT NULL"
    sql = {"timestamp": "TIMESTAMPTZ", "date": "DATE", "boolean": "BOOLEAN", "integer": "DOUBLE", "number": "DOUBLE"}
    kind = sql.get(column.type, "VARCHAR")
    listed = ", ".join(f"TRY_CAST({literal(spelling(value))} AS {kind})" for value in values)
    # A listed value that is none of the type is null, and null in the list would let everything pass.
    return f"({cell} IS NOT NULL AND NOT coalesce(CAST({cell} AS {kind}) IN ({listed}), false))"
