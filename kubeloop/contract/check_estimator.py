"""What the words about the learner and its cross-validation must mean together."""

from collections.abc import Iterator

from kubeloop.contract.estimator import Estimator, Member
from kubeloop.contract.estimators import (
    ESTIMATORS_OF_TASK,
    FIXED,
    IMPORTED,
    OURS,
    all_paths,
    import_path,
    import_paths,
    mixed,
    parameters_of,
)
from kubeloop.contract.findings import Path, Problem, listed, unknown, wrong
from kubeloop.contract.model import Contract


def check_estimator(c: Contract) -> Iterator[Problem]:
    """All that is wrong with the sections `estimator` and `cross_validation`."""
    estimator, path = c.estimator, ("estimator",)
    yield from _cross_validation(c)
    if estimator.kind == IMPORTED:
        yield from _imported(estimator)
        return
    for key in ("file", "digest"):
        if getattr(estimator, key) is not None:
            yield _only((*path, key), f"`{key}` is for `kind: imported`")
    if estimator.unseen_test:
        yield _only((*path, "unseen_test"), "`unseen_test` is for `kind: imported`")
    found = list(_learner(c, estimator, path))
    yield from found
    if found:
        return
    if estimator.class_weight and "class_weight" not in parameters_of(estimator.kind, c.target.task):
        yield from _no_weights(c)
    elif estimator.class_weight and "class_weight" in estimator.parameters:
        yield _only((*path, "class_weight"), "class_weight stands in estimator.parameters too")
    if estimator.calibration and c.target.task == "regression":
        yield _only((*path, "calibration"), "a regression target has no probabilities to calibrate")
    yield from _members(c)


def _only(path: Path, message: str) -> Problem:
    return Problem(path, message, "no such key", "one", None, True)


def _imported(estimator: Estimator) -> Iterator[Problem]:
    if estimator.file is None:
        yield Problem(("estimator", "file"), "an imported model needs a `file`", "a skops file", "nothing", None, True)
    elif estimator.file.startswith("/") or ".." in estimator.file.split("/"):
        yield wrong(("estimator", "file"), "a path below the folder of loop.yaml", estimator.file)
    for key in ("parameters", "members", "final", "class_weight", "calibration"):
        if getattr(estimator, key):
            yield _only(("estimator", key), f"an imported model is fitted already, so it takes no `{key}`")


def _learner(c: Contract, learner: Estimator | Member, path: Path) -> Iterator[Problem]:
    """A kind that does not fit, parameters that it does not have."""
    task, kind = c.target.task, learner.kind
    if import_path(kind, task) is None:
        fitting = ESTIMATORS_OF_TASK[task]
        if kind.startswith("sklearn.") and kind not in all_paths():
            yield unknown((*path, "kind"), "an allowed estimator", kind, import_paths(task))
            return
        expected = " or ".join((", ".join(fitting[:-1]), fitting[-1]))
        message = f"{kind} does not fit a {task} target; expected {listed(fitting, 20)}"
        yield Problem((*path, "kind"), message, expected, kind, fitting[0])
        return
    known = parameters_of(kind, task)
    for name in learner.parameters:
        place: Path = (*path, "parameters", name)
        if name in OURS or (name in FIXED and name not in known):
            why = OURS.get(name) or FIXED[name]
            yield Problem(place, f"{name!r} is not yours to set: {why}", "another parameter", name, None, True)
        elif name not in known:
            found = unknown(place, f"a parameter of {kind}", name, known)
            yield Problem(place, found.message, found.expected, name, found.nearest, True)


def _no_weights(c: Contract) -> Iterator[Problem]:
    path: Path = ("estimator", "class_weight")
    if c.target.task == "regression":
        yield _only(path, "a regression target has no classes to weigh")
    elif not mixed(c.estimator.kind):
        yield _only(path, f"{c.estimator.kind} cannot weigh classes")


def _members(c: Contract) -> Iterator[Problem]:
    estimator = c.estimator
    if not mixed(estimator.kind):
        for key in ("members", "final"):
            if getattr(estimator, key):
                yield _only(("estimator", key), f"`{key}` is for voting and stacking, not for {estimator.kind}")
        return
    stack = estimator.kind.rpartition(".")[2].lower().startswith("stacking")
    if estimator.final is not None and not stack:
        yield _only(("estimator", "final"), "`final` is for stacking; voting takes the mean")
    if len(estimator.members) == 1:
        yield wrong(("estimator", "members"), "at least two members, or none for the usual three", "one")
    named: list[tuple[Path, Member]] = [
        (("estimator", "members", place), each) for place, each in enumerate(estimator.members)
    ]
    if estimator.final is not None:
        named.append((("estimator", "final"), estimator.final))
    for path, member in named:
        if mixed(member.kind) or member.kind == IMPORTED:
            yield wrong((*path, "kind"), "a single learner", member.kind)
        else:
            yield from _learner(c, member, path)


def _cross_validation(c: Contract) -> Iterator[Problem]:
    words = c.cross_validation
    if words.kind == "folds" and words.folds is not None:
        yield _only(("cross_validation", "folds"), "the number of folds is split.folds for `kind: folds`")
    needed = {"group": c.data.group, "time": c.data.time, "folds": ""}
    if needed[words.kind] is None:
        message = f"`kind: {words.kind}` needs `data.{words.kind}`"
        yield Problem(("cross_validation", "kind"), message, f"data.{words.kind}", "nothing", "folds")
