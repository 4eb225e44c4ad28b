"""What the words about the search must mean together."""

from collections.abc import Iterator

from kubeloop.contract.estimators import ESTIMATORS_OF_TASK, IMPORTED, import_path, mixed, parameters_of
from kubeloop.contract.findings import Path, Problem, unknown, wrong
from kubeloop.contract.model import Contract
from kubeloop.contract.search import Range

CONTINUOUS = ("double", "int")


def check_search(c: Contract) -> Iterator[Problem]:
    """All that is wrong with the section `search`."""
    search, path = c.search, ("search",)
    if search is None:
        return
    if c.estimator.kind == IMPORTED:
        yield Problem(path, "an imported model is fitted already, so there is nothing to search", "no `search`", "one")
        return
    if not (search.parameters or search.estimators or search.leave_out):
        message = "a search needs something that varies: `parameters`, `estimators` or `leave_out`"
        yield Problem(path, message, "one of them", "none")
    yield from _ranges(c, c.estimator.kind, search.parameters, (*path, "parameters"))
    for kind, ranges in search.estimators.items():
        place: Path = (*path, "estimators", kind)
        if import_path(kind, c.target.task) is None or mixed(kind):
            fitting = [word for word in ESTIMATORS_OF_TASK[c.target.task] if word != IMPORTED and not mixed(word)]
            found = unknown(place, f"a single estimator for a {c.target.task} target", kind, fitting)
            yield Problem(place, found.message, found.expected, kind, found.nearest, True)
        elif kind == c.estimator.kind:
            yield Problem(
                place, f"{kind} is estimator.kind; write its ranges in search.parameters", "another", kind, None, True
            )
        else:
            yield from _ranges(c, kind, ranges, place)
    for group, columns in search.leave_out.items():
        for index, name in enumerate(columns):
            if name not in c.data.columns:
                yield unknown((*path, "leave_out", group, index), "a column of data.columns", name, c.data.columns)


def _ranges(c: Contract, kind: str, ranges: dict[str, Range], path: Path) -> Iterator[Problem]:
    known = parameters_of(kind, c.target.task)
    for name, words in ranges.items():
        place: Path = (*path, name)
        if known and name not in known:
            found = unknown(place, f"a parameter of {kind}", name, known)
            yield Problem(place, found.message, found.expected, name, found.nearest, True)
        yield from _range(c, words, place)


def _range(c: Contract, words: Range, path: Path) -> Iterator[Problem]:
    if words.type not in CONTINUOUS:
        yield from _values(words, path)
        return
    if words.values:
        yield Problem(
            (*path, "values"), f"{words.type} takes low and high, not values", "no `values`", "some", None, True
        )
    if words.low is None or words.high is None:
        yield Problem(path, f"{words.type} needs low and high", "both", "not both", None, True)
        return
    if not words.low < words.high:
        yield wrong((*path, "low"), f"less than high ({words.high:g})", f"{words.low:g}")
    if words.scale == "log" and words.low <= 0:
        yield wrong((*path, "low"), "more than 0, for a log scale has no zero", f"{words.low:g}")
    assert c.search is not None
    if c.search.algorithm == "bayesianoptimization" and words.type == "double" and words.low <= 0:
        message = "more than 0, for bayesianoptimization sees doubles on a log scale, as in Katib"
        yield wrong((*path, "low"), message, f"{words.low:g}")
    if c.search.algorithm == "grid" and words.type == "double" and words.step is None:
        yield Problem((*path, "step"), "the grid needs a step for a double", "a step", "nothing", None, True)
    for key in ("low", "high", "step"):
        value = getattr(words, key)
        if words.type == "int" and isinstance(value, float):
            yield wrong((*path, key), "a whole number", f"{value:g}")


def _values(words: Range, path: Path) -> Iterator[Problem]:
    for key in ("low", "high", "step"):
        if getattr(words, key) is not None:
            yield Problem((*path, key), f"{words.type} takes values, not {key}", f"no `{key}`", "one", None, True)
    if len(words.values) < 2:
        yield wrong((*path, "values"), "at least two values", str(len(words.values)))
    texts = [str(value) for value in words.values]
    for place, value in enumerate(words.values):
        if texts.index(str(value)) != place:
            yield Problem((*path, "values", place), f"{value!r} stands here twice", "each once", str(value))
        if words.type == "discrete" and (isinstance(value, bool) or not isinstance(value, int | float)):
            yield wrong((*path, "values", place), "a number", repr(value))
