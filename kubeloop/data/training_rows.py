"""What tells the rows that a model was trained on: `split` writes it with the development rows, the model keeps it.

| kind | words | a row was surely not trained on, if |
| --- | --- | --- |
| hash | seed, key, test_share | the hash of its key columns is below test_share |
| group | seed, key, unit, test_share | the hash of its key column, cut to whole units, is below test_share |
| stratified | seed, key, column, thresholds, test_share | the hash of its key columns is below each threshold |
| time | column, unit, until | its time is `until` or later |
| column | column, test | the column says that it is a test row |

All have id and rows, too; and masked, from key column to type, where personal columns place the rows.
"""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kubeloop.data.casting import is_masked
from kubeloop.data.tables import FACTS
from kubeloop.digests import canonical_json
from kubeloop.errors import IntegrityError

WORD = "training_rows"


def add_training_rows(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the description into the facts of a table that is not yet under its final name."""
    document = json.loads((folder / FACTS).read_text(encoding="ascii"))
    (folder / FACTS).write_text(canonical_json({**document, WORD: dict(description)}), encoding="ascii")


def masked_keys(description: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """`masked` of a description: its key columns that hold pseudonyms, with the mark of their key, or nothing to see.

    Args:
        description: Of training rows.
        types: Of the table's facts.
    """
    found = {name: types[name] for name in description.get("key", ()) if is_masked(types.get(name, ""))}
    return {"masked": found} if found else {}


def training_rows(development: Path) -> dict[str, Any]:
    """What `split` has written with the development rows.

    Raises:
        IntegrityError: There is nothing.
    """
    try:
        return dict(json.loads((development / FACTS).read_text(encoding="ascii"))[WORD])
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(
            f"development rows with a description of how they were chosen were expected in {development}",
            "run `split` again",
        ) from error


def outside(theirs: Mapping[str, Any], table: Any) -> tuple[npt.NDArray[np.bool_] | None, str]:
    """The rows of a table that a model, by the description of its training rows, was surely not trained on.

    Args:
        theirs: Of the model.
        table: `pyarrow.Table` of n rows.

    Returns:
        A (n,) mask with at least one row, or None with the reason why no row can be called unseen.
    """
    kind = str(theirs.get("kind"))
    needed = [str(theirs["column"])] if kind in ("time", "column") else [str(key) for key in theirs.get("key", ())]
    missing = [name for name in needed if name not in table.column_names]
    if kind not in ("hash", "group", "stratified", "time", "column"):
        return None, f"it cannot be told which rows the champion was trained on ({kind})"
    if not needed:
        return None, "the champion's split is by nothing that it names"
    if missing:
        return None, (
            f"the champion's split is by {', '.join(needed)}, and the test rows do not have {', '.join(missing)}: what "
            "a model shall not learn from stays in data.columns and is named in features.drop"
        )
    mask = (
        _later(theirs, table)
        if kind == "time"
        else _marked(theirs, table)
        if kind == "column"
        else _hashed(theirs, table)
    )
    return (mask, "") if mask.any() else (None, "the champion may have been trained on every one of the test rows")


def _later(theirs: Mapping[str, Any], table: Any) -> npt.NDArray[np.bool_]:
    from kubeloop.data.placing import microseconds

    until = dt.datetime.fromisoformat(str(theirs["until"]))
    return microseconds(table.column(str(theirs["column"]))) >= int(until.timestamp()) * 1_000_000 + until.microsecond


def _marked(theirs: Mapping[str, Any], table: Any) -> npt.NDArray[np.bool_]:
    from kubeloop.data.placing import words

    return np.asarray(words(table.column(str(theirs["column"]))) == str(theirs["test"]), dtype=bool)


def _hashed(theirs: Mapping[str, Any], table: Any) -> npt.NDArray[np.bool_]:
    from kubeloop.data.placing import places, whole_units

    keys = tuple(str(key) for key in theirs["key"])
    if theirs["kind"] == "group":
        table = whole_units(table, keys[0], str(theirs["unit"]))
    uniform, _ = places(table, keys, int(theirs["seed"]), 2)
    return np.asarray(uniform < float(theirs["test_share"]), dtype=bool)
