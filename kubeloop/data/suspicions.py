"""What a second look at a column finds: numbers among words, dates written as text, the answer in disguise."""

# ruff: noqa: S608 - names go through `quoted`, formats are our own

import math
from typing import Any

from kubeloop.contract.profile import ColumnProfile
from kubeloop.data.engine import literal, one, quoted
from kubeloop.data.giveaway import giveaway

_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
)
_COMPACT = "%Y%m%d"
_COMPACT_RANGE = (19_000_101, 21_001_231)
_MOST_DATES = 0.95
_LOOKED_AT = 20_000
_PLAIN = r"[+-]?[0-9]+(\.[0-9]+)?"
_NUMBER_FORMATS = {
    "1,234.5": (r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", _PLAIN),
    "1.234,5": (r"[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+),[0-9]+", r"[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+)"),
}
"""How numbers may be written that the reader takes for text: what only such a number looks like, and what others do."""
_FEW_NUMBERS = 12
"""Up to so many different numbers beside words are codes, and the column is one of categories."""


def texts(connection: Any, name: str) -> dict[str, Any]:
    """Of a column of text: cells that are numbers, examples of those that are none, and how dates or numbers stand."""
    cell = f"trim({quoted(name)})"
    number = f"(TRY_CAST(replace({cell}, ',', '') AS DOUBLE) IS NOT NULL)"
    parts = [f"count({cell})", f"count_if({number})", f"count(DISTINCT {cell}) FILTER ({number})"]
    parts += [f"count(try_strptime({cell}, {literal(form)}))" for form in _FORMATS]
    for sure, other in _NUMBER_FORMATS.values():
        parts += [f"count_if(regexp_full_match({cell}, {literal(each)}))" for each in (sure, f"({sure})|({other})")]
    filled, numbers, different, *counts = one(connection, f"SELECT {', '.join(parts)} FROM typed")
    dates, formed = counts[: len(_FORMATS)], counts[len(_FORMATS) :]
    best = max(range(len(_FORMATS)), key=lambda place: dates[place])
    found: dict[str, Any] = {"numbers": numbers if different > _FEW_NUMBERS else 0}
    if filled and dates[best] >= _MOST_DATES * filled:
        found["date_format"] = _FORMATS[best]
    elif form := _number_format(filled, formed):
        found["number_format"] = form
    elif found["numbers"]:
        query = f"SELECT DISTINCT left({cell}, 20) AS w FROM typed WHERE {cell} IS NOT NULL AND NOT {number}"
        found["words"] = tuple(row[0] for row in connection.execute(f"{query} ORDER BY w LIMIT 3").fetchall())
    return found


def _number_format(filled: int, counts: list[int]) -> str | None:
    """The first way of writing numbers that nearly all cells keep; `1,234` is a thousand where all commas stand so."""
    pairs = zip(_NUMBER_FORMATS, counts[::2], counts[1::2], strict=True)
    return next((form for form, sure, fits in pairs if sure and fits >= _MOST_DATES * filled), None)


def compact_dates(connection: Any, column: ColumnProfile) -> str | None:
    """The format of whole numbers that all are days, such as 20270131; None where they are not."""
    low, high = column.minimum, column.maximum
    if not isinstance(low, int) or not isinstance(high, int) or column.distinct < 2:
        return None
    if low < _COMPACT_RANGE[0] or high > _COMPACT_RANGE[1]:
        return None
    day = f"try_strptime(CAST({quoted(column.name)} AS VARCHAR), {literal(_COMPACT)})"
    (others,) = one(connection, f"SELECT count({quoted(column.name)}) - count({day}) FROM typed")
    return None if others else _COMPACT


def tells(connection: Any, columns: list[ColumnProfile], target: ColumnProfile, rows: int) -> list[ColumnProfile]:
    """The columns with how well each alone tells the target, on every k-th row of large tables."""
    step = max(1, math.ceil(rows / _LOOKED_AT))
    classes = (
        target.type in ("text", "boolean")
        or target.distinct == 2
        or (target.type == "integer" and target.distinct <= 10)
    )
    looked_at = [column for column in columns if column.name != target.name and not column.constant]
    listed = ", ".join(quoted(column.name) for column in (*looked_at, target))
    sample = connection.sql(f"SELECT {listed} FROM typed WHERE rowid % {step} = 0").to_arrow_table()
    answer = sample.column(len(looked_at)).combine_chunks()
    found = {}
    for place, column in enumerate(looked_at):
        seen = giveaway(sample.column(place).combine_chunks(), answer, classes=classes)
        if seen is not None:
            found[column.name] = {"tells": round(seen.score, 6), "leaks": seen.leaks}
    return [column.model_copy(update=found.get(column.name, {})) for column in columns]


def late_moments(connection: Any, columns: list[ColumnProfile], time: str) -> list[ColumnProfile]:
    """The time columns with the share of their moments that are later than the decision."""
    found = {}
    for column in columns:
        if column.type in ("timestamp", "date") and column.name != time and column.distinct:
            later = f"avg(CAST({quoted(column.name)} > {quoted(time)} AS INTEGER))"
            (share,) = one(connection, f"SELECT {later} FROM typed")
            found[column.name] = {"after_time": None if share is None else float(share)}
    return [column.model_copy(update=found.get(column.name, {})) for column in columns]
