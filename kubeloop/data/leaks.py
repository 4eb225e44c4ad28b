"""What would let the model look at the answer: a column that gives it away, one that is known too late, shared rows."""

# ruff: noqa: S608 - names go through `quoted`

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubeloop.contract.data import Join
from kubeloop.contract.expressions import columns_of
from kubeloop.contract.sections import ValidateSection
from kubeloop.data.engine import one, quoted, scan
from kubeloop.data.giveaway import FEWEST_ROWS, giveaway
from kubeloop.data.tables import TableFacts
from kubeloop.decisions import Check

_FEATURES = ("integer", "number", "category", "boolean")
_LOOKED_AT = 20_000
_SHARED_AT_MOST = 0.1


def leak_checks(connection: Any, valid: Path, section: ValidateSection, after: TableFacts) -> Iterator[Check]:
    """Hold the rows that are left against the ways in which an answer leaks into the features.

    Args:
        connection: DuckDB.
        valid: Folder of the rows that keep all rules.
        section: The contract's part.
        after: What is known of that table.
    """
    yield _known_after(section)
    yield _giveaways(connection, valid, section, after)
    for join in section.data.joins:
        if section.split.by != "time" and _is_moment(join, section):
            yield _shared(connection, valid, section, join, after)


def features_of(section: ValidateSection, present: dict[str, str]) -> list[str]:
    """The columns that the model may learn from."""
    target, data, words = section.target, section.data, section.features
    apart = {*data.id, data.time, data.group, target.output, *words.drop}
    apart |= set(columns_of(target.expression)) if target.expression else set()
    if section.split.by == "column":
        apart.add(section.split.column)
    named = words.use if words.use is not None else data.columns
    return [
        name
        for name in named
        if name in present
        and name not in apart
        and (column := data.columns.get(name)) is not None
        and column.policy is None
        and column.known_at == "decision"
        and column.type in _FEATURES
    ]


def _known_after(section: ValidateSection) -> Check:
    """No word of the features names a column that nobody knows at the decision."""
    named = _names(section.features.model_dump(exclude={"drop", "code"}))
    late = sorted(name for name, column in section.data.columns.items() if column.known_at == "after" and name in named)
    return Check(
        name="leak:known_after",
        verdict="fail" if late else "pass",
        reason=f"{', '.join(late)}: known only after the decision (known_at: after), and named in `features`; take it "
        "out"
        if late
        else "no feature is known only after the decision",
        evidence={"columns": late},
    )


def _names(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return {name for key, each in value.items() for name in ({str(key)} | _names(each))}
    return {name for each in value for name in _names(each)} if isinstance(value, list | tuple) else set()


def _giveaways(connection: Any, valid: Path, section: ValidateSection, after: TableFacts) -> Check:
    """No feature alone tells the target almost perfectly, on rows that were held out."""
    names, target = features_of(section, after.types), section.target.output
    step = max(1, math.ceil(after.rows / _LOOKED_AT))
    listed = ", ".join(quoted(name) for name in (*names, target))
    query = f"SELECT {listed} FROM {scan(valid)} WHERE file_row_number % {step} = 0"
    sample = connection.sql(query).to_arrow_table()
    answer, classes = sample.column(len(names)).combine_chunks(), section.target.task != "regression"
    scores = {}
    for place, name in enumerate(names):
        found = giveaway(sample.column(place).combine_chunks(), answer, classes=classes)
        if found is not None:
            scores[name] = found
    told = {name: found for name, found in scores.items() if found.leaks}
    if told:
        worst = ", ".join(f"{name} (score {found.score:.3f})" for name, found in told.items())
        reason = (
            f"{worst}: tells the target {target!r} almost perfectly on its own, on held-out rows; if it is known only "
            "after the decision, write `known_at: after`, else name it in features.drop"
        )
    elif scores:
        best = max(scores, key=lambda name: scores[name].score)
        reason = f"no feature alone gives the target away; the best is {best} (score {scores[best].score:.3f})"
    else:
        reason = (
            f"not looked at whether a feature gives the target away: it takes {FEWEST_ROWS} rows, and 10 of a class"
        )
    evidence = {name: round(found.score, 6) for name, found in (told or scores).items()}
    return Check(
        name="leak:target",
        verdict="fail" if told else "pass",
        reason=reason,
        evidence={"scores": evidence, "rows": sample.num_rows},
    )


def _is_moment(join: Join, section: ValidateSection) -> bool:
    return join.as_of is not None or (section.data.time is not None and section.data.time in join.on)


def _shared(connection: Any, valid: Path, section: ValidateSection, join: Join, after: TableFacts) -> Check:
    """Rows that got one joined row may not be torn apart at random: each tells what the other's hour was like."""
    name = f"leak:shared:{join.source}"
    time = section.data.time
    if time is None or time not in after.types:
        return Check(name=name, verdict="inconclusive", reason=f"rows that share {join.source} cannot be told: no time")
    keys = [quoted(key) for key in join.on if key in after.types and key != time]
    keys.append(f"date_trunc('hour', {quoted(time)})" if join.as_of is not None else quoted(time))
    placing = _placing(section)
    others = f"count(DISTINCT ({', '.join(placing)}))" if placing else "count(*)"
    groups = f"SELECT count(*) AS n, {others} AS k FROM {scan(valid)} GROUP BY {', '.join(keys)}"
    shared, families = one(connection, f"SELECT coalesce(sum(n) FILTER (k > 1), 0), count(*) FROM ({groups})")
    share = float(shared) / max(after.rows, 1)
    bad = share > _SHARED_AT_MOST
    on = ", ".join(key for key in join.on if key != time) or "the moment"
    return Check(
        name=name,
        verdict="fail" if bad else "pass",
        reason=f"{100 * share:.3g}% of the rows share their hour of {join.source} (same {on} and hour) with rows that "
        f"a split by {section.split.by} may put on the other side: "
        + (
            "the test would know the hour that it is asked about; write `split: {by: time, unit: day}`, or keep whole "
            f"days together with `split: {{by: group, column: {time}, unit: day}}`"
            if bad
            else f"at most {100 * _SHARED_AT_MOST:.3g}% may"
        ),
        evidence={"share": share, "rows": int(shared), "hours": int(families), "at_most": _SHARED_AT_MOST},
    )


def _placing(section: ValidateSection) -> list[str]:
    """SQL of what the split keeps together; nothing where every row goes its own way."""
    split, data = section.split, section.data
    if split.by == "group":
        name = split.column or data.group or ""
        kind = data.columns[name].type if name in data.columns else "category"
        if kind not in ("timestamp", "date") or split.unit == "row":
            return [quoted(name)]
        return [f"date_trunc('{split.unit}', {quoted(name)})"]
    if split.by == "column":
        return [quoted(split.column or "")]
    return [quoted(name) for name in data.id]
