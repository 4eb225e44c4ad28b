"""Keep test rows apart from development rows, and prove that nothing of them is on both sides."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kubeloop.contract.sections import SplitSection
from kubeloop.data.crossing import crossings
from kubeloop.data.engine import BATCH_ROWS
from kubeloop.data.picture import picture
from kubeloop.data.placing import Placement, key_columns, place, places
from kubeloop.data.tables import Stored, read_facts, staged, write_parts
from kubeloop.data.training_rows import add_training_rows, masked_keys
from kubeloop.data.windows import window_columns
from kubeloop.errors import InputError

__all__ = ["FOLD", "key_columns", "places", "split"]

FOLD = "_fold"


def split(section: SplitSection, table: Path, development: Path, test: Path) -> dict[str, Any]:
    """Write development rows, with the integer column `_fold` (0 to folds - 1), and test rows.

    The facts of the development rows tell how they were chosen; see `kubeloop.data.training_rows`.

    Args:
        section: The contract's part.
        table: Valid rows; read as a stream, but for the columns that place them and a column at a time.
        development: Folder for the rows that search and training may read.
        test: Folder for the rows that only `evaluate` reads.

    Returns:
        development, test (numbers of rows), test_share, folds (rows per fold), by (`id`, `row`, or the kind of the
        split), key (the hashed columns, if any), looked_at (what was found on both sides: `what`, `count`, `text`);
        time: cut, unit, first, last (ISO 8601, UTC), column; group: groups, column; stratified: strata (test share by
        stratum), column; column: values (folds), column; and over_time and parts for `kubeloop.data.picture`.

    Raises:
        InputError: A placing column without a value, a side or a fold without rows, or rows on both sides that give
            the test away.
    """
    facts = read_facts(table)
    rows = Stored(table)
    placed = place(section, rows)
    training = placed.training | masked_keys(placed.training, facts.types)
    folds = np.bincount(placed.fold[~placed.test], minlength=placed.folds)
    _check_sides(section, placed, rows.num_rows, folds)
    looked_at = crossings(section, rows, placed)
    # Only now: what places a row is what it was before.
    more = _windows(section, rows, development.with_name(f".{development.name}.spill"))
    types = {**facts.types, **{window.name: "number" for window in section.windows}}
    with staged(development) as partial:
        _write_side(rows, ~placed.test, more | {FOLD: pa.array(placed.fold)}, partial, {**types, FOLD: "integer"})
        add_training_rows(partial, {**training, "rows": int((~placed.test).sum())})
    with staged(test) as partial:
        _write_side(rows, placed.test, more, partial, types)
    return {
        "development": int((~placed.test).sum()),
        "test": int(placed.test.sum()),
        "test_share": float(placed.test.mean()),
        "folds": [int(count) for count in folds],
        "by": placed.by,
        "key": list(placed.training.get("key", ())),
        "looked_at": looked_at,
        **placed.more,
        **picture(section, rows, placed),
    }


def _windows(section: SplitSection, rows: Stored, spill: Path) -> dict[str, Any]:
    if not section.windows:
        return {}
    found = window_columns(rows, section.windows, section.time, spill)
    return {name: found.column(name).combine_chunks() for name in found.column_names}


def _write_side(
    rows: Stored, side: npt.NDArray[np.bool_], more: Mapping[str, Any], partial: Path, types: Mapping[str, str]
) -> None:
    """Write the rows of one side, batch by batch, with the further columns of all rows."""
    parts = _side(rows, side, more)
    first = next(parts)
    write_parts(first.schema, chain([first], parts), partial, types)


def _side(rows: Stored, side: npt.NDArray[np.bool_], more: Mapping[str, Any]) -> Iterator[Any]:
    start = 0
    for batch in rows.batches(BATCH_ROWS):
        stop = start + batch.num_rows
        for name, column in more.items():
            batch = batch.append_column(name, column.slice(start, batch.num_rows))
        yield batch.filter(pa.array(side[start:stop]))
        start = stop


def _check_sides(section: SplitSection, placed: Placement, rows: int, folds: npt.NDArray[np.int64]) -> None:
    entities = {"id": "entities", "row": "rows", "group": "groups", "time": f"{section.split.unit}s"}.get(
        placed.by, "rows"
    )
    share = f"a share of {section.split.test:g}"
    if not placed.test.any():
        raise InputError(
            f"test rows were expected, but none of {rows} rows falls to the test side at {share}",
            f"bring more {entities}, or raise `split.test`",
            rows=rows,
        )
    empty = int((folds == 0).sum())
    left = f"{int(folds.sum())} of {rows} rows are left for development"
    if empty:
        raise InputError(
            f"rows were expected in each of {len(folds)} folds, {empty} have none: {left}",
            f"bring more {entities}, or lower `split.folds`" + ("" if folds.sum() else " or `split.test`"),
            rows=rows,
        )
