"""Which columns a model reads, and why every other one is left out."""

import re
from typing import TYPE_CHECKING, Any

from kubeloop.contract.data import Column
from kubeloop.contract.sections import TrainSection
from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.inputs import InputColumn, Kind, category_text, nearest, seconds_of

if TYPE_CHECKING:
    import pandas as pd

KINDS: dict[str, Kind] = {"integer": "number", "number": "number", "category": "category", "boolean": "boolean"}
MOMENTS = ("timestamp", "date")


def excluded(section: TrainSection) -> dict[str, str]:
    """Columns of the contract that are no features, each with the reason.

    Raises:
        InputError: `features.use` or `features.drop` names a column that is not in the contract, or `use` one that
            may not be a feature.
    """
    found: dict[str, str] = {}
    for name, column in section.data.columns.items():
        reason = _reason(section, name, column)
        if reason:
            found[name] = reason
    names = list(section.data.columns)
    for key, words in (("use", section.features.use or ()), ("drop", section.features.drop)):
        for word in words:
            if word not in names:
                raise InputError(
                    f"features.{key} names {word!r}, which is no column of the contract{nearest(word, names)}",
                    f"name a column of data.columns in features.{key}",
                    column=word,
                )
    for word in section.features.use or ():
        if word in found and word not in section.features.drop:
            raise InputError(
                f"features.use names {word!r}, which may not be a feature: {found[word]}",
                f"take {word!r} out of features.use",
                column=word,
            )
    if section.features.use is not None:
        wanted = {*section.features.use, *moments(section)}
        found |= {name: "not in features.use" for name in names if name not in wanted}
    return found


def moments(section: TrainSection) -> tuple[str, ...]:
    """Columns whose date parts or holidays are features, each once."""
    holidays = section.features.holidays
    return tuple(dict.fromkeys([*section.features.dates, *([holidays.column] if holidays else [])]))


def kind_of(section: TrainSection, name: str) -> Kind | None:
    """What a column is to the model; None for one that cannot be a feature."""
    column = section.data.columns[name]
    words = section.features.columns.get(name)
    if column.type == "text":
        return "category" if words is not None and words.encode is not None else None
    if column.type in MOMENTS:
        return "timestamp" if name in moments(section) else None
    return KINDS.get(column.type)


def _reason(section: TrainSection, name: str, column: Column) -> str | None:
    target = section.target
    roles = {target.output: "the target", section.data.group: "the group column"}
    if name not in moments(section):
        roles[section.data.time] = "the time column"
    roles |= dict.fromkeys(section.data.id, "an id column")
    derived = set(re.findall(r"\w+", target.expression)) if target.expression else set()
    rules = (
        (name in roles, roles.get(name)),
        (name in derived, "the target is derived from it"),
        (column.policy is not None, f"policy {column.policy}"),
        (column.known_at == "after", "known only after the decision"),
        (name in section.features.drop, "in features.drop"),
        (kind_of(section, name) is None, f"type {column.type} is not used as a feature"),
    )
    return next((reason for broken, reason in rules if broken), None)


def input_columns(section: TrainSection, frame: "pd.DataFrame") -> tuple[list[InputColumn], dict[str, str]]:
    """The model's inputs, in the order of the contract, and why every other column is none.

    Args:
        section: The contract's part.
        frame: (n, columns) development rows.

    Returns:
        The inputs, and column -> reason for all columns of the contract that are none, the constant ones included.

    Raises:
        InputError: A column of the contract is not in the table, or no feature is left.
    """
    left_out = excluded(section)
    found: list[InputColumn] = []
    for name, column in section.data.columns.items():
        if name in left_out:
            continue
        if name not in frame.columns:
            raise InputError(
                f"column {name!r} of the contract is not in the table{nearest(name, [str(c) for c in frame.columns])}",
                f"give the column in the source, or take {name!r} out of data.columns",
                column=name,
            )
        described = _describe(name, column, frame[name], kind_of(section, name) or "number")
        if described is None:
            left_out[name] = "constant in the development rows"
        else:
            found.append(described)
    found += [_window(window.name, frame) for window in section.features.windows]
    if not found:
        raise InputError(
            "no feature is left: " + "; ".join(f"{name} ({why})" for name, why in left_out.items()),
            "give at least one column that varies, is known at the decision and may be used",
        )
    return found, left_out


def _window(name: str, frame: "pd.DataFrame") -> InputColumn:
    """The input of a window: computed before the split for training, and carried by every request in serving."""
    if name not in frame.columns:
        raise PermanentError(f"the table has no column {name!r} for the window of that name", "run `split` first")
    known = frame[name].dropna()
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return InputColumn(name=name, kind="number", categories=None, minimum=low, maximum=high, nullable=True)


def _describe(name: str, column: Column, values: "pd.Series[Any]", kind: Kind) -> InputColumn | None:
    """One input, or None where its values are constant. A missing category counts as a value, a missing number not."""
    import pandas as pd

    if kind == "category":
        given = [category_text(value) for value in column.values or ()]
        seen = [category_text(value) for value in pd.unique(values)]
        if len(set(seen)) < 2:
            return None
        texts = sorted({text for text in [*given, *seen] if text is not None})
        return InputColumn(name=name, kind=kind, categories=texts, minimum=None, maximum=None, nullable=column.nullable)
    known = values.dropna()
    if known.nunique() < 2:
        return None
    if kind == "timestamp":
        whole = seconds_of(known)
        low, high = float(whole.min()), float(whole.max())
    else:
        low, high = (0.0, 1.0) if kind == "boolean" else _bounds(known, column)
    return InputColumn(name=name, kind=kind, categories=None, minimum=low, maximum=high, nullable=column.nullable)


def _bounds(known: "pd.Series[Any]", column: Column) -> tuple[float, float]:
    low = column.minimum if column.minimum is not None else float(known.min())
    high = column.maximum if column.maximum is not None else float(known.max())
    return low, high
