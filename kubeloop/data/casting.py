"""From a source's cells to the contract's types, as SQL; what does not fit becomes null and is named in `_bad`."""

from collections.abc import Mapping

from kubeloop.contract.data import Column
from kubeloop.data.engine import literal, quoted

BAD = "_bad"
BROKEN_UNSEEN = "_personal"
"""Column with the rules that a row's personal values break: they are seen where the source is read, nowhere else."""
MARKS = (BAD, BROKEN_UNSEEN)
"""What a snapshot says of its rows beside their values."""
HIDDEN, PSEUDONYM = "hidden", "pseudonym"
"""Types of personal columns in a table's facts; a pseudonym's goes on with the mark of its key."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_SURE = {
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    "number": ("FLOAT", "DOUBLE"),
}
"""Types of cells that always fit."""
_NUMBERS = (*_INTEGERS, *(f"U{name}" for name in _INTEGERS), "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")
EXACT = 2**53
"""Below it, a float holds every integer."""
_SHOWN = 100


def is_masked(kind: str) -> bool:
    """Whether a column of that type, in a table's facts, holds something in the place of personal values."""
    return kind.startswith((HIDDEN, PSEUDONYM))


def raw_sql(cell: str, kind: str) -> str:
    """A source's cell as it is, but NaN, which pandas writes for a missing number, as null."""
    return f"CASE WHEN NOT isnan({cell}) THEN {cell} END" if kind in ("FLOAT", "DOUBLE") else cell


def typed_sql(column: Column, raw: str, kind: str) -> str:
    """SQL of a cell in the contract's type; null when it does not fit.

    integer: BIGINT, `3.0` is one and `3.5` is not. number: DOUBLE. boolean: BOOLEAN. timestamp: TIMESTAMPTZ, UTC where
    no zone is given. date: DATE, a time of day other than midnight does not fit. category, text: VARCHAR.

    Args:
        column: From the contract.
        raw: SQL of the cell.
        kind: DuckDB's type of the cell.
    """
    if kind in _SURE.get(column.type, ()):
        return f"CAST({raw} AS {'BIGINT' if column.type == 'integer' else 'DOUBLE'})"
    numeric = kind.startswith(_NUMBERS)
    timely = kind.startswith(("TIMESTAMP", "DATE"))
    if column.type in ("integer", "number", "boolean") and not numeric:
        raw = f"CAST({raw} AS VARCHAR)"
    if column.type in ("timestamp", "date") and not timely:
        raw = f"CAST({raw} AS VARCHAR)"
    makers = {"integer": _integer, "number": _number, "boolean": _boolean, "timestamp": _timestamp, "date": _date}
    maker = makers.get(column.type)
    if maker is not None:
        return maker(raw, numeric)
    text = f"CAST({raw} AS VARCHAR)"
    return _spelled(text) if column.type == "category" and _lists_numbers(column) else text


def bad_sql(columns: Mapping[str, Column], raw: Mapping[str, str], kinds: Mapping[str, str]) -> str:
    """SQL of `_bad`: null, or a JSON object from column name to the text that does not fit its type.

    The text is null for a column under policy `pii`.

    Args:
        columns: The contract's columns that this source brings.
        raw: From column name to the SQL of its raw cell; the typed one is the column's own name.
        kinds: From column name to DuckDB's type of the raw cell.
    """
    tests, entries = [], []
    for name, column in columns.items():
        if column.type in ("category", "text") or kinds[name] in _SURE.get(column.type, ()):
            continue
        # Blank cells are missing ones, not wrong ones; looked at only when the cast has failed.
        text = f"CAST({raw[name]} AS VARCHAR)"
        # CASE looks at few rows; AND would turn every cell into text.
        test = f"CASE WHEN {quoted(name)} IS NULL THEN {raw[name]} IS NOT NULL AND trim({text}) <> '' ELSE false END"
        shown = "'null'" if column.policy == "pii" else f"CAST(to_json(left({text}, {_SHOWN})) AS VARCHAR)"
        tests.append(test)
        entries.append(f"CASE WHEN {test} THEN CAST(to_json({literal(name)}) AS VARCHAR) || ':' || {shown} END")
    if not tests:
        return "CAST(NULL AS VARCHAR)"
    return f"CASE WHEN {' OR '.join(tests)} THEN '{{' || concat_ws(',', {', '.join(entries)}) || '}}' END"


def spelling(value: str | int | float | bool) -> str:
    """How a category is written in a table: `3.0` as `3`, True as `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return str(value)


def _lists_numbers(column: Column) -> bool:
    values = column.values or ()
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _spelled(text: str) -> str:
    """A category whose allowed values are numbers: `3.0` is written as the contract writes it, `3`."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    whole = f"{number} = floor({number}) AND abs({number}) < {EXACT}"
    return f"CASE WHEN {whole} THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE {text} END"


def _integer(raw: str, numeric: bool) -> str:
    number = f"TRY_CAST({raw} AS DOUBLE)"
    big = f"TRY_CAST({raw} AS BIGINT)"
    whole = big
    if not numeric:
        # A cast of text to BIGINT would round 3.5 and read 0x10 and 1_000.
        whole = f"CASE WHEN regexp_full_match(trim({raw}), '[+-]?[0-9]+') THEN {big} END"
        number = _number(raw, numeric)
    slow = (
        f"CASE WHEN {number} = floor({number}) THEN"
        f" CASE WHEN abs({number}) < {EXACT} THEN CAST({number} AS BIGINT) ELSE {whole} END END"
    )
    # Nearly every cell is written as its number is: one cast, one comparison.
    return slow if numeric else f"CASE WHEN CAST({big} AS VARCHAR) = {raw} THEN {big} ELSE {slow} END"


def _number(raw: str, numeric: bool) -> str:
    if numeric:
        return f"TRY_CAST({raw} AS DOUBLE)"
    number = f"TRY_CAST({raw} AS DOUBLE)"
    return f"CASE WHEN NOT contains({raw}, '_') AND NOT isnan({number}) THEN {number} END"


def _boolean(raw: str, numeric: bool) -> str:
    if numeric:
        return f"CASE WHEN CAST({raw} AS DOUBLE) IN (0, 1) THEN CAST({raw} AS BOOLEAN) END"
    word = f"lower(trim({raw}))"
    slow = f"CASE WHEN {word} IN ('true', '1') THEN true WHEN {word} IN ('false', '0') THEN false END"
    # Nearly every cell is written as these are: no copy of the text is made.
    return f"CASE WHEN {raw} = 'true' THEN true WHEN {raw} = 'false' THEN false ELSE {slow} END"


def _timestamp(raw: str, numeric: bool) -> str:
    moment = f"TRY_CAST({raw} AS TIMESTAMPTZ)"
    return f"CASE WHEN isfinite({moment}) THEN {moment} END"


def _date(raw: str, numeric: bool) -> str:
    day, moment = f"TRY_CAST({raw} AS DATE)", f"TRY_CAST({raw} AS TIMESTAMPTZ)"
    return f"CASE WHEN isfinite({day}) AND CAST({day} AS TIMESTAMPTZ) = {moment} THEN {day} END"
