"""From the profile of a table to a commented contract that runs as it is."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kubeloop.contract.check import check
from kubeloop.contract.data import RESERVED_COLUMNS
from kubeloop.contract.findings import hint, near
from kubeloop.contract.judgement import METRICS_OF_TASK, MetricName
from kubeloop.contract.load import parse
from kubeloop.contract.profile import ColumnProfile, Scalar, TableProfile
from kubeloop.contract.target import Task
from kubeloop.contract.yaml_text import comment, key, scalar, sequence
from kubeloop.contract.yaml_tree import tree_of
from kubeloop.errors import InputError

SMALL_ROWS = 2_000
"""Below so many rows a linear model is the default, from here on gradient boosting."""
MOST_CLASSES = 50
_FEW_INTEGERS = 10
_LONGEST_LIST = 2_000
_EXACT = 2**53
_FEWEST_IDS = 50
_ID_DIGITS = 6
_MEETINGS = 12
_BEYOND_MEASURE = 2**40
_MOSTLY_LATER = 0.5
_MOSTLY_NULL = 0.3
_TELLS_MUCH = 0.8
_ALSO: dict[Task, tuple[MetricName, ...]] = {
    "binary": ("log_loss", "pr_auc"),
    "multiclass": ("log_loss", "f1"),
    "regression": ("mae", "r2"),
}
"""What tells another side of a model than the primary metric: how sure it is, the rare class, the common error."""
_ID_WORDS = re.compile(r"(^|_|\b|(?<=[a-z]))(id|uuid|guid|key|index|idx|rownum|unnamed: ?\d+)$", re.IGNORECASE)
_POSITIVE_WORDS = (
    "yes",
    "true",
    "y",
    "t",
    "1",
    "positive",
    "pos",
    "bad",
    "sick",
    "default",
    "churn",
    "churned",
    "fraud",
)
_NEGATIVE_WORDS = ("no", "false", "n", "f", "0", "negative", "neg", "good", "healthy", "none")


@dataclass(frozen=True)
class _Asked:
    """What the user said about the table."""

    target: str
    time: str | None
    ids: tuple[str, ...]


def infer(
    profile: TableProfile, table: str, *, target: str, time: str | None = None, ids: Sequence[str] = (), name: str
) -> str:
    """Write a contract for a table.

    Args:
        profile: What the table looks like.
        table: Its path as the contract shall say it, relative to where the contract will lie.
        target: The column to predict.
        time: The column with the moment of the decision.
        ids: Columns that name an entity.
        name: The model's name.

    Returns:
        YAML text that `read_contract` takes, and whose rules the table keeps.

    Raises:
        InputError: A column is not there, or the table or its target cannot be learnt from.
    """
    asked = _Asked(target, time, tuple(dict.fromkeys(ids)))
    _check(profile, asked)
    answer = profile.column(target)
    assert answer is not None
    task = _task(answer)
    text = "\n".join(
        [*_head(profile, table, asked, name), *_columns(profile, asked, task), *_learning(profile, asked, answer, task)]
    )
    check(parse(tree_of(text, "loop.yaml").document))
    return text


def _check(profile: TableProfile, asked: _Asked) -> None:
    names = [column.name for column in profile.columns]
    wanted = [("target", asked.target), *(("id", each) for each in asked.ids)]
    wanted += [("time", asked.time)] if asked.time is not None else []
    for role, name in wanted:
        if name not in names:
            close = near(name, names)
            raise InputError(
                f"the table has no column {name!r} for --{role}{hint(close)}",
                f"name one of its columns: {', '.join(names[:20])}",
                column=name,
                nearest=close,
            )
    if asked.target == asked.time or asked.target in asked.ids:
        raise InputError(
            f"{asked.target!r} cannot be the target and an id or the time too",
            "name another column",
            column=asked.target,
        )
    time = profile.column(asked.time or "")
    if time is not None and time.type not in ("timestamp", "date"):
        raise InputError(
            f"the column {time.name!r} for --time holds no moments but the type {time.type}",
            "write its values like 2027-01-31 or 2027-01-31T12:00:00Z, or leave --time out",
            column=time.name,
        )
    if profile.rows < 2:
        raise InputError(f"at least 2 rows were expected, the table has {profile.rows}", "bring more rows")


def _task(target: ColumnProfile) -> Task:
    """The task, by the target's values."""
    if target.distinct < 2:
        got = "no value" if target.distinct == 0 else "the same value in every row"
        raise InputError(
            f"the target {target.name!r} was expected to vary, it has {got}",
            "name a column that differs from row to row",
            column=target.name,
        )
    if target.number_format is not None:
        raise InputError(
            f"the target {target.name!r} holds numbers written as text ({target.number_format})",
            "write them like 1234.5: without marks between thousands, with a decimal point",
            column=target.name,
        )
    if target.type in ("timestamp", "date"):
        raise InputError(
            f"the target {target.name!r} is a {target.type}, which no model here predicts",
            "name a column of numbers or categories",
            column=target.name,
        )
    if target.distinct == 2:
        return "binary"
    if target.type == "text" and target.distinct > MOST_CLASSES:
        raise InputError(
            f"the target {target.name!r} has {target.distinct:,} different texts, at most {MOST_CLASSES} were expected",
            "name a column of numbers or of few categories",
            column=target.name,
        )
    few = target.type == "integer" and target.distinct <= _FEW_INTEGERS
    return "multiclass" if few or target.type == "text" else "regression"


