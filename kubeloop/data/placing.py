"""Which row belongs where: by a hash, by time, by strata, or as the data says."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kubeloop.contract.sections import SplitSection
from kubeloop.data.tables import Stored
from kubeloop.digests.rows import BATCH_ROWS, row_digests
from kubeloop.errors import InputError

UNITS = {"day": 86_400_000_000, "hour": 3_600_000_000, "row": 1}
"""Microseconds."""

Mask = npt.NDArray[np.bool_]
Folds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """Where the n rows of a table belong.

    Attributes:
        test: (n,) whether a row is a test row.
        fold: (n,) fold of a development row, 0 to folds - 1; means nothing for test rows.
        folds: How many.
        by: For the facts: `id`, `row`, or the kind of the split.
        training: Tells the training rows; see `kubeloop.data.training_rows`.
        more: Further facts.
    """

    test: Mask
    fold: Folds
    folds: int
    by: str
    training: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)


def place(section: SplitSection, rows: Any) -> Placement:
    """Say of each row where it belongs.

    Args:
        section: The contract's part.
        rows: `pyarrow.Table`, or a `Stored` one.

    Raises:
        InputError: The rows cannot be split so.
    """
    how = {"time": _by_time, "group": _by_group, "stratified": _by_strata, "column": _by_column}
    return how.get(section.split.by, _by_hash)(section, rows)


def key_columns(names: list[str], ids: tuple[str, ...], target: str) -> tuple[str, ...]:
    """The columns whose values place a row.

    Without ids these are all but the target, sorted by name: neither a mended label nor another order of columns moves
    a row, and equal rows with different labels stay together. Columns that start with `_` are Kubeloop's own and never
    count.
    """
    return ids or tuple(sorted(name for name in names if name != target and not name.startswith("_")))


def places(rows: Any, keys: tuple[str, ...], seed: int, folds: int) -> tuple[npt.NDArray[np.float64], Folds]:
    """Where each row belongs: SHA-256 of the seed (8 bytes big-endian) and the canonical encoding of the key columns.

    Args:
        rows: `pyarrow.Table` with n rows, or a `Stored` one.
        keys: Which columns.
        seed: Salt.
        folds: How many folds.

    Returns:
        A number in [0, 1) from the digest's first 8 bytes over 2^64, and the fold from its next 8 bytes modulo `folds`;
        both of shape (n,).
    """
    if keys and isinstance(rows, Stored):
        batches = rows.batches(BATCH_ROWS, keys)
    else:
        salted = rows.select(list(keys)) if keys else pa.table({"": pa.nulls(rows.num_rows)})
        batches = (salted.slice(start, BATCH_ROWS) for start in range(0, rows.num_rows, BATCH_ROWS))
    parts = [_words(batch, seed) for batch in batches]
    joined = np.concatenate(parts) if parts else np.empty((0, 4), np.uint64)
    # 53 bits make a float exactly; rounding all 64 could give 1.0.
    return (joined[:, 0] >> np.uint64(11)) / 2.0**53, (joined[:, 1] % np.uint64(folds)).astype(np.int64)


def _words(part: Any, seed: int) -> npt.NDArray[np.uint64]:
    return row_digests(part, seed.to_bytes(8, "big")).view(">u8").astype(np.uint64)


def microseconds(column: Any) -> npt.NDArray[np.int64]:
    """Timestamps or dates as microseconds since 1970 in UTC; the column has no nulls."""
    kind = column.type
    if pa.types.is_date(kind):
        return np.asarray(column.cast(pa.date32()).cast(pa.int32()).to_numpy(), np.int64) * UNITS["day"]
    whole = pa.timestamp("us", kind.tz if pa.types.is_timestamp(kind) else None)
    return np.asarray(column.cast(whole, safe=False).cast(pa.int64()).to_numpy(), np.int64)


def words(column: Any) -> npt.NDArray[np.str_]:
    """Cells as text, however they are typed; the column has no nulls."""
    return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), str)


def whole_units(rows: Any, name: str, unit: str) -> Any:
    """The table with a time column cut to the whole days or hours that its moments lie in."""
    cut = microseconds(rows.column(name)) // UNITS[unit]
    return rows.set_column(rows.column_names.index(name), name, pa.array(cut, pa.int64()))


def _by_hash(section: SplitSection, rows: Any) -> Placement:
    keys = key_columns(rows.column_names, section.id, section.target.output)
    for name in section.id:
        _filled(rows, name, "id column", "data.id")
    return _hashed(section, rows, keys, "id" if section.id else "row", {"kind": "hash", "id": list(section.id)})


def _by_group(section: SplitSection, rows: Any) -> Placement:
    name = section.split.column or section.group or ""
    column = _filled(rows, name, "group column", "split.column")
    words_of_kind: dict[str, Any] = {"kind": "hash", "id": [name]}
    if pa.types.is_temporal(column.type):
        rows = whole_units(pa.table({name: column}), name, section.split.unit)
        words_of_kind = {"kind": "group", "id": [name], "unit": section.split.unit}
    placed = _hashed(section, rows, (name,), "group", words_of_kind)
    groups = pc.count_distinct(rows.column(name)).as_py()
    return Placement(
        placed.test, placed.fold, placed.folds, "group", placed.training, {"groups": groups, "column": name}
    )


def _hashed(section: SplitSection, rows: Any, keys: tuple[str, ...], by: str, kind: dict[str, Any]) -> Placement:
    uniform, fold = places(rows, keys, section.seed, section.split.folds)
    training = {**kind, "seed": section.seed, "test_share": section.split.test, "key": list(keys)}
    return Placement(uniform < section.split.test, fold, section.split.folds, by, training)


def _by_time(section: SplitSection, rows: Any) -> Placement:
    """The latest whole units whose rows come nearest to the share are the test; folds are stretches of time."""
    name, unit, folds = section.time or "", section.split.unit, section.split.folds
    moments = microseconds(_filled(rows, name, "time column", "data.time"))
    units, place_of, counts = np.unique(moments // UNITS[unit], return_inverse=True, return_counts=True)
    if len(units) < 2:
        raise InputError(
            f"a split by time was expected between whole {unit}s, all {rows.num_rows} rows are of the same {unit}",
            "bring rows of more time, or set a smaller `split.unit`",
            column=name,
        )
    before = np.cumsum(counts)[:-1]
    cut = int(np.argmin(np.abs(1 - before / len(moments) - section.split.test))) + 1
    middle = np.cumsum(counts[:cut]) - counts[:cut] / 2
    fold_of = np.minimum(middle * folds / counts[:cut].sum(), folds - 1).astype(np.int64)
    fold = np.append(fold_of, np.full(len(units) - cut, folds - 1))[place_of].astype(np.int64)
    until = moment(int(units[cut]) * UNITS[unit])
    more = {
        "cut": until,
        "unit": unit,
        "column": name,
        "first": moment(int(moments.min())),
        "last": moment(int(moments.max())),
    }
    training = {"kind": "time", "id": list(section.id), "column": name, "unit": unit, "until": until}
    return Placement(place_of >= cut, fold, folds, "time", training, more)


def moment(since: int) -> str:
    """Microseconds since 1970 in UTC as ISO 8601."""
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=since)).isoformat()


def _by_strata(section: SplitSection, rows: Any) -> Placement:
    """Of each stratum, the entities with the smallest hashes are the test, as many as come nearest to the share.

    An entity whose rows are of several strata counts to the last of them in the order of their names.
    """
    name, folds = section.split.column or section.target.output, section.split.folds
    names, strata = np.unique(words(_filled(rows, name, "column of the strata", "split.column")), return_inverse=True)
    for each in section.id:
        _filled(rows, each, "id column", "data.id")
    keys = key_columns(rows.column_names, section.id, section.target.output)
    uniform, second = places(rows, keys, section.seed, 2**31)
    entities, first, entity, sizes = np.unique(uniform, return_index=True, return_inverse=True, return_counts=True)
    stratum = np.zeros(len(entities), np.int64)
    np.maximum.at(stratum, entity, strata)
    fold, thresholds = np.zeros(len(entities), np.int64), np.zeros(len(names))
    for number in range(len(names)):
        mine = np.flatnonzero(stratum == number)
        taken = np.append(0, np.cumsum(sizes[mine]))
        wanted = int(np.argmin(np.abs(taken - section.split.test * taken[-1])))
        wanted = min(max(wanted, 1), len(mine) - 1) if len(mine) > 1 else 0
        thresholds[number] = entities[mine[wanted]] if wanted < len(mine) else 0.0
        kept = mine[wanted:]
        fold[kept[np.argsort(second[first[kept]], kind="stable")]] = np.arange(len(kept)) % folds
    training = {
        "kind": "stratified",
        "id": list(section.id),
        "seed": section.seed,
        "key": list(keys),
        "column": name,
        "thresholds": {str(word): float(value) for word, value in zip(names, thresholds, strict=True)},
        "test_share": float(thresholds.min()),
    }
    test = (entities < thresholds[stratum])[entity]
    shares = {str(word): float(test[strata == number].mean()) for number, word in enumerate(names[:50])}
    return Placement(test, fold[entity], folds, "stratified", training, {"column": name, "strata": shares})


def _by_column(section: SplitSection, rows: Any) -> Placement:
    """As the data says: `test`, true, or the highest number are test rows, every other value is a fold."""
    name = section.split.column or ""
    column = _filled(rows, name, "fold column", "split.column")
    found = words(column)
    values = sorted(set(found.tolist()))
    mark = _mark(column, values, name)
    others = _in_order([value for value in values if value != mark])
    if len(others) > 1:
        folds = len(others)
        fold = np.array([others.index(value) if value != mark else 0 for value in values])[
            np.searchsorted(values, found)
        ]
    else:
        folds = section.split.folds
        keys = key_columns([each for each in rows.column_names if each != name], section.id, section.target.output)
        _, fold = places(rows, keys, section.seed, folds)
    training = {"kind": "column", "id": list(section.id), "column": name, "test": mark}
    return Placement(
        found == mark, fold.astype(np.int64), folds, "column", training, {"column": name, "values": others}
    )


def _mark(column: Any, values: list[str], name: str) -> str:
    if pa.types.is_boolean(column.type):
        mark = "true"
    elif pa.types.is_integer(column.type):
        mark = str(max(int(value) for value in values))
    else:
        mark = next((value for value in values if value.strip().lower() == "test"), "test")
    if mark not in values or len(values) < 2:
        raise InputError(
            f"the fold column {name!r} was expected to mark test rows and others, it holds {', '.join(values[:8])}",
            "write `test`, true, or a number higher than all others where a row is a test row",
            column=name,
        )
    return mark


def _in_order(values: list[str]) -> list[str]:
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _filled(rows: Any, name: str, what: str, word: str) -> Any:
    """A column that is there and has no nulls."""
    if name not in rows.column_names:
        raise InputError(
            f"the {what} {name!r} was expected in the table, there is none", f"correct `{word}`", column=name
        )
    column = rows.column(name)
    if column.null_count:
        raise InputError(
            f"every row was expected to have a value in the {what} {name!r}, {column.null_count} have none",
            "let `validate` set such rows aside, or fill the column",
            column=name,
        )
    return column.combine_chunks()
