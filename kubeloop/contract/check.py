"""What the words of a contract must mean together; each rule yields problems, none of them stops at the first."""

from collections.abc import Callable, Iterable, Iterator

from kubeloop.contract.check_data import check_data, check_rules
from kubeloop.contract.check_estimator import check_estimator
from kubeloop.contract.check_features import FEATURE_TYPES, check_features
from kubeloop.contract.check_judgement import check_judgement
from kubeloop.contract.check_personal import check_personal
from kubeloop.contract.check_search import check_search
from kubeloop.contract.check_split import check_split
from kubeloop.contract.expressions import columns_of
from kubeloop.contract.findings import Finding, Problem, contract_error, unknown, wrong
from kubeloop.contract.model import Contract
from kubeloop.contract.problems import expression_problem, ordered
from kubeloop.contract.sections import parameter_bytes
from kubeloop.contract.text import LIMIT_BYTES


def problems_of(contract: Contract) -> list[Problem]:
    """All that is wrong with a contract whose shape is right."""
    rules: tuple[Callable[[Contract], Iterable[Problem]], ...] = (
        lambda c: check_data(c.data),
        lambda c: check_rules(c.data, c.target.output),
        _target,
        lambda c: check_split(c.split, c.data, c.target, c.features),
        check_features,
        check_estimator,
        check_search,
        check_judgement,
        check_personal,
        _serving,
        _log,
        _size,
    )
    return [problem for rule in rules for problem in rule(contract)]


def check(contract: Contract) -> None:
    """Refuse a contract that does not make sense; for contracts that come from elsewhere than a file.

    Raises:
        InputError: All findings.
    """
    found = [Finding(problem) for problem in problems_of(contract)]
    if found:
        raise contract_error(found)


def _target(c: Contract) -> Iterator[Problem]:
    target, columns = c.target, c.data.columns
    if (target.column is None) == (target.expression is None):
        got = "neither" if target.column is None else "both"
        yield wrong(("target",), "exactly one of `column` and `expression`", got)
        return
    if target.column is not None:
        yield from _target_column(c, target.column)
    else:
        yield from _derived_target(c, target.expression or "")
    if target.positive is not None and target.task != "binary":
        expected = "no `positive`, which is for `task: binary`"
        yield Problem(
            ("target", "positive"), f"a {target.task} target has no positive class", expected, "one", None, True
        )
    column = columns.get(target.output)
    if target.positive is not None and column is not None and column.values is not None and target.task == "binary":
        words = [str(value) for value in column.values]
        if str(target.positive) not in words:
            yield unknown(
                ("target", "positive"), f"one of the values of {target.output!r}", str(target.positive), words
            )


def _target_column(c: Contract, name: str) -> Iterator[Problem]:
    path, task = ("target", "column"), c.target.task
    column = c.data.columns.get(name)
    if c.target.name is not None:
        yield Problem(
            ("target", "name"), "`name` is for a derived target alone", "no `name`", c.target.name, None, True
        )
    if column is None:
        yield unknown(path, "a column of data.columns", name, c.data.columns)
        return
    if column.policy == "deny":
        yield Problem(
            path, f"the target {name!r} is under policy deny, so it is never read", "a column that may be read", name
        )
    allowed = ("integer", "number") if task == "regression" else FEATURE_TYPES
    if column.type not in allowed:
        yield wrong(path, f"a target of type {' or '.join(allowed)} for {task}", f"{name!r} of type {column.type}")


def _derived_target(c: Contract, expression: str) -> Iterator[Problem]:
    path = ("target", "expression")
    if c.target.name is None:
        yield Problem(("target", "name"), "a derived target needs a `name`", "a name", "nothing", None, True)
    elif c.target.name in c.data.columns:
        taken = f"{c.target.name!r} is a column of the data; give the derived target another name"
        yield Problem(("target", "name"), taken, "a new name", c.target.name)
    found = list(expression_problem(expression, c.data.columns, path))
    yield from found
    if found:
        return
    for name in columns_of(expression):
        if c.data.columns[name].policy == "deny":
            yield Problem(
                path, f"{name!r} is under policy deny, so it is never read", "a column that may be read", name
            )
        if name in (c.features.use or ()):
            place = (c.features.use or ()).index(name)
            leak = f"the target is derived from {name!r}, so it cannot be a feature"
            yield Problem(("features", "use", place), leak, "no part of the target", name)


def _serving(c: Contract) -> Iterator[Problem]:
    replicas = c.serving.replicas
    yield from ordered(replicas.minimum, replicas.maximum, ("serving", "replicas"), ("minimum", "maximum"))


def _log(c: Contract) -> Iterator[Problem]:
    """Names of what is hashed or dropped; a misspelt one would be logged in clear."""
    log = c.monitoring.log
    for word, names in (("hash", log.hash), ("drop", log.drop)):
        for place, name in enumerate(names):
            if name not in c.data.columns:
                yield unknown(("monitoring", "log", word, place), "a column of data.columns", name, c.data.columns)
    both = sorted(set(log.hash) & set(log.drop))
    if both:
        yield wrong(("monitoring", "log", "drop"), "columns that are not hashed, too", both[0])


def _size(c: Contract) -> Iterator[Problem]:
    size = parameter_bytes(c)
    if size > LIMIT_BYTES:
        yield Problem(
            (),
            f"takes {size:,} bytes as pipeline parameters, at most {LIMIT_BYTES:,} were expected; shorten the longest "
            "lists of values or descriptions",
            f"at most {LIMIT_BYTES:,} bytes",
            f"{size:,}",
        )
