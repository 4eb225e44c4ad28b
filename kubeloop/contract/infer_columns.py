"""The columns of a contract that `infer` writes: their rules, remarks, and why some are left out."""

import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubeloop.contract.data import RESERVED_COLUMNS
from kubeloop.contract.profile import ColumnProfile, TableProfile
from kubeloop.contract.target import Task
from kubeloop.contract.yaml_text import comment, key, sequence

MOST_CLASSES = 50
"""A text with more different values is no class to predict, and as a feature takes rare ones together."""
FEW_INTEGERS = 10
"""Whole numbers with so few different values are taken for classes, or may be codes."""
_LONGEST_LIST = 2_000
_EXACT = 2**53
_FEWEST_IDS = 50
_ID_DIGITS = 6
_MEETINGS = 12
_BEYOND_MEASURE = 2**40
_MOSTLY_LATER = 0.5
_MOSTLY_NULL = 0.3
_TELLS_MUCH = 0.8
_ID_WORDS = re.compile(r"(^|_|\b|(?<=[a-z]))(id|uuid|guid|key|index|idx|rownum|unnamed: ?\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What the user said about the table."""

    target: str
    time: str | None
    ids: tuple[str, ...]


def columns(profile: TableProfile, asked: Asked, task: Task) -> Iterator[str]:
    """The lines of `data.columns`; last, as comments, what is left out and why."""
    left_out: list[str] = []
    yield "  # A row that breaks a rule goes to quarantine. Rules are wider than what was seen: tighten what you know."
    yield "  # Add `policy: deny | pii | audit_only` where a column must not be learnt from, and `known_at: after`"
    yield "  # where its value is known only once the decision is made."
    yield "  columns:"
    for column in profile.columns:
        reason = reason_to_leave_out(column, profile.rows, asked)
        if reason is not None:
            left_out.append(f"    # {comment(column.name)}: left out, {reason}")
        else:
            yield _column(column, profile.rows, asked, task)
    yield from left_out


def reason_to_leave_out(column: ColumnProfile, rows: int, asked: Asked) -> str | None:
    """Why a column is not worth reading; None when it is."""
    if column.name in (asked.target, asked.time, *asked.ids):
        return None
    spread = _spread(column)
    counted = column.type == "integer" and spread is not None and spread + 1 == rows
    named = column.type == "integer" and _ID_WORDS.search(column.name) is not None
    late = f"; it is later than {asked.time} in {percent(column.after_time)} of the rows, so `known_at: after`"
    late = late if (column.after_time or 0) >= _MOSTLY_LATER else ""
    named_so = comment(shlex.quote(column.name))
    as_id = "" if asked.ids else f" (does it name the row? then `init` with --id {named_so})"
    as_time = "" if asked.time else f" (is it the moment of the decision? then `init` with --time {named_so})"
    mixed = f"numbers in {column.numbers:,} cells, beside words such as {comment(', '.join(map(repr, column.words)))}"
    reasons = (
        (column.name in RESERVED_COLUMNS, "the name is kept for Kubeloop's own use; rename the column"),
        (column.distinct == 0, "it has no value in any row"),
        (column.distinct == 1, f"it is constant{' where it is filled' if column.nulls else ''}"),
        (
            column.type in ("timestamp", "date"),
            f"a moment is no feature, its parts may be: features.dates{as_time}{late}",
        ),
        (
            column.date_format is not None,
            f"dates written as {'text' if column.type == 'text' else 'numbers'} ({column.date_format}): write them "
            "like 2027-01-31",
        ),
        (
            column.number_format is not None,
            f"numbers written as text ({column.number_format}): write them like 1234.5",
        ),
        (bool(column.words), f"{mixed}: write a missing number as an empty cell"),
        (column.id_like and column.type == "text", f"different in every row, so it looks like a name or id{as_id}"),
        (
            column.id_like and (counted or named),
            f"different in every row, so it looks like an id or a row number{as_id}",
        ),
        (
            column.id_like and _assigned(column, rows),
            f"different in every row, as only ids are, so it looks like an id{as_id}",
        ),
        (
            column.type == "text" and column.distinct > max(MOST_CLASSES, rows // 10),
            f"{column.distinct:,} different texts, too many for categories",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _assigned(column: ColumnProfile, rows: int) -> bool:
    """Whether whole numbers that differ in every row have been given out, and not measured.

    Measured ones would meet: n of them, however they lie among S values, meet at least n^2 / 2S times on average. Ids
    that are drawn at random fill all numbers of a certain length instead.
    """
    low, high, spread = column.minimum, column.maximum, _spread(column)
    if spread is None or not isinstance(low, int) or not isinstance(high, int) or rows < _FEWEST_IDS:
        return False
    digits = len(str(high))
    full = (
        digits >= _ID_DIGITS and low < 1.2 * 10 ** (digits - 1) and low >= 10 ** (digits - 1) and str(high)[:2] >= "97"
    )
    return rows**2 / (2 * (spread + 1)) >= _MEETINGS or full or spread >= _BEYOND_MEASURE


def _column(column: ColumnProfile, rows: int, asked: Asked, task: Task) -> str:
    remarks: list[str] = []
    is_target = column.name == asked.target
    parts = _type_parts(column, is_target and task != "regression", remarks)
    if column.nulls:
        remarks.append(f"{column.nulls:,} of {rows:,} missing")
    if is_target:
        remarks.insert(0, "the target")
    elif column.name in asked.ids:
        parts, remarks = [f"type: {column.type}"], ["names the entity, so it is no feature"]
    elif column.type == "integer" and 2 < column.distinct <= FEW_INTEGERS:
        remarks.append("are these codes? then write `type: category`")
    if _may_learn(column, asked) and column.leaks:
        parts.append("known_at: after")
        remarks.insert(0, f"tells the target almost perfectly ({column.tells:.3f}), so it is taken as known too late")
    elif _may_learn(column, asked) and (column.tells or 0) >= _TELLS_MUCH:
        remarks.append(f"tells the target well alone ({column.tells:.2f}): if known too late, add `known_at: after`")
    tail = f"    # {'; '.join(remarks)}" if remarks else ""
    return f"    {key(column.name)}: {{{', '.join(parts)}}}{tail}"


def _type_parts(column: ColumnProfile, classes: bool, remarks: list[str]) -> list[str]:
    if column.type in ("boolean", "timestamp", "date"):
        return [f"type: {column.type}"]
    if column.type == "text" or (classes and column.type == "number"):
        values = sequence(column.values)
        if column.values and len(values) <= _LONGEST_LIST:
            return ["type: category", f"values: {values}"]
        remarks.append(f"{column.distinct:,} categories")
        return ["type: category"]
    if classes or (column.type == "integer" and len(column.values) == 2):
        return [f"type: {column.type}", f"values: {sequence(sorted(column.values))}"]
    remarks.append(f"seen: {_number(column.minimum)} to {_number(column.maximum)}")
    return [f"type: {column.type}", *_wide(column)]


def _wide(column: ColumnProfile) -> list[str]:
    """Bounds as far out again as the values spread, rounded outward; nothing below 0 where nothing was."""
    low, high, spread = column.minimum, column.maximum, _spread(column)
    if spread is None or low is None or high is None or isinstance(low, str) or isinstance(high, str):
        return []
    if not spread < _EXACT or max(abs(low), abs(high)) >= _EXACT:
        return []
    floor = 0.0 if low >= 0 else _outward(low - spread, math.floor)
    return [f"minimum: {_number(floor)}", f"maximum: {_number(_outward(high + spread, math.ceil))}"]


def _outward(value: float, way: Callable[[float], int]) -> float:
    """A bound with two digits that count, rounded by `way`."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - 1
    return float(f"{way(value / 10.0**exponent)}e{exponent}")


def _number(value: float | str | None) -> str:
    if isinstance(value, float) and not (value.is_integer() and abs(value) < _EXACT):
        return f"{value:.12g}"
    return str(value if isinstance(value, str | None) else int(value))


def _may_learn(column: ColumnProfile, asked: Asked) -> bool:
    return column.name not in (asked.target, asked.time, *asked.ids)


def mostly_null(profile: TableProfile, asked: Asked) -> list[ColumnProfile]:
    """Columns that are missing in many rows; none if there would be no feature left without them."""
    used = [column for column in profile.columns if _may_learn(column, asked) and not column.leaks]
    used = [column for column in used if reason_to_leave_out(column, profile.rows, asked) is None]
    found = [column for column in used if column.nulls >= _MOSTLY_NULL * profile.rows]
    return found if len(found) < len(used) else []


def percent(share: float | None) -> str:
    """A share from 0 to 1 in whole per cent; none counts as 0."""
    return f"{100 * (share or 0):.0f}%"


def _spread(column: ColumnProfile) -> float | None:
    low, high = column.minimum, column.maximum
    return None if low is None or high is None or isinstance(low, str) or isinstance(high, str) else high - low
