"""How further sources are joined to the first one: by equal keys, or as of a moment, never from the future."""

# ruff: noqa: S608 - names go through `quoted`, values through `literal`, expressions through `check_expression`

import datetime as dt
from dataclasses import dataclass
from typing import Any

from kubeloop.contract.data import Column, Data, Join
from kubeloop.contract.durations import length_of
from kubeloop.data.casting import BAD, bad_sql, raw_sql, typed_sql
from kubeloop.data.engine import one, quoted
from kubeloop.data.sources import OpenSource
from kubeloop.errors import InputError

_MOMENT = Column(type="timestamp")


@dataclass(frozen=True)
class Plan:
    """Which source brings which column.

    Attributes:
        sources: Those that are read, the first one first, the others in the order of the joins.
        joins: For all but the first.
        columns: Per source, the contract's columns that it brings; what several sources have comes from the first.
        wanted: All of these, in the contract's order.
        time: The left side's moment of an as-of join; the join's own word when None.
        declared: All columns of the contract, for the types of keys.
    """

    sources: tuple[OpenSource, ...]
    joins: tuple[Join, ...]
    columns: tuple[dict[str, Column], ...]
    wanted: tuple[str, ...]
    time: str | None
    declared: dict[str, Column]

    def owner(self, column: str) -> OpenSource | None:
        """The source that brings a column."""
        for source, columns in zip(self.sources, self.columns, strict=True):
            if column in columns:
                return source
        return None


def assign(data: Data, wanted: dict[str, Column], sources: list[OpenSource]) -> Plan:
    """Say which source brings which column.

    Raises:
        InputError: A source that no join names, a join of an unknown source, a key that a side does not have.
    """
    by_name = {source.name: source for source in sources}
    base = sources[0]
    for join in data.joins:
        if join.source not in by_name or join.source == base.name:
            raise InputError(
                f"a join was expected to name a source after the first, {base.name!r}; it names {join.source!r}",
                f"name one of: {', '.join(list(by_name)[1:]) or 'there is only one source'}",
                source=join.source,
            )
    named = [join.source for join in data.joins]
    for name in list(by_name)[1:]:
        if named.count(name) != 1:
            raise InputError(
                f"exactly one join was expected for source {name!r}, got {named.count(name)}",
                f"say in `data.joins` by which columns {name!r} is joined",
                source=name,
            )
    order = (base, *(by_name[name] for name in named))
    _check_key_columns(data, order)
    taken: set[str] = set()
    columns: list[dict[str, Column]] = []
    for source in order:
        mine = {name: column for name, column in wanted.items() if name in source.cells and name not in taken}
        taken |= set(mine)
        columns.append(mine)
    return Plan(
        order, data.joins, tuple(columns), tuple(n for n in wanted if n in taken), data.time, dict(data.columns)
    )


def check_keys(connection: Any, plan: Plan) -> None:
    """Refuse keys that stand twice on the right: they would multiply rows, or make as-of ambiguous.

    Raises:
        InputError: With the number of such keys; their values are not shown.
    """
    for source, join in zip(plan.sources[1:], plan.joins, strict=True):
        keys = [_key(plan, source, name) for name in join.on]
        if join.as_of is not None:
            keys.append(_moment(source, join.as_of))
        listed = ", ".join(keys)
        doubled = f"SELECT 1 FROM {source.scan} WHERE {' AND '.join(f'({key}) IS NOT NULL' for key in keys)}"
        (count,) = one(connection, f"SELECT count(*) FROM ({doubled} GROUP BY {listed} HAVING count(*) > 1)")
        if count:
            names = ", ".join((*join.on, join.as_of) if join.as_of else join.on)
            found = f"{count} keys stand in more than one row"
            raise InputError(
                f"{source.shown}: one row per {names} was expected for the join, {found}",
                "remove the duplicates, or add the column that tells the rows apart to `on`",
                file=source.shown,
                source=source.name,
            )


def count_rows(connection: Any, plan: Plan, first: int) -> dict[str, int]:
    """Rows of each source; those of the first have been counted while they were read."""
    rows = {plan.sources[0].name: first}
    for source in plan.sources[1:]:
        (rows[source.name],) = one(connection, f"SELECT count(*) FROM {source.scan}")
    return rows


def gap(place: int) -> str:
    """The column of `joined_sql` that says why a row has found nothing: `none`, `too old`, or null when it has."""
    return f"\x1fgap{place}"