def _head(profile: TableProfile, table: str, asked: _Asked, name: str) -> Iterator[str]:
    yield f"# What the model {comment(name)} must be. Written by `kubeloop init` from {comment(table)}"
    yield f"# ({profile.rows:,} rows, {len(profile.columns)} columns). It runs as it is; make it yours line by line."
    yield "# Help in your editor: kubeloop check --schema > loop.schema.json, and keep the next line."
    yield "# yaml-language-server: $schema=loop.schema.json"
    yield ""
    yield "kubeloop: 1        # version of the contract's language"
    yield f"name: {scalar(name)}"
    yield ""
    yield "# Say why the model exists, so that numbers can be held against it:"
    yield "# business:"
    yield "#   problem: ..."
    yield "#   outcome: ..."
    yield "#   owner: ..."
    yield ""
    yield "data:"
    yield "  sources:"
    yield "    - name: table"
    yield f"      path: {scalar(table)}    # relative to this file"
    if asked.ids:
        yield f"  id: {sequence(asked.ids)}    # rows of one entity stay on one side of the split"
    if asked.time is not None:
        yield f"  time: {scalar(asked.time)}    # the moment of the decision"


def _columns(profile: TableProfile, asked: _Asked, task: Task) -> Iterator[str]:
    left_out: list[str] = []
    yield "  # A row that breaks a rule goes to quarantine. Rules are wider than what was seen: tighten what you know."
    yield "  # Add `policy: deny | pii | audit_only` where a column must not be learnt from, and `known_at: after`"
    yield "  # where its value is known only once the decision is made."
    yield "  columns:"
    for column in profile.columns:
        reason = _reason(column, profile.rows, asked)
        if reason is not None:
            left_out.append(f"    # {comment(column.name)}: left out, {reason}")
        else:
            yield _column(column, profile.rows, asked, task)
    yield from left_out


