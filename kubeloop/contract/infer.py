"""From the profile of a table to a commented contract that runs as it is."""

from collections.abc import Iterator, Sequence

from kubeloop.contract.check import check
from kubeloop.contract.findings import hint, near
from kubeloop.contract.infer_columns import (
    FEW_INTEGERS,
    MOST_CLASSES,
    Asked,
    columns,
    mostly_null,
    percent,
    reason_to_leave_out,
)
from kubeloop.contract.judgement import METRICS_OF_TASK, MetricName
from kubeloop.contract.load import parse
from kubeloop.contract.profile import ColumnProfile, Scalar, TableProfile
from kubeloop.contract.target import Task
from kubeloop.contract.yaml_text import comment, scalar, sequence
from kubeloop.contract.yaml_tree import tree_of
from kubeloop.errors import InputError

SMALL_ROWS = 2_000
"""Below so many rows a linear model is the default, from here on gradient boosting."""
_ALSO: dict[Task, tuple[MetricName, ...]] = {
    "binary": ("log_loss", "pr_auc"),
    "multiclass": ("log_loss", "f1"),
    "regression": ("mae", "r2"),
}
"""What tells another side of a model than the primary metric: how sure it is, the rare class, the common error."""
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
    asked = Asked(target, time, tuple(dict.fromkeys(ids)))
    _check(profile, asked)
    answer = profile.column(target)
    assert answer is not None
    task = _task(answer)
    text = "\n".join(
        [*_head(profile, table, asked, name), *columns(profile, asked, task), *_learning(profile, asked, answer, task)]
    )
    check(parse(tree_of(text, "loop.yaml").document))
    return text


def _check(profile: TableProfile, asked: Asked) -> None:
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
    if target.type == "text" and (target.distinct > MOST_CLASSES or target.id_like):
        every = "one in every row" if target.id_like else f"at most {MOST_CLASSES} were expected"
        raise InputError(
            f"the target {target.name!r} has {target.distinct:,} different texts, {every}",
            "name a column of numbers or of few categories",
            column=target.name,
        )
    few = target.type == "integer" and target.distinct <= FEW_INTEGERS
    return "multiclass" if few or target.type == "text" else "regression"


def _head(profile: TableProfile, table: str, asked: Asked, name: str) -> Iterator[str]:
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


def _features(profile: TableProfile, asked: Asked) -> Iterator[str]:
    dropped = mostly_null(profile, asked)
    kept = (column for column in profile.columns if reason_to_leave_out(column, profile.rows, asked) is None)
    many = any(column.type == "text" and column.distinct > MOST_CLASSES for column in kept)
    if not dropped and not many:
        return
    yield "features:"
    if dropped:
        yield "  drop:    # take a column out of this list to learn from it all the same"
    for column in dropped:
        yield f"    - {scalar(column.name)}    # missing in {percent(column.nulls / profile.rows)} of the rows"
    if many:
        encode = "" if profile.rows < SMALL_ROWS else "encode: ordinal, "
        yield f"  categorical: {{{encode}min_frequency: 10}}    # many categories; the rarer ones are put together"
    yield ""


def _learning(profile: TableProfile, asked: Asked, target: ColumnProfile, task: Task) -> Iterator[str]:
    share, folds = (0.2, 5) if profile.rows >= 500 else (0.3, 5 if profile.rows >= 100 else 3)
    yield ""
    yield "target:"
    yield f"  column: {scalar(target.name)}"
    yield f"  task: {task}        # {target.distinct:,} different values in {profile.rows - target.nulls:,} rows"
    if task == "binary":
        yield f"  positive: {scalar(_positive(target))}    # the class of interest; the other one is the rest"
    yield ""
    yield "split:"
    by = "the id: a row never changes sides" if asked.ids else "all its cells: no new row moves it, a new column may"
    yield f"  test: {share}        # share of rows that no training sees, by a hash of {by}"
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