def joined_sql(plan: Plan) -> str:
    """SQL of all wanted columns in the contract's order, then `_bad`, then `gap(1)` and so on for each join.

    Rows are in the order of the first source's. An as-of join takes the latest row that is not later than the moment on
    the left, and nothing when even that is older than the tolerance.
    """
    if len(plan.sources) == 1:
        return _ordered(plan, _side(plan, 0), "")
    text = f"(SELECT *, row_number() OVER () AS _n FROM ({_side(plan, 0)})) AS s0"
    listed = [f"s0.{quoted(name)}" for name in plan.columns[0]]
    bad, gaps = [f"s0.{quoted(BAD)}"], []
    for place, join in enumerate(plan.joins, start=1):
        pairs = [f"s0.k{place}_{i} = s{place}.k{place}_{i}" for i in range(len(join.on))]
        if join.as_of is not None:
            pairs.append(f"s0.t{place} >= s{place}.t{place}")
        word = "ASOF LEFT JOIN" if join.as_of is not None else "LEFT JOIN"
        text += f" {word} ({_side(plan, place)}) AS s{place} ON {' AND '.join(pairs)}"
        fits = _fits(join, place)
        listed += [
            f"CASE WHEN {fits} THEN s{place}.{quoted(name)} END AS {quoted(name)}" for name in plan.columns[place]
        ]
        bad.append(f"CASE WHEN {fits} THEN s{place}.{quoted(BAD)} END")
        why = f"CASE WHEN s{place}.h{place} IS NULL THEN 'none' WHEN NOT {fits} THEN 'too old' END"
        gaps.append(f"{why} AS {quoted(gap(place))}")
    found = ", ".join(f"nullif(trim({each}, '{{}}'), '')" for each in bad)
    merged = f"nullif(concat_ws(',', {found}), '')"
    inner = f"SELECT {', '.join([*listed, *gaps])}, '{{' || {merged} || '}}' AS {quoted(BAD)}, s0._n FROM {text}"
    return _ordered(plan, inner, " ORDER BY _n")


def _fits(join: Join, place: int) -> str:
    """SQL of whether the row that was found may be taken; never null."""
    there = f"s{place}.h{place} IS NOT NULL"
    if join.tolerance is None:
        return f"({there})"
    microseconds = length_of(join.tolerance) // dt.timedelta(microseconds=1)
    age = f"epoch_us(s0.t{place}) - epoch_us(s{place}.t{place})"
    return f"({there} AND coalesce({age} <= {microseconds}, false))"


def _ordered(plan: Plan, sql: str, order: str) -> str:
    names = [*plan.wanted, BAD, *(gap(place) for place in range(1, len(plan.sources)))]
    return f"SELECT {', '.join(quoted(name) for name in names)} FROM ({sql}){order}"


def _side(plan: Plan, place: int) -> str:
    """One source: its wanted columns in the contract's types, the keys of the joins it takes part in, `_bad`."""
    source, columns = plan.sources[place], plan.columns[place]
    raw = {name: f"r{i}" for i, name in enumerate(columns)}
    inner = [f"{raw_sql(source.cells[name], source.kinds[name])} AS {raw[name]}" for name in columns]
    keys: list[str] = []
    for number, join in enumerate(plan.joins, start=1):
        if place not in (0, number):
            continue
        inner += [f"{_key(plan, source, name)} AS k{number}_{i}" for i, name in enumerate(join.on)]
        keys += [f"k{number}_{i}" for i in range(len(join.on))]
        if place == number:
            inner.append(f"true AS h{number}")
            keys.append(f"h{number}")
        if join.as_of is not None:
            moment = plan.time or join.as_of if place == 0 else join.as_of
            inner.append(f"{_moment(source, moment)} AS t{number}")
            keys.append(f"t{number}")
    typed = [
        f"{typed_sql(column, raw[name], source.kinds[name])} AS {quoted(name)}" for name, column in columns.items()
    ]
    kept = [*raw.values(), *keys]
    middle = f"SELECT {', '.join([*kept, *typed])} FROM (SELECT {', '.join(inner) or '1'} FROM {source.scan})"
    outer = [*(quoted(name) for name in columns), *keys, f"{bad_sql(columns, raw, source.kinds)} AS {quoted(BAD)}"]
    return f"SELECT {', '.join(outer)} FROM ({middle})"


def _key(plan: Plan, source: OpenSource, name: str) -> str:
    """SQL of a join key: in the contract's type, or as text when the contract does not name it."""
    raw = raw_sql(source.cells[name], source.kinds[name])
    column = plan.declared.get(name)
    return typed_sql(column, raw, source.kinds[name]) if column else f"CAST({raw} AS VARCHAR)"


def _moment(source: OpenSource, name: str) -> str:
    return typed_sql(_MOMENT, raw_sql(source.cells[name], source.kinds[name]), source.kinds[name])


def _check_key_columns(data: Data, order: tuple[OpenSource, ...]) -> None:
    base = order[0]
    for join, right in zip(data.joins, order[1:], strict=True):
        needs = [(base, name) for name in join.on] + [(right, name) for name in join.on]
        if join.as_of is not None:
            needs += [(base, data.time or join.as_of), (right, join.as_of)]
        for source, name in needs:
            if name not in source.cells:
                raise InputError(
                    f"{source.shown}: the column {name!r} was expected for the join of {right.name!r}, there is none",
                    "correct `on` or `as_of` in `data.joins`",
                    file=source.shown,
                    column=name,
                )
