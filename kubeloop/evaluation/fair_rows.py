"""Which test rows a champion has not been trained on, told by the description of its training rows alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNREADABLE = "the champion's description of its training rows cannot be read"


def unseen(
    ours: Mapping[str, Any], theirs: Mapping[str, Any] | None, test: Path, rows: int
) -> tuple[NDArray[np.bool_] | None, str]:
    """The test rows that the champion has surely not seen; the challenger has seen none of its test rows.

    Args:
        ours: `training_rows` of the challenger, whose test rows these are.
        theirs: `training_rows` of the champion; see `kubeloop.data.training_rows` for its kinds.
        test: The test table.
        rows: Its number of rows.

    Returns:
        A (rows,) bool mask, or None with the reason why no row can be called unseen.
    """
    if not theirs:
        return None, "the champion does not say which rows it was trained on"
    from kubeloop.data.tables import read_arrow, read_facts
    from kubeloop.data.training_rows import masked_keys

    if masked_keys(theirs, read_facts(test).types).get("masked") != theirs.get("masked"):
        return None, "the champion's rows were placed by personal columns that had other pseudonyms, or were in clear"
    same = ("seed", "key", "test_share")
    if ours.get("kind") == theirs.get("kind") == "hash" and all(ours.get(word) == theirs.get(word) for word in same):
        return np.ones(rows, dtype=bool), ""
    table = read_arrow(test)
    # A row without the value that places it may have been anywhere.
    placing = [str(theirs.get("column"))] if theirs.get("kind") in ("time", "column") else list(theirs.get("key") or ())
    told = np.ones(rows, dtype=bool)
    for name in placing:
        if name in table.column_names and theirs.get("kind") != "hash":
            told &= np.asarray(table.column(name).is_valid())
    return _among(theirs, table, told)


def _among(theirs: Mapping[str, Any], table: Any, told: NDArray[np.bool_]) -> tuple[NDArray[np.bool_] | None, str]:
    import pyarrow as pa

    from kubeloop.data.training_rows import outside

    try:
        found, why = outside(theirs, table.filter(pa.array(told)))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        return None, f"{_UNREADABLE} ({type(error).__name__})"
    if found is None:
        return None, why
    mask = told.copy()
    mask[told] = found
    return mask, ""
