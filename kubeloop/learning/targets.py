"""The target as numbers: positions in a fixed order of classes, or float64."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.target import Target
from kubeloop.errors import InputError
from kubeloop.learning.inputs import category_text, nearest

if TYPE_CHECKING:
    import pandas as pd

Label = str | int | bool


def labels_of(values: "pd.Series[Any]") -> list[Label]:
    """Labels as plain Python values: bool and text as they are, whole numbers as int, other numbers as text.

    Raises:
        InputError: A label is missing.
    """
    return [_label(value, row) for row, value in enumerate(values.tolist(), start=1)]


def _label(value: Any, row: int) -> Label:
    if isinstance(value, (bool, str)):
        return value
    text = category_text(value)
    if text is None:
        raise InputError(f"the target is missing in row {row}", "drop rows without a target in ingest", row=row)
    return int(text) if text.lstrip("-").isdigit() else text


def order_classes(labels: Sequence[Label], target: Target) -> list[Label]:
    """The classes in the model's order: sorted, and in a binary task the positive one last.

    Raises:
        InputError: Fewer than two classes, more than two in a binary task, or an unknown `target.positive`.
    """
    distinct = {(type(label).__name__, label) for label in labels}
    classes = [label for _, label in sorted(distinct)]
    if len(classes) < 2:
        raise InputError(
            f"target {target.output!r} has one class in the development rows: {', '.join(map(repr, classes))}",
            "give rows of at least two classes",
            column=target.output,
        )
    if target.task != "binary":
        return classes
    if len(classes) > 2:
        raise InputError(
            f"target {target.output!r} of a binary task has {len(classes)} classes: {_few(classes)}",
            "set `task: multiclass`, or derive a target with two classes by `expression`",
            column=target.output,
        )
    if target.positive is None:
        return classes
    texts = [str(category_text(label)) for label in classes]
    wanted = str(category_text(target.positive))
    if wanted not in texts:
        raise InputError(
            f"target.positive is {target.positive!r}, the classes are {_few(classes)}{nearest(wanted, texts)}",
            "name one of the two classes",
            column=target.output,
        )
    return classes if texts[1] == wanted else classes[::-1]


def positions(labels: Sequence[Label], classes: Sequence[Label]) -> NDArray[np.int64]:
    """(n,) positions of labels in `classes`; -1 for a label that is none of them."""
    index = {(type(label), label): position for position, label in enumerate(classes)}
    return np.array([index.get((type(label), label), -1) for label in labels], dtype=np.int64)


def numbers_of(values: "pd.Series[Any]", target: Target) -> NDArray[np.float64]:
    """The target of a regression, (n,) float64 in its own unit.

    Raises:
        InputError: A value is no finite number.
    """
    import pandas as pd

    found = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    broken = np.flatnonzero(~np.isfinite(found))
    if broken.size:
        raise InputError(
            f"target {target.output!r} of a regression is no finite number in {broken.size} rows, the first is row "
            f"{broken[0] + 1}",
            "give numbers, or set another `task`",
            column=target.output,
            row=int(broken[0]) + 1,
        )
    return found


def _few(classes: Sequence[Label]) -> str:
    shown = ", ".join(repr(label) for label in classes[:5])
    return shown if len(classes) <= 5 else f"{shown} and {len(classes) - 5} more"