def _reason(column: ColumnProfile, rows: int, asked: _Asked) -> str | None:
    """Why a column is not worth reading; None when it is."""
    if column.name in (asked.target, asked.time, *asked.ids):
        return None
    spread = _spread(column)
    counted = column.type == "integer" and spread is not None and spread + 1 == rows
    named = column.type == "integer" and _ID_WORDS.search(column.name) is not None
    late = f"; it is later than {asked.time} in {_percent(column.after_time)} of the rows, so `known_at: after`"
    late = late if (column.after_time or 0) >= _MOSTLY_LATER else ""
    mixed = f"numbers in {column.numbers:,} cells, beside words such as {comment(', '.join(map(repr, column.words)))}"
    reasons = (
        (column.name in RESERVED_COLUMNS, "the name is kept for Kubeloop's own use; rename the column"),
        (column.distinct == 0, "it has no value in any row"),
        (column.distinct == 1, f"it is constant{' where it is filled' if column.nulls else ''}"),
        (
            column.type in ("timestamp", "date"),
            f"a moment is no feature (is it the time? then `init` with --time){late}",
        ),
        (
            column.date_format is not None,
            f"dates written as {'text' if column.type == 'text' else 'numbers'} ({column.date_format}): write them "
            "like 2027-01-31",
        ),
        (
            column.number_format is not None,
            f"numbers written as text ({column.number_format}): write them like 1234.5",
        ),
        (bool(column.words), f"{mixed}: write a missing number as an empty cell"),
        (column.id_like and column.type == "text", "different in every row, so it looks like a name or id"),
        (column.id_like and (counted or named), "different in every row, so it looks like an id or a row number"),
        (column.id_like and _assigned(column, rows), "different in every row, as only ids are, so it looks like an id"),
        (
            column.type == "text" and column.distinct > max(MOST_CLASSES, rows // 10),
            f"{column.distinct:,} different texts, too many for categories",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _assigned(column: ColumnProfile, rows: int) -> bool:
    """Whether whole numbers that differ in every row have been given out, and not measured.

    Measured ones would meet: n of them, however they lie among S values, meet at least n^2 / 2S times on average. Ids
    that are drawn at random fill all numbers of a certain length instead.
    """
    low, high, spread = column.minimum, column.maximum, _spread(column)
    if spread is None or not isinstance(low, int) or not isinstance(high, int) or rows < _FEWEST_IDS:
        return False
    digits = len(str(high))
    full = (
        digits >= _ID_DIGITS and low < 1.2 * 10 ** (digits - 1) and low >= 10 ** (digits - 1) and str(high)[:2] >= "97"
    )
    return rows**2 / (2 * (spread + 1)) >= _MEETINGS or full or spread >= _BEYOND_MEASURE


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.0f}%"


def _spread(column: ColumnProfile) -> float | None:
    low, high = column.minimum, column.maximum
    return None if low is None or high is None or isinstance(low, str) or isinstance(high, str) else high - low


def _column(column: ColumnProfile, rows: int, asked: _Asked, task: Task) -> str:
    remarks: list[str] = []
    is_target = column.name == asked.target
    parts = _type_parts(column, is_target and task != "regression", remarks)
    if column.nulls:
        remarks.append(f"{column.nulls:,} of {rows:,} missing")
    if is_target:
        remarks.insert(0, "the target")
    elif column.name in asked.ids:
        parts, remarks = [f"type: {column.type}"], ["names the entity, so it is no feature"]
    elif column.type == "integer" and 2 < column.distinct <= _FEW_INTEGERS:
        remarks.append("are these codes? then write `type: category`")
    if _may_learn(column, asked) and column.leaks:
        parts.append("known_at: after")
        remarks.insert(0, f"tells the target almost perfectly ({column.tells:.3f}), so it is taken as known too late")
    elif _may_learn(column, asked) and (column.tells or 0) >= _TELLS_MUCH:
        remarks.append(f"tells the target well alone ({column.tells:.2f}): if known too late, add `known_at: after`")
    tail = f"    # {'; '.join(remarks)}" if remarks else ""
    return f"    {key(column.name)}: {{{', '.join(parts)}}}{tail}"


def _may_learn(column: ColumnProfile, asked: _Asked) -> bool:
    return column.name not in (asked.target, asked.time, *asked.ids)


def _mostly_null(profile: TableProfile, asked: _Asked) -> list[ColumnProfile]:
    """Columns that are missing in many rows; none if there would be no feature left without them."""
    used = [column for column in profile.columns if _may_learn(column, asked) and not column.leaks]
    used = [column for column in used if _reason(column, profile.rows, asked) is None]
    found = [column for column in used if column.nulls >= _MOSTLY_NULL * profile.rows]
    return found if len(found) < len(used) else []


def _features(profile: TableProfile, asked: _Asked) -> Iterator[str]:
    dropped = _mostly_null(profile, asked)
    many = any(
        column.type == "text" and column.distinct > MOST_CLASSES and _reason(column, profile.rows, asked) is None
        for column in profile.columns
    )
    if not dropped and not many:
        return
    yield "features:"
    if dropped:
        yield "  drop:    # take a column out of this list to learn from it all the same"
    for column in dropped:
        yield f"    - {scalar(column.name)}    # missing in {_percent(column.nulls / profile.rows)} of the rows"
    if many:
        encode = "" if profile.rows < SMALL_ROWS else "encode: ordinal, "
        yield f"  categorical: {{{encode}min_frequency: 10}}    # many categories; the rarer ones are put together"
    yield ""


def _type_parts(column: ColumnProfile, classes: bool, remarks: list[str]) -> list[str]:
    if column.type in ("boolean", "timestamp", "date"):
        return [f"type: {column.type}"]
    if column.type == "text" or (classes and column.type == "number"):
        values = sequence(column.values)
        if column.values and len(values) <= _LONGEST_LIST:
            return ["type: category", f"values: {values}"]
        remarks.append(f"{column.distinct:,} categories")
        return ["type: category"]
    if classes or (column.type == "integer" and len(column.values) == 2):
        return [f"type: {column.type}", f"values: {sequence(sorted(column.values))}"]
    remarks.append(f"seen: {_number(column.minimum)} to {_number(column.maximum)}")
    return [f"type: {column.type}", *_wide(column)]


def _wide(column: ColumnProfile) -> list[str]:
    """Bounds as far out again as the values spread, rounded outward; nothing below 0 where nothing was."""
    low, high, spread = column.minimum, column.maximum, _spread(column)
    if spread is None or low is None or high is None or isinstance(low, str) or isinstance(high, str):
        return []
    if not spread < _EXACT or max(abs(low), abs(high)) >= _EXACT:
        return []
    floor = 0.0 if low >= 0 else _outward(low - spread, math.floor)
    return [f"minimum: {_number(floor)}", f"maximum: {_number(_outward(high + spread, math.ceil))}"]


def _outward(value: float, way: Callable[[float], int]) -> float:
    """A bound with two digits that count, rounded by `way`."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - 1
    return float(f"{way(value / 10.0**exponent)}e{exponent}")


def _number(value: float | str | None) -> str:
    if isinstance(value, float) and not (value.is_integer() and abs(value) < _EXACT):
        return f"{value:.12g}"
    return str(value if isinstance(value, str | None) else int(value))


def _learning(profile: TableProfile, asked: _Asked, target: ColumnProfile, task: Task) -> Iterator[str]:
    share, folds = (0.2, 5) if profile.rows >= 500 else (0.3, 5 if profile.rows >= 100 else 3)
    yield ""
    yield "target:"
    yield f"  column: {scalar(target.name)}"
    yield f"  task: {task}        # {target.distinct:,} different values in {profile.rows - target.nulls:,} rows"
    if task == "binary":
        yield f"  positive: {scalar(_positive(target))}    # the class of interest; the other one is the rest"
    yield ""
    yield "split:"
    yield f"  test: {share}        # share of rows that no training sees, by hash: a row never changes sides"
    yield f"  folds: {folds}         # for cross-validation on the rest"
    yield ""
    yield from _features(profile, asked)
    yield from _estimator(profile, task)
    yield ""
    primary = METRICS_OF_TASK[task][0]
    yield "# Without thresholds the model must beat the dummy that knows only the target's distribution."
    yield "metrics:"
    yield f"  primary: {primary}"
    yield f"  also: [{', '.join(_ALSO[task])}]    # beside it; the report shows all that fit"
    example = "rmse: {at_most: 10}" if task == "regression" else f"{primary}: {{at_least: 0.7}}"
    yield "  # thresholds:"
    yield f"  #   {example}    # the whole confidence interval must keep it"
    yield ""
    tests = profile.rows * share
    yield "gate:"
    yield f"  minimum_rows: {30 if tests >= 50 else max(5, int(tests / 2))}        # fewer test rows: inconclusive"
    yield "  quarantine_at_most: 0.05  # share of rows that may break a rule"
    yield f"  champion: {{margin: 2%}}  # how much worse than the champion's {primary} a challenger's may be"
    yield ""
    yield "seed: 0"
    yield ""


def _estimator(profile: TableProfile, task: Task) -> Iterator[str]:
    linear = "ridge" if task == "regression" else "logistic_regression"
    small = profile.rows < SMALL_ROWS
    chosen, other = (linear, "gradient_boosting") if small else ("gradient_boosting", linear)
    why = f"{profile.rows:,} rows are {'few, so a linear model' if small else 'enough for trees'}"
    yield "estimator:"
    yield f"  kind: {chosen}    # {why}; or {other}"


def _positive(target: ColumnProfile) -> Scalar:
    """The class of interest: by its word, else the larger number, else the rarer one."""
    first, second = target.values
    words = [str(value).strip().lower() for value in target.values]
    for word, other, value in ((words[0], words[1], first), (words[1], words[0], second)):
        if word in _POSITIVE_WORDS or other in _NEGATIVE_WORDS:
            return value
    if isinstance(first, int | float) and isinstance(second, int | float):
        return max(first, second)
    return second
