"""Which rows depend on each other: those of a block, such as a day, a group, an entity."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.judgement import DAY
from kubeloop.contract.sections import EvaluateSection, MonitorSection
from kubeloop.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def blocks_of(section: EvaluateSection | MonitorSection, table: "pd.DataFrame") -> tuple[NDArray[np.int64] | None, str]:
    """The block of each row, and what makes it; None where every row stands for itself.

    `gate.blocks` says it, of windows of live rows `monitoring.detectors.blocks`. Without it, rows of one `data.group`
    depend on each other, or rows of one id where ids repeat. Rows without a value are one block: nobody knows that they
    are not.

    Args:
        section: The contract's part.
        table: (n, columns).

    Raises:
        InputError: The column is not in the table.
    """
    asked = section.blocks if isinstance(section, MonitorSection) else section.gate.blocks
    if asked is not None and asked not in table.columns:
        if asked != DAY or section.time is None:
            raise _absent(asked, table)
        if section.time not in table.columns:
            raise _absent(section.time, table)
        return _numbers(_days(table[section.time])), f"day of {section.time}"
    if asked is not None:
        return _numbers(table[asked]), asked
    if section.group is not None and section.group in table.columns:
        return _numbers(table[section.group]), section.group
    ids = [name for name in section.id if name in table.columns]
    if ids and bool(table.duplicated(ids).any()):
        numbers = table.groupby(ids, sort=True, dropna=False).ngroup().to_numpy()
        return np.asarray(numbers, dtype=np.int64), ", ".join(ids)
    return None, ""


def _absent(name: str, table: "pd.DataFrame") -> InputError:
    return InputError(
        f"the column {name!r}, by which gate.blocks or monitoring.detectors.blocks parts rows, was expected, "
        "there is none",
        f"correct it in loop.yaml; columns are {', '.join(map(str, table.columns))}",
        column=name,
    )


def _days(values: "pd.Series[Any]") -> "pd.Series[Any]":
    import pandas as pd

    return pd.to_datetime(values, utc=True).dt.floor("D")


def _numbers(values: "pd.Series[Any]") -> NDArray[np.int64]:
    import pandas as pd

    return np.asarray(pd.factorize(values, sort=False, use_na_sentinel=True)[0], dtype=np.int64)
