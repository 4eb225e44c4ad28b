"""The one sanitiser: nothing non-finite and nothing of numpy leaves a task.

A NaN kills a KFP task after its work is done.
"""

import dataclasses
import datetime as dt
import decimal
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from kubeloop.digests import canonical_json

NOT_FINITE = "not_finite"


def finite(values: Mapping[str, Any]) -> dict[str, float | int | str]:
    """Flat values fit for artifact metadata, metrics and MLflow.

    numpy scalars become Python's, booleans 0 or 1, lists and documents canonical JSON text. None, NaN and infinities
    are left out; the names of the latter two stand in the key `not_finite` as comma-separated text.
    """
    kept: dict[str, float | int | str] = {}
    lost: list[str] = []
    for key, value in values.items():
        clean = plain(value)
        if clean is None:
            lost += [key] if value is not None else []
        elif isinstance(clean, bool):
            kept[key] = int(clean)
        elif isinstance(clean, (int, float, str)):
            kept[key] = clean
        else:
            kept[key] = canonical_json(clean)
    if lost:
        kept[NOT_FINITE] = ",".join(lost)
    return kept


def plain(value: Any) -> Any:
    """`value` as JSON types, however deep. NaN and infinities become None, so lists keep their places.

    Times become ISO 8601 text, naive ones taken as UTC.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, str) else str(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # numpy and pandas, which need not be loaded for this
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, decimal.Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return aware.astimezone(dt.UTC).isoformat()
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="python"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=canonical_json)
    raise TypeError(f"a JSON value was expected, got {type(value).__name__}")
