"""What the words about the split must mean together with the data."""

from collections.abc import Iterator

from kubeloop.contract.data import Data
from kubeloop.contract.features import Features
from kubeloop.contract.findings import Problem, unknown, wrong
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target

_COUNTED = ("category", "boolean", "integer", "text")


def check_split(split: Split, data: Data, target: Target, features: Features) -> Iterator[Problem]:
    """All that is wrong with the section `split`."""
    if split.by in ("hash", "time") and split.column is not None:
        message = f"`column` is not for `by: {split.by}`"
        yield Problem(("split", "column"), message, "no `column`", split.column, None, True)
        return
    if split.by == "time":
        yield from _time(split, data)
        return
    readable = [name for name, column in data.columns.items() if column.policy != "deny"]
    if split.column is not None and split.column not in readable:
        yield unknown(("split", "column"), "a column that is read", split.column, readable)
    elif split.by == "group" and split.column is None and data.group is None:
        yield wrong(("split", "by"), "`split.column` or `data.group` with `by: group`", "neither")
    elif split.by == "stratified":
        yield from _strata(split, data, target)
    elif split.by == "column":
        yield from _fold_column(split, data, features)


def _time(split: Split, data: Data) -> Iterator[Problem]:
    if data.time is None:
        yield wrong(("split", "by"), "`data.time` with `by: time`", "none")
        return
    column = data.columns.get(data.time)
    if column is not None and column.type == "date" and split.unit == "hour":
        yield wrong(("split", "unit"), f"day or row, for {data.time!r} is a date", "hour")


def _strata(split: Split, data: Data, target: Target) -> Iterator[Problem]:
    if split.column is None:
        if target.task == "regression":
            yield wrong(
                ("split", "by"), "`split.column` with `by: stratified`, for a regression has no classes", "none"
            )
        return
    kind = data.columns[split.column].type
    if kind not in _COUNTED:
        yield wrong(("split", "column"), f"a column of type {', '.join(_COUNTED)}", f"{split.column!r} of type {kind}")


def _fold_column(split: Split, data: Data, features: Features) -> Iterator[Problem]:
    if split.column is None:
        yield wrong(("split", "by"), "`split.column` with `by: column`", "none")
        return
    column = data.columns[split.column]
    if column.type not in _COUNTED:
        expected = f"a column of type {', '.join(_COUNTED)}"
        yield wrong(("split", "column"), expected, f"{split.column!r} of type {column.type}")
    elif column.type != "text" and column.known_at != "after" and split.column not in features.drop:
        message = f"{split.column!r} says where a row belongs, so it is no feature: name it in features.drop"
        yield Problem(("split", "column"), message, f"{split.column} in features.drop", "not there")
