"""Keep test rows apart from development rows, and prove that nothing of them is on both sides."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kubeloop.contract.sections import SplitSection
from kubeloop.data.crossing import crossings
from kubeloop.data.picture import picture
from kubeloop.data.placing import Placement, key_columns, place, places
from kubeloop.data.tables import read_arrow, read_facts, staged, write_parts, write_table
from kubeloop.data.training_rows import add_training_rows, masked_keys
from kubeloop.data.windows import with_windows
from kubeloop.errors import InputError

__all__ = ["FOLD", "key_columns", "places", "split"]

FOLD = "_fold"


def split(section: SplitSection, table: Path, development: Path, test: Path) -> dict[str, Any]:
    """Write development rows, with the integer column `_fold` (0 to folds - 1), and test rows.

    The facts of the development rows tell how they were chosen; see `kubeloop.data.training_rows`.

    Args:
        section: The contract's part.
        table: Valid rows.
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
    rows = read_arrow(table)
    placed = place(section, rows)
    training = placed.training | masked_keys(placed.training, facts.types)
    folds = np.bincount(placed.fold[~placed.test], minlength=placed.folds)
    _check_sides(section, placed, rows.num_rows, folds)
    looked_at = crossings(section, rows, placed)
    # Only now: what places a row is what it was before.
    rows = with_windows(rows, section.windows, section.time, development.with_name(f".{development.name}.spill"))
    kept = rows.append_column(FOLD, pa.array(placed.fold)).filter(pa.array(~placed.test))
    types = {**facts.types, **{window.name: "number" for window in section.windows}}
    with staged(development) as partial:
        write_parts(kept.schema, kept.to_batches(), partial, {**types, FOLD: "integer"})
        add_training_rows(partial, {**training, "rows": kept.num_rows})
    write_table(rows.filter(pa.array(placed.test)), test, types)
    return {
        "development": kept.num_rows,
        "test": int(placed.test.sum()),
        "test_share": float(placed.test.mean()),
        "folds": [int(count) for count in folds],
        "by": placed.by,
        "key": list(placed.training.get("key", ())),
        "looked_at": looked_at,
        **placed.more,
        **picture(section, rows, placed),
    }


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
